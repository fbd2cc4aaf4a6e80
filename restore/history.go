package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"

	"lifeboat/capture"
	"lifeboat/crypto"
	"lifeboat/snapshot"
)

// Entry is what a captured log has at a place: an event, or a gap.
type Entry struct {
	// Event is nil where the log from From to To was not captured; a gap may end in another line.
	Event *snapshot.LogEvent
	// From and To are those of the event's record. Of a Branch they are where its line begins, and Parent is the line that it left there.
	From, To snapshot.Pos
	Parent   uint64
	// Log is how much of the line, in bytes, comes behind the event before this one, or behind where the captured log begins, up to the
	// end of this record; 0 where that is not known.
	Log uint64
}

// disorder bounds how much earlier, by its time, an event can be than one that stands before it in the log.
const disorder = time.Minute

// History yields every event of a log once, line by line and in the order of the log, and the gaps: those from since to until, both
// included, where they are not zero. What has no time, a gap or the beginning of a line, belongs to the events around it. It holds
// the events of one object at a time. open lists the log; it is called again where an object was replaced by another meanwhile.
func History(ctx context.Context, open func(context.Context) (Log, error), since, until time.Time) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		h := &history{ctx: ctx, open: open, since: since, until: until, ends: map[uint64]uint64{}}
		h.emit = func(e Entry) error {
			if !yield(e, nil) {
				return errEnough
			}
			return nil
		}
		if err := h.walk(); err != nil && !errors.Is(err, errEnough) {
			yield(Entry{}, err)
		}
	}
}

// errEnough ends a walk whose reader has gone.
var errEnough = errors.New("enough")

// history is a walk through a log.
type history struct {
	ctx          context.Context
	open         func(context.Context) (Log, error)
	log          Log
	since, until time.Time
	emit         func(Entry) error

	ends  map[uint64]uint64 // how far each line was captured
	last  time.Time         // of the event before
	notes []Entry           // behind it, and without a time
	read  *capture.Header   // the header that was read last

	// In the line at hand.
	line  uint64
	shown uint64 // end of the event before, or of the copy of another line that this one begins with
	base  uint64 // where Log counts from; 0 where that is not known
}

func (h *history) walk() (err error) {
	if h.log, err = h.open(h.ctx); err != nil {
		return err
	}
	for _, o := range h.log.Objects {
		h.ends[o.From.Line] = max(h.ends[o.From.Line], o.To.Offset)
	}
	before := snapshot.Pos{}
	for _, line := range slices.Sorted(maps.Keys(h.ends)) {
		h.line, h.shown = line, 0
		if err := h.follow(before); err != nil {
			return err
		}
		before = snapshot.Pos{Line: line, Offset: h.ends[line]}
	}
	return h.note()
}

// follow goes along one line, over its gaps. before is where the line before it ends.
func (h *history) follow(before snapshot.Pos) error {
	at, more := h.beginning(nil)
	h.base = at.Offset
	for first := true; more; {
		cover := capture.Cover(h.log.Objects, at)
		for i := 0; i < len(cover); i++ {
			last, err := h.take(cover, i, before, first)
			if errors.Is(err, fs.ErrNotExist) {
				if err = h.again(cover[i]); err == nil {
					cover, i = capture.Cover(h.log.Objects, at), -1
					continue
				}
			}
			if err != nil || last {
				return err
			}
			first, at = false, cover[i].To
		}
		end := at
		if at, more = h.beginning(&end); more {
			h.notes, h.base = append(h.notes, Entry{From: end, To: at}), at.Offset
		}
	}
	return nil
}

// again lists the log anew, where an object has gone that was listed: what replaces an object stands before it goes.
func (h *history) again(gone capture.Object) (err error) {
	if h.log, err = h.open(h.ctx); err == nil && slices.Contains(h.log.Objects, gone) {
		err = fmt.Errorf("%s is listed and cannot be read: %w", gone, fs.ErrNotExist)
	}
	return err
}

// take yields what the i-th object of a cover has, unless none of it was asked for. last tells that none behind it was, either.
func (h *history) take(cover []capture.Object, i int, before snapshot.Pos, first bool) (last bool, err error) {
	needed, last, err := h.needed(cover, i)
	if err != nil {
		return false, err
	}
	if !first && !needed {
		h.notes, h.base = nil, 0
		return last, nil
	}
	return last, h.object(cover[i], before, first)
}

