package postgres

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"
)

// logBuilder writes a log by hand: records, and the pages around them.
type logBuilder struct {
	of    lineage
	from  lsn
	at    lsn
	prev  lsn
	bytes []byte
}

func newLog(version int) *logBuilder {
	return &logBuilder{of: lineage{version: version, system: 42, timeline: 1, segmentSize: 1 << 20}, from: 5 << 20, at: 5 << 20}
}

// header writes the header of a page.
func (b *logBuilder) header(flags uint16, remaining int) {
	h := make([]byte, shortHeader)
	if b.at%lsn(b.of.segmentSize) == 0 {
		h = make([]byte, longHeader)
		flags |= pageLong
		binary.LittleEndian.PutUint64(h[24:], b.of.system)
		binary.LittleEndian.PutUint32(h[32:], uint32(b.of.segmentSize))
		binary.LittleEndian.PutUint32(h[36:], walPage)
	}
	binary.LittleEndian.PutUint16(h, magics[b.of.version/10000])
	binary.LittleEndian.PutUint16(h[2:], flags)
	binary.LittleEndian.PutUint32(h[4:], b.of.timeline)
	binary.LittleEndian.PutUint64(h[8:], uint64(b.at))
	binary.LittleEndian.PutUint32(h[16:], uint32(remaining))
	b.append(h)
}

func (b *logBuilder) append(p []byte) {
	b.bytes = append(b.bytes, p...)
	b.at += lsn(len(p))
}

// record writes a record, and returns where it begins and ends.
func (b *logBuilder) record(manager, info byte, xid uint32, content []byte) (start, end lsn) {
	r := append(make([]byte, recordHeader), content...)
	binary.LittleEndian.PutUint32(r, uint32(len(r)))
	binary.LittleEndian.PutUint32(r[4:], xid)
	binary.LittleEndian.PutUint64(r[8:], uint64(b.prev))
	r[16], r[17] = info, manager
	crc := crc32.Update(crc32.Checksum(content, castagnoli), castagnoli, r[:20])
	binary.LittleEndian.PutUint32(r[20:], crc)
	if b.at%walPage == 0 {
		b.header(0, 0)
	}
	start = b.at
	b.prev = start
	for len(r) > 0 {
		if b.at%walPage == 0 {
			b.header(pageContinues, len(r))
		}
		n := min(len(r), int(walPage-b.at%walPage))
		b.append(r[:n])
		r = r[n:]
	}
	b.append(make([]byte, -b.at%maxAlign))
	return start, b.at
}

// fieldsOf joins numbers of 4 (uint32), 8 (uint64) or 1 byte, and blanks (int).
func fieldsOf(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			out = append(out, p)
		case uint32:
			out = binary.LittleEndian.AppendUint32(out, p)
		case uint64:
			out = binary.LittleEndian.AppendUint64(out, p)
		case int:
			out = append(out, slices.Repeat([]byte{0xEE}, p)...)
		case string:
			out = append(out, p...)
		}
	}
	return out
}

// result is what a decoder makes of bytes.
type result struct {
	events []event
	end    lsn
	start  lsn
	inside bool
	err    error
}

// decodeLog feeds bytes in pieces of a size.
func decodeLog(of lineage, from lsn, p []byte, piece int) (r result) {
	d, err := newDecoder(of, from)
	if err != nil {
		return result{err: err}
	}
	for len(p) > 0 && r.err == nil {
		n := min(len(p), piece)
		r.err = d.write(p[:n], func(e event) error { r.events = append(r.events, e); return nil })
		p = p[n:]
	}
	r.end = d.end()
	r.start, r.inside = d.incomplete()
	return r
}

// The moment of the transactions that are built here.
var built = time.Date(2026, 3, 1, 12, 30, 0, 123456000, time.UTC)

var builtTime = fieldsOf(uint64(built.Unix()-since2000)*1e6 + 123456)

// small is a commit without anything else.
func small() []byte { return append(fieldsOf(byte(255), byte(8)), builtTime...) }

