package postgres

import (
	"errors"
	"slices"
	"testing"
)

// FuzzDecoder decodes any bytes.
func FuzzDecoder(f *testing.F) {
	for version := range magics {
		b := newLog(version * 10000)
		b.record(managerXact, xactCommit, 1, small())
		b.record(10, 0, 0, make([]byte, walPage+100))
		b.record(managerXact, xactAbort, 2, small())
		b.record(managerLog, recordSwitch, 0, nil)
		f.Add(b.bytes, byte(version), uint16(100))
		f.Add(append(b.bytes, make([]byte, walPage)...), byte(version), uint16(walPage))
	}
	f.Fuzz(func(t *testing.T, p []byte, version byte, piece uint16) {
		b := newLog(int(version) * 10000)
		if _, ok := magics[int(version)]; !ok {
			b.of.version = 150000
		}
		same(t, b, p, int(piece))
	})
}

// FuzzRecord decodes records of any content, with the right checksums, between two commits.
func FuzzRecord(f *testing.F) {
	f.Add(byte(managerXact), byte(xactCommitTwo|xactFlagged), fieldsOf(byte(255), byte(30), string(builtTime), uint32(1<<4|1<<1|1), 8, uint32(1), 4, uint32(99)), byte(15), uint16(3))
	f.Add(byte(managerXact), byte(xactAbortTwo|xactFlagged), fieldsOf(byte(253), 2, byte(254), 4, string(builtTime), uint32(1<<4|1<<8), uint32(1), 16, uint32(99)), byte(18), uint16(70))
	f.Add(byte(managerLog), byte(recordPoint), fieldsOf(byte(255), byte(72), string(builtTime), 64), byte(14), uint16(9000))
	f.Add(byte(managerLog), byte(recordSwitch), []byte{}, byte(17), uint16(1))
	f.Fuzz(func(t *testing.T, manager, info byte, content []byte, version byte, piece uint16) {
		if _, ok := magics[int(version)]; !ok {
			version = 16
		}
		b := newLog(int(version) * 10000)
		b.record(managerXact, xactCommit, 1, small())
		b.record(manager, info, 2, content)
		_, end := b.record(managerXact, xactAbort, 3, small())
		r := same(t, b, b.bytes, int(piece))
		switched := manager == managerLog && info&recordsMask == recordSwitch
		if r.err == nil && !switched && (r.end != end || r.events[len(r.events)-1].xid != 3) {
			t.Errorf("%+v, want the end %s", r, end)
		}
	})
}

// same decodes at once and in pieces, and checks what holds for any bytes.
func same(t *testing.T, b *logBuilder, p []byte, piece int) result {
	t.Helper()
	r := decodeLog(b.of, b.from, p, max(len(p), 1))
	s := decodeLog(b.of, b.from, p, max(piece, 1))
	if !slices.Equal(r.events, s.events) || r.end != s.end || (r.err == nil) != (s.err == nil) || r.err == nil && (r.inside != s.inside || r.start != s.start) {
		t.Errorf("at once:\n%+v\nin pieces of %d:\n%+v", r, piece, s)
	}
	if r.err != nil && !errors.Is(r.err, errNotLog) {
		t.Error(r.err)
	}
	last := b.from
	for _, e := range r.events {
		if e.start < last || e.end <= e.start {
			t.Errorf("%+v begins before %s", e, last)
		}
		last = e.end
	}
	if r.end < last || r.end > b.from+lsn(len(p)) || r.end%maxAlign != 0 {
		t.Errorf("the end is %s, after an event that ends at %s, in %d bytes", r.end, last, len(p))
	}
	return r
}