// beginning is the first position of the line, or the first behind end, where there is log.
func (h *history) beginning(end *snapshot.Pos) (begin snapshot.Pos, ok bool) {
	for _, o := range h.log.Objects {
		if o.From.Line == h.line && (end == nil || o.From.Offset > end.Offset) && (!ok || o.From.Offset < begin.Offset) {
			begin, ok = o.From, true
		}
	}
	return begin, ok
}

// needed tells by the headers whether the i-th object of a cover can have events that were asked for, and whether none behind it
// can. The time of everything in an object is bounded by the newest commit in the next.
func (h *history) needed(cover []capture.Object, i int) (needed, last bool, err error) {
	if h.since.IsZero() && h.until.IsZero() {
		return true, false, nil
	}
	header, err := h.header(cover[i])
	if err != nil {
		return false, false, err
	}
	last = !h.until.IsZero() && header.Until.After(h.until.Add(disorder))
	old := func(newest time.Time) bool { return !newest.IsZero() && newest.Before(h.since.Add(-disorder)) }
	if !old(header.Newest) || i == len(cover)-1 {
		return true, last, nil
	}
	next, err := h.header(cover[i+1])
	return err != nil || !old(next.Newest), last, err
}

// header reads a header, unless it is the one that was read last.
func (h *history) header(o capture.Object) (_ *capture.Header, err error) {
	if h.read == nil || h.read.Name != o.Name {
		h.read, _, err = h.log.Reader.Header(h.ctx, o)
	}
	return h.read, err
}

// object yields the events of an object that none before it had. The first of a line tells where the line comes from.
func (h *history) object(o capture.Object, before snapshot.Pos, first bool) error {
	events, err := h.log.Reader.Events(h.ctx, o)
	if err != nil {
		return err
	}
	if first {
		if err := h.enter(o.From, before, events); err != nil {
			return err
		}
	}
	for _, e := range events {
		if e.Kind == snapshot.Branch || e.End <= h.shown {
			continue
		}
		entry := Entry{Event: &e, From: h.at(e.Start), To: h.at(e.End)}
		if h.base > 0 {
			entry.Log = e.End - h.base
		}
		h.shown, h.base = e.End, e.End
		if err := h.event(entry); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) at(offset uint64) snapshot.Pos { return snapshot.Pos{Line: h.line, Offset: offset} }

// enter notes how a line that begins at from goes on from others.
func (h *history) enter(from, before snapshot.Pos, events []snapshot.LogEvent) error {
	i := slices.IndexFunc(events, func(e snapshot.LogEvent) bool { return e.Kind == snapshot.Branch })
	if i < 0 {
		if !before.IsZero() {
			h.notes = append(h.notes, Entry{From: before, To: from})
		}
		return nil
	}
	b, err := snapshot.ParseBranchID(events[i].ID)
	if err != nil {
		return fmt.Errorf("read the history of line %d: %w: %w", h.line, crypto.ErrDamaged, err)
	}
	at := h.at(b.At)
	switch end, ok := h.ends[b.Parent.Line]; {
	case ok && end < b.Parent.Offset:
		h.notes = append(h.notes, Entry{From: snapshot.Pos{Line: b.Parent.Line, Offset: end}, To: b.Parent})
	case !ok && !before.IsZero():
		h.notes = append(h.notes, Entry{From: before, To: at})
	}
	h.shown, h.base = b.At, max(h.base, b.At)
	h.notes = append(h.notes, Entry{Event: &events[i], From: at, To: at, Parent: b.Parent.Line})
	return nil
}

// event yields an event that was asked for, and what was noted before it.
func (h *history) event(e Entry) error {
	t := e.Event.Time
	if t.Before(h.since) {
		h.notes, h.last = nil, t
		return nil
	}
	if err := h.note(); err != nil {
		return err
	}
	h.last = t
	if !h.until.IsZero() && t.After(h.until) {
		return nil
	}
	return h.emit(e)
}

// note yields what has no time, unless the event before it is too late already.
func (h *history) note() error {
	notes := h.notes
	h.notes = nil
	if !h.until.IsZero() && h.last.After(h.until) {
		return nil
	}
	for _, e := range notes {
		if err := h.emit(e); err != nil {
			return err
		}
	}
	return nil
}