func TestDecodeLayouts(t *testing.T) {
	for version, stats := range map[int]int{140023: 0, 150018: 12, 160014: 12, 170006: 12, 180004: 16} {
		flags := uint32(1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<6 | 1<<7)
		content := fieldsOf(byte(253), 2, byte(252), 4, byte(254), 4, string(builtTime))
		rest := fieldsOf(8, uint32(70000), 70000*4, uint32(3), 3*12)
		if stats > 0 {
			flags |= 1 << 8
			rest = append(rest, fieldsOf(uint32(5), 5*stats)...)
		}
		undo := slices.Concat(content, fieldsOf(flags&^(1<<3)), rest, fieldsOf(uint32(4321), "name\x00"))
		content = slices.Concat(content, fieldsOf(flags), rest, fieldsOf(uint32(2), 2*16, uint32(1234), "name\x00"))
		b := newLog(version)
		var want []event
		add := func(kind eventKind, info byte, xid uint32, content []byte) {
			start, end := b.record(managerXact, info, 7, content)
			want = append(want, event{kind: kind, start: start, end: end, xid: xid, time: built})
		}
		add(eventCommit, xactCommitTwo|xactFlagged, 1234, content)
		add(eventAbort, xactAbortTwo|xactFlagged, 4321, undo)
		add(eventCommit, xactCommit, 7, small())
		add(eventAbort, xactAbort|xactFlagged, 7, fieldsOf(byte(255), byte(12), string(builtTime), uint32(0)))
		b.record(managerXact, 0x10, 7, fieldsOf(byte(255), byte(8), 8)) // PREPARE
		b.record(managerXact, 0x50, 7, fieldsOf(byte(255), byte(8), 8)) // ASSIGNMENT
		start, end := b.record(managerLog, recordPoint, 0, append(fieldsOf(byte(255), byte(72), string(builtTime), "here"), make([]byte, 60)...))
		want = append(want, event{kind: eventRestorePoint, start: start, end: end, time: built, name: "here"})
		for _, piece := range []int{1, 7, walPage, len(b.bytes)} {
			if r := decodeLog(b.of, b.from, b.bytes, piece); r.err != nil || r.inside || r.end != end || !slices.Equal(r.events, want) {
				t.Errorf("version %d in pieces of %d:\n%+v\nwant\n%+v, end %s", version, piece, r, want, end)
			}
		}
	}
}

// An incomplete record ends the log where zeros follow, and nothing is lost where the server went on without it.
func TestDecodeIncomplete(t *testing.T) {
	b := newLog(170000)
	_, end := b.record(managerXact, xactCommit, 1, small())
	start, _ := b.record(10, 0, 0, make([]byte, 3*walPage))
	b.bytes, b.at, b.prev = b.bytes[:2*walPage], b.from+2*walPage, end-40
	for _, zeros := range []int{0, 10, 5 * walPage, int(b.of.segmentSize) - 2*walPage, int(b.of.segmentSize)} {
		r := decodeLog(b.of, b.from, append(slices.Clip(b.bytes), make([]byte, zeros)...), 1000)
		if r.err != nil || len(r.events) != 1 || r.end != end || !r.inside || r.start != start {
			t.Errorf("%d zeros: %+v, want the end %s and the start %s", zeros, r, end, start)
		}
	}
	b.header(pageOverwrites, 0)
	_, end = b.record(managerXact, xactCommit, 2, small())
	r := decodeLog(b.of, b.from, b.bytes, 1000)
	if r.err != nil || len(r.events) != 2 || r.end != end || r.inside {
		t.Errorf("after an abandoned record: %+v", r)
	}
}

func TestDecodeDamage(t *testing.T) {
	b := newLog(150000)
	first, _ := b.record(managerXact, xactCommit, 1, small())
	second, _ := b.record(10, 0, 0, make([]byte, 2*walPage))
	_, end := b.record(managerXact, xactAbort, 2, small())
	b.append(make([]byte, walPage))
	if r := decodeLog(b.of, b.from, b.bytes, 999); r.err != nil || len(r.events) != 2 || r.end != end {
		t.Fatalf("undamaged: %+v", r)
	}
	page, one, two := walPage, int(first-b.from), int(second-b.from)
	for what, c := range map[string]struct {
		at   int
		give []byte
		want string
	}{
		"magic":                {0, []byte{0x06}, "magic"},
		"flags":                {2, []byte{0x12}, "flags"},
		"short header":         {2, []byte{0}, "flags"},
		"long header":          {page + 2, []byte{3}, "flags"},
		"older timeline":       {page + 4, []byte{0}, "timeline"},
		"newer timeline":       {4, []byte{2}, "timeline"},
		"page":                 {page + 9, []byte{0}, "says that it is page"},
		"system":               {24, []byte{43}, "cluster 43"},
		"segment size":         {34, []byte{32}, "segments of 2097152"},
		"page size":            {37, []byte{64}, "pages of 16384"},
		"no continuation":      {page + 2, []byte{0}, "does not continue"},
		"another continuation": {page + 16, []byte{1}, "does not continue"},
		"early continuation":   {2, []byte{3}, "continues a record"},
		"length":               {two, []byte{23, 0}, "23 bytes long"},
		"longer":               {one, []byte{41}, "checksum"},
		"previous":             {two + 8, []byte{7}, "record before"},
		"previous of first":    {one + 8, fieldsOf(uint64(first)), "record before"},
		"xid":                  {one + 4, []byte{9}, "checksum"},
		"time":                 {one + 30, []byte{9}, "checksum"},
		"other record":         {two + walPage, []byte{9}, "checksum"},
		"behind the end":       {len(b.bytes) - 1, []byte{1}, "behind its end"},
	} {
		for _, piece := range []int{1, 5000, len(b.bytes)} {
			p := slices.Clone(b.bytes)
			copy(p[c.at:], c.give)
			if r := decodeLog(b.of, b.from, p, piece); !errors.Is(r.err, errNotLog) || !strings.Contains(r.err.Error(), c.want) {
				t.Errorf("%s: %v", what, r.err)
			}
		}
	}
}

