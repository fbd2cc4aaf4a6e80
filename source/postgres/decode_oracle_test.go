package postgres

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// oracle is what pg_waldump says about a stretch of log.
type oracle struct {
	events    []event
	spans     []span
	prepared  map[string]bool // ends of prepared transactions, with files
	switches  int
	longest   int
	abandoned bool
}

// span is what lies between two positions.
type span struct {
	start, end lsn
	lost       bool // the beginning of a record that was abandoned
	empty      bool // the rest of a segment behind a switch
}

var waldumpLine = regexp.MustCompile(`^rmgr: (\S+) +len \(rec/tot\): *\d+/ *(\d+), tx: *(\d+), lsn: ([0-9A-F/]+), prev [0-9A-F/]+, desc: (\S+)(?: (.*))?$`)

// dump writes the log into segments and lets pg_waldump read them.
func dump(t *testing.T, pg *testenv.Postgres, c logBytes) oracle {
	t.Helper()
	dir := filepath.Join(pg.Base, "log-"+strconv.Itoa(len(c.bytes)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(c.bytes); n += int(c.of.segmentSize) {
		segment := make([]byte, c.of.segmentSize)
		copy(segment, c.bytes[n:])
		if err := os.WriteFile(filepath.Join(dir, segmentName(c.of.timeline, c.from+lsn(n), c.of.segmentSize)), segment, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	end := c.from + lsn(len(c.bytes))
	text := pg.Run("pg_waldump", "-p", dir, "-t", strconv.Itoa(int(c.of.timeline)), "-s", c.from.String(), "-e", end.String())
	return parseDump(t, text, c.of.segmentSize, end)
}

func parseDump(t *testing.T, text string, segment int64, end lsn) oracle {
	t.Helper()
	o := oracle{prepared: map[string]bool{}}
	for line := range strings.Lines(text) {
		m := waldumpLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			if strings.HasPrefix(line, "rmgr") {
				t.Fatalf("pg_waldump: %.300s", line)
			}
			continue
		}
		length, err1 := strconv.Atoi(m[2])
		xid, err2 := strconv.ParseUint(m[3], 10, 32)
		at, err3 := parseLSN(m[4])
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(line, err1, err2, err3)
		}
		o.longest = max(o.longest, length)
		o.follow(t, at, segment, m[1]+" "+m[5], m[6])
		o.spans = append(o.spans, span{start: at})
		switch kind := m[1] + " " + m[5]; kind {
		case "XLOG SWITCH":
			o.switches++
			o.spans = append(o.spans, span{start: at, empty: true})
		case "XLOG RESTORE_POINT":
			o.events = append(o.events, event{kind: eventRestorePoint, start: at, name: m[6]})
		case "Transaction COMMIT", "Transaction COMMIT_PREPARED", "Transaction ABORT", "Transaction ABORT_PREPARED":
			o.events = append(o.events, o.transaction(t, at, uint32(xid), m[5], m[6]))
		}
	}
	o.follow(t, end, segment, "", "")
	for i, e := range o.events {
		j, _ := slices.BinarySearchFunc(o.spans, e.start, func(s span, l lsn) int { return int(int64(s.start) - int64(l)) })
		o.events[i].end = o.spans[j].end
	}
	return o
}

// follow sets where the spans before a record end: where it begins, or before the header of its page.
func (o *oracle) follow(t *testing.T, at lsn, segment int64, kind, desc string) {
	t.Helper()
	if len(o.spans) == 0 {
		return
	}
	last := &o.spans[len(o.spans)-1]
	last.end = beforeHeader(at, segment)
	switch {
	case last.empty:
		before := &o.spans[len(o.spans)-2]
		before.end = before.start + 24
		if before.start%walPage > walPage-24 {
			before.end += shortHeader // it is split
		}
		last.start = before.end
		if last.end%lsn(segment) != 0 {
			t.Fatalf("a record at %s follows the switch at %s", at, before.start)
		}
	case kind == "XLOG OVERWRITE_CONTRECORD":
		o.abandoned = true
		text, _, _ := strings.Cut(strings.TrimPrefix(desc, "lsn "), ";")
		begun, err := parseLSN(text)
		if err != nil {
			t.Fatal(desc, err)
		}
		last.end = begun
		o.spans = append(o.spans, span{start: begun, end: at, lost: true})
	}
}

func beforeHeader(at lsn, segment int64) lsn {
	switch {
	case at%lsn(segment) == longHeader:
		return at - longHeader
	case at%walPage == shortHeader:
		return at - shortHeader
	}
	return at
}

// transaction reads the end of one: "[xid: ]time[; ...]".
func (o *oracle) transaction(t *testing.T, at lsn, xid uint32, kind, desc string) event {
	t.Helper()
	if strings.HasSuffix(kind, "_PREPARED") {
		text, rest, _ := strings.Cut(desc, ": ")
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(desc, err)
		}
		xid, desc = uint32(n), rest
		o.prepared[kind] = o.prepared[kind] || strings.Contains(desc, "rels:")
	}
	text, _, _ := strings.Cut(desc, ";")
	when, err := time.Parse("2006-01-02 15:04:05.999999 MST", text)
	if err != nil {
		t.Fatal(err)
	}
	e := event{kind: eventCommit, start: at, xid: xid, time: when.UTC()}
	if strings.HasPrefix(kind, "ABORT") {
		e.kind = eventAbort
	}
	return e
}

// from is what a decoder can know that begins at a segment.
func (o oracle) from(at lsn, segment int64) oracle {
	i := sort.Search(len(o.spans), func(i int) bool { return o.spans[i].start >= at })
	j := sort.Search(len(o.events), func(j int) bool { return o.events[j].start >= at })
	o.events, o.spans = o.events[j:], slices.Clone(o.spans[i:])
	end := at
	if len(o.spans) > 0 {
		end = beforeHeader(o.spans[0].start, segment)
	}
	o.spans = slices.Insert(o.spans, 0, span{start: at, end: end, empty: end == at}) // the rest of a record
	return o
}

// check compares what a decoder says about the position that it is at.
func (o oracle) check(t *testing.T, d *decoder) {
	t.Helper()
	if d.at < o.spans[0].start+longHeader {
		return
	}
	i := sort.Search(len(o.spans), func(i int) bool { return o.spans[i].end > d.at })
	end := o.spans[0].start
	for j := i - 1; j >= 0; j-- {
		if !o.spans[j].lost {
			end = o.spans[j].end
			break
		}
	}
	var start lsn
	inside := i < len(o.spans) && o.spans[i].start < d.at && !o.spans[i].empty
	if inside {
		start = o.spans[i].start
	}
	if got, ok := d.incomplete(); d.end() != end || ok != inside || ok && got != start {
		t.Fatalf("at %s: the last record ends at %s and another begins at %s (%t), want %s and %s (%t)", d.at, d.end(), got, ok, end, start, inside)
	}
}
