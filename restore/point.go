// Package restore brings a snapshot back: it chooses which, plans what to fetch, and writes it frame by frame into a sink.
// It is the only way back; drills use it too.
package restore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"lifeboat/snapshot"
)

// ErrRefused is wrapped where a restore cannot do what was asked, and nothing was touched.
var ErrRefused = errors.New("refused")

// Time is the layout in which points are shown: with milliseconds, so that what is shown can be given back.
const Time = "2006-01-02T15:04:05.000Z07:00"

// Point is what to restore to.
type Point struct {
	Latest bool
	Time   time.Time // at or before
	Seq    uint64    // of a snapshot

	// In the log. At most one is set.
	Position    *uint64 // everything before it
	Transaction string  // up to it
	Mark        string  // a point that somebody named

	Before bool   // leave out the transaction that the point names
	Line   uint64 // line of the log that the way ends in; 0: the newest that leads there
}

// inLog reports whether only a log can reach p.
func (p Point) inLog() bool { return p.Position != nil || p.Transaction != "" || p.Mark != "" }

var layouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00"}

// ParsePoint reads latest, a time with a zone, or snapshot:ID.
func ParsePoint(s string) (Point, error) {
	if s == "" || s == "latest" {
		return Point{Latest: true}, nil
	}
	id, named := strings.CutPrefix(s, "snapshot:")
	if seq, err := ParseID(id); named || err == nil {
		return Point{Seq: seq}, err
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			return Point{Time: t}, nil
		}
	}
	for _, l := range layouts {
		if _, err := time.Parse(strings.TrimRight(strings.ReplaceAll(l, "Z07:00", ""), " "), s); err == nil {
			return Point{}, fmt.Errorf("point %q has no time zone: write %sZ for UTC, or add an offset like +08:00", s, s)
		}
	}
	switch kind, value, _ := strings.Cut(s, ":"); kind {
	case "lsn":
		hi, lo, ok := strings.Cut(value, "/")
		h, err1 := strconv.ParseUint(hi, 16, 32)
		l, err2 := strconv.ParseUint(lo, 16, 32)
		if !ok || err1 != nil || err2 != nil {
			return Point{}, fmt.Errorf("point %q: expected a position such as lsn:0/16B3748", s)
		}
		at := h<<32 | l
		return Point{Position: &at}, nil
	case "binlog":
		at, err := parseBinlog(value)
		if err != nil {
			return Point{}, fmt.Errorf("point %q: expected a file of the binary log and a position in it, such as binlog:mariadb-bin.000042:1234", s)
		}
		return Point{Position: &at}, nil
	case "gtid":
		if !isGTID(value) {
			return Point{}, fmt.Errorf("point %q: expected the domain, server and number of a transaction such as gtid:0-1-1234", s)
		}
		return Point{Transaction: value}, nil
	case "xid":
		if n, err := strconv.ParseUint(value, 10, 32); err != nil || n == 0 {
			return Point{}, fmt.Errorf("point %q: expected the number of a transaction such as xid:1234", s)
		}
		return Point{Transaction: value}, nil
	case "name":
		if value == "" {
			return Point{}, fmt.Errorf("point %q: expected the name of a restore point such as name:before-upgrade", s)
		}
		return Point{Mark: value}, nil
	}
	return Point{}, fmt.Errorf("point %q: expected latest, snapshot:ID, or a time such as 2026-11-20T14:03:22Z or \"2026-11-20 14:03:22+08:00\"", s)
}

// parseBinlog reads the name of a file, or its number alone, a colon, and a byte.
func parseBinlog(s string) (offset uint64, err error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return 0, strconv.ErrSyntax
	}
	number := s[:colon]
	number = number[strings.LastIndexByte(number, '.')+1:]
	file, err1 := strconv.ParseUint(number, 10, 64-snapshot.BinlogBits)
	at, err2 := strconv.ParseUint(s[colon+1:], 10, snapshot.BinlogBits)
	return snapshot.BinlogOffset(file, at), errors.Join(err1, err2)
}

// isGTID reports whether s is that of one transaction, as it is written.
func isGTID(s string) bool {
	part := strings.Split(s, "-")
	for i, p := range part {
		n, err := strconv.ParseUint(p, 10, []int{32, 32, 64}[min(i, 2)])
		if err != nil || strconv.FormatUint(n, 10) != p {
			return false
		}
	}
	return len(part) == 3
}

// position is an offset as p would be given it.
func (c Candidate) position(offset uint64) string {
	if c.Engine == "mysql" {
		return snapshot.FormatBinlog(offset)
	}
	return fmt.Sprintf("lsn:%X/%X", offset>>32, uint32(offset))
}

// FormatID and ParseID are the text form of a snapshot's number: s and the number.
func FormatID(seq uint64) string { return "s" + strconv.FormatUint(seq, 10) }

// ParseID is the inverse of FormatID.
func ParseID(s string) (uint64, error) {
	digits, ok := strings.CutPrefix(s, "s")
	seq, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || seq == 0 {
		return 0, fmt.Errorf("snapshot ID %q: expected s and a number, as `lifeboat snapshots` shows it", s)
	}
	return seq, nil
}

// Candidate is a snapshot that could be restored.
type Candidate struct {
	Seq      uint64
	Engine   string
	Taken    time.Time
	From, To snapshot.Pos // the log that the snapshot needs to be consistent, and holds
	Log      uint64       // that goes on from it: a number of its source's
}

// Choose picks the snapshot for p among those of one source, oldest first. Errors wrap ErrRefused and say what can be
// reached.
func Choose(all []Candidate, p Point) (Candidate, error) {
	if len(all) == 0 {
		return Candidate{}, fmt.Errorf("%w: this source has no snapshots here", ErrRefused)
	}
	first, last := all[0], all[len(all)-1]
	if p.inLog() {
		return Candidate{}, fmt.Errorf("%w: no log of this source was captured, only snapshots: use latest, a time or snapshot:ID", ErrRefused)
	}
	if p.Latest {
		return last, nil
	}
	var found *Candidate
	for i := range all {
		c := &all[i]
		if c.Taken.Before(first.Taken) {
			first = *c
		}
		if p.Seq == c.Seq || p.Seq == 0 && !c.Taken.After(p.Time) {
			found = c
		}
	}
	switch {
	case found == nil && p.Seq != 0:
		return Candidate{}, fmt.Errorf("%w: this source has no snapshot %s: `lifeboat snapshots` lists them", ErrRefused, FormatID(p.Seq))
	case !p.Time.IsZero() && p.Time.After(last.Taken) && *found == last:
		return Candidate{}, fmt.Errorf("%w: %s is after the last snapshot, %s of %s: use --at latest for that one", ErrRefused, p.Time.Format(Time), FormatID(last.Seq), last.Taken.Format(Time))
	case found == nil:
		return Candidate{}, fmt.Errorf("%w: %s is before the first snapshot, %s of %s", ErrRefused, p.Time.Format(Time), FormatID(first.Seq), first.Taken.Format(Time))
	}
	return *found, nil
}
