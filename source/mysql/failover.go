package mysql

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"lifeboat/snapshot"
)

// turn is where a log goes on in that of another server, which was a replica of the first and took over.
type turn struct {
	id     snapshot.BranchID
	offset uint64 // in the log of the server that answers
}

// maxCommitted bounds how many transactions that were captured are looked for on another server.
const maxCommitted = 1 << 20

// takenOver finds where the log of a server goes on from a captured one that was another's: behind the newest transaction that both have, by its GTID and time, where the server has nothing
// that the captured log does not have before it. That can be known of one domain only. ok is false where it cannot be known.
func (s *session) takenOver(ctx context.Context, l binaryLog, end snapshot.LogEnd) (t turn, ok bool, err error) {
	if end.Committed == nil {
		return t, false, nil
	}
	captured := map[string]snapshot.LogEvent{}
	var newest snapshot.LogEvent
	for e, err := range end.Committed(ctx) {
		if err != nil {
			return t, false, err
		}
		if _, seen := captured[e.ID]; !seen && e.End <= end.Offset {
			captured[e.ID] = e
		}
		if e.End > newest.End {
			newest = e
		}
		if len(captured) >= maxCommitted {
			break
		}
	}
	last, _ := snapshot.SplitBinlog(l.at)
	for file := last; file >= l.first; file-- {
		before, err := s.value(fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d)", quoted(nameOf(l.base, file)), len(binlogMagic)))
		if err != nil {
			return t, false, err
		}
		if behind(before, newest.ID) {
			continue // all in it came later
		}
		second, err := s.second(ctx)
		if err != nil {
			return t, false, err
		}
		at, of, err := second.newestOf(l, file, captured)
		second.close()
		if err != nil {
			return t, false, err
		}
		if of.ID == "" {
			continue
		}
		format, gtid, err := s.again(ctx, nameOf(l.base, file), at)
		if err != nil || gtid != of.ID {
			return t, false, err
		}
		t.offset = snapshot.BinlogOffset(file, at)
		t.id = snapshot.BranchID{Parent: snapshot.Pos{Line: end.Line, Offset: of.End}, At: t.offset, Text: base64.StdEncoding.EncodeToString(format)}
		return t, true, nil
	}
	return t, false, nil
}

// again is place on a connection of its own.
func (s *session) again(ctx context.Context, file string, at uint64) (format []byte, gtid string, err error) {
	second, err := s.second(ctx)
	if err != nil {
		return nil, "", err
	}
	defer second.close()
	return second.place(file, at)
}

// newestOf finds the last transaction in a file that is among those captured, and where it ends there.
func (s *session) newestOf(l binaryLog, file uint64, captured map[string]snapshot.LogEvent) (at uint64, of snapshot.LogEvent, err error) {
	d, err := s.beginDump(l.base, snapshot.BinlogOffset(file, 0), false)
	if err != nil {
		return 0, of, err
	}
	g := groups{}
	for {
		r, err := d.next()
		if errors.Is(err, io.EOF) || err == nil && r.event == nil {
			return at, of, nil
		}
		if err != nil {
			return 0, of, err
		}
		e, ended, err := g.event(r.header, bytes.Clone(r.event), r.start, r.end)
		if err != nil {
			return 0, of, err
		}
		if c, known := captured[e.ID]; ended && known && c.Time.Equal(e.Time) {
			_, at = snapshot.SplitBinlog(e.End)
			of = c
		}
	}
}

// goesOnFrom is follows, and where another server took over the turn to its log.
func (s *session) goesOnFrom(ctx context.Context, l binaryLog, end snapshot.LogEnd) (proven bool, t *turn, err error) {
	proven, err = s.follows(ctx, l, end)
	if !errors.Is(err, snapshot.ErrOther) && !errors.Is(err, snapshot.ErrLogGone) {
		return proven, nil, err
	}
	found, ok, terr := s.takenOver(ctx, l, end)
	if terr != nil {
		return false, nil, fmt.Errorf("%w; whether another server took over cannot be told: %w", err, terr)
	}
	if !ok {
		return false, nil, err
	}
	return true, &found, nil
}

// behind reports whether a state, the newest transaction of each domain, is that of a moment after another transaction.
func behind(state, gtid string) bool {
	var of, have [3]uint64
	if _, err := fmt.Sscanf(gtid, "%d-%d-%d", &of[0], &of[1], &of[2]); err != nil {
		return false
	}
	for newest := range strings.SplitSeq(state, ",") {
		if _, err := fmt.Sscanf(newest, "%d-%d-%d", &have[0], &have[1], &have[2]); err == nil && have[0] == of[0] && have[2] > of[2] {
			return true
		}
	}
	return false
}