// Pages that are right each by itself, but not after the page before.
func TestDecodePages(t *testing.T) {
	for what, c := range map[string]struct {
		timeline  uint32
		flags     uint16
		remaining int
		want      string
	}{
		"as it should be":       {timeline: 3},
		"an earlier timeline":   {timeline: 2, want: "timeline 2, after one of 3"},
		"a later timeline":      {timeline: 5, want: "timeline 5, after one of 3"},
		"the rest of no record": {timeline: 3, flags: pageContinues, remaining: 40, want: "did not begin"},
	} {
		b := newLog(150000)
		b.of.timeline = 3
		b.record(10, 0, 0, make([]byte, walPage-longHeader-recordHeader))
		b.of.timeline = c.timeline
		b.header(c.flags, c.remaining)
		b.record(managerXact, xactCommit, 1, small())
		b.of.timeline = 4
		r := decodeLog(b.of, b.from, b.bytes, 100)
		if c.want == "" && (r.err != nil || len(r.events) != 1) || c.want != "" && (!errors.Is(r.err, errNotLog) || !strings.Contains(r.err.Error(), c.want)) {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// Records whose checksums are right, but not their fields, are not passed over.
func TestDecodeUnknownFields(t *testing.T) {
	for what, content := range map[string][]byte{
		"a block":     fieldsOf(byte(0), 30),
		"too short":   fieldsOf(byte(255), byte(12), string(builtTime), uint32(1<<4), byte(1)),
		"no xid":      fieldsOf(byte(255), byte(12), string(builtTime), uint32(0), 4),
		"a long list": fieldsOf(byte(255), byte(20), string(builtTime), uint32(1<<4|1<<1), uint32(1<<32-1), 4),
		"nothing":     nil,
	} {
		b := newLog(160000)
		b.record(managerXact, xactCommitTwo|xactFlagged, 1, content)
		if r := decodeLog(b.of, b.from, b.bytes, 10); !errors.Is(r.err, errNotLog) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	b := newLog(160000)
	b.record(managerXact, xactCommitTwo, 1, small())
	if r := decodeLog(b.of, b.from, b.bytes, 10); !errors.Is(r.err, errNotLog) {
		t.Errorf("no flags: %+v", r)
	}
}

func TestDecoderArguments(t *testing.T) {
	of := newLog(180000).of
	if _, err := newDecoder(of, 8192); err == nil {
		t.Error("a decoder that begins in a segment")
	}
	of.version = 190000
	if _, err := newDecoder(of, 0); !errors.Is(err, ErrVersion) {
		t.Errorf("version 19: %v", err)
	}
}

// What the bytes claim does not decide what is allocated, and an error stays.
func TestDecoderMemory(t *testing.T) {
	b := newLog(180000)
	b.record(managerXact, xactCommit, 1, small())
	b.record(managerXact, xactCommitTwo|xactFlagged, 1, fieldsOf(byte(254), 4, string(builtTime), uint32(1<<4|1<<1), uint32(1<<31), 4*walPage))
	copy(b.bytes[longHeader+40:], fieldsOf(uint32(1<<32-1)))
	p := b.bytes[:walPage]
	if n := testing.AllocsPerRun(10, func() {
		d, err := newDecoder(b.of, b.from)
		if err == nil {
			err = d.write(p, func(event) error { return nil })
		}
		if _, inside := d.incomplete(); err != nil || !inside {
			t.Error(inside, err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
	full := errors.New("full")
	d, err := newDecoder(b.of, b.from)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.write(p, func(event) error { return full }); !errors.Is(err, full) {
			t.Errorf("emit fails: %v", err)
		}
	}
}

// BenchmarkDecoder decodes what small transactions write: records of 160 bytes on average, a sixth of them commits.
func BenchmarkDecoder(b *testing.B) {
	log := newLog(150000)
	for len(log.bytes) < int(log.of.segmentSize)-walPage {
		for range 5 {
			log.record(10, 0, 1, make([]byte, 156))
		}
		log.record(managerXact, xactCommit, 1, small())
	}
	b.SetBytes(int64(len(log.bytes)))
	b.ReportAllocs()
	for b.Loop() {
		d, err := newDecoder(log.of, log.from)
		if err == nil {
			err = d.write(log.bytes, func(event) error { return nil })
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
