package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"lifeboat/capture"
	"lifeboat/chunkstore"
	"lifeboat/snapshot"
)

// Replay is the way to a point: a snapshot, and the log to replay on top of it.
type Replay struct {
	Snapshot Candidate
	Log      []capture.Object // in order, without a gap from the snapshot's end on; none: the snapshot is the point
	Reader   *capture.Reader  // of Log
	End      snapshot.Pos     // how far Log reaches
	Branches []Branch         // where it changes to another line
	// Stop is the record at whose start, or with Through behind which, the replay ends; nil: with the log.
	Stop    *uint64
	Through bool

	stopped spot // of the event at Stop
	// Last is the last commit that will be there, Left the first that will not; nil where the plan did not come across one.
	Last, Left *snapshot.LogEvent
	Until      time.Time // by the server's clock: what was committed before it is there
}

// spot is an offset in a line of a log.
type spot struct{ log, line, offset uint64 }

// Branch is a place where the log goes on in another line.
type Branch struct {
	At     snapshot.Pos // in the line that it goes on in
	Parent snapshot.Pos // in the one that it leaves
	Text   string       // the engine's own
}

// Log is one captured log of a source on one copy.
type Log struct {
	Objects []capture.Object
	Reader  *capture.Reader
}

// Behind is where the log goes on in its line behind a position, if it does.
func (l Log) Behind(end snapshot.Pos) (on snapshot.Pos, ok bool) {
	for _, o := range l.Objects {
		if o.From.Line == end.Line && o.From.Offset > end.Offset && (!ok || o.From.Offset < on.Offset) {
			on, ok = o.From, true
		}
	}
	return on, ok
}

// Until is up to when the log is known that ends with an object: what was committed before is in it. An empty object at its end tells more.
func (l Log) Until(ctx context.Context, last capture.Object) (time.Time, error) {
	h, _, err := l.Reader.Header(ctx, last)
	if err != nil {
		return time.Time{}, err
	}
	until := h.Until
	for _, o := range l.Objects {
		if o.From != last.To || o.To != last.To {
			continue
		}
		if h, _, err := l.Reader.Header(ctx, o); err == nil && h.Until.After(until) { // one that cannot be read tells nothing
			until = h.Until
		}
	}
	return until, nil
}

// Logs are those of one source, by number.
type Logs map[uint64]Log

// PlanReplay chooses the snapshot and the log for p. Without any log that goes on from a snapshot it is Choose. Errors wrap ErrRefused
// and say what can be reached, or fs.ErrNotExist where the list of a log is no longer true.
func PlanReplay(ctx context.Context, all []Candidate, logs Logs, p Point) (*Replay, error) {
	captured := 0
	for _, l := range logs {
		captured += len(l.Objects)
	}
	if p.Seq != 0 || captured == 0 || len(all) == 0 {
		c, err := Choose(all, p)
		return &Replay{Snapshot: c, End: c.To, Until: c.Taken}, err
	}
	// From the newest back: the nearest snapshot from which the point can be reached.
	var nearest error
	w := &way{ctx: ctx, point: p, logs: maps.Clone(logs)}
	last := w.newestLine(all)
	for i := len(all) - 1; i >= 0; i-- {
		r, err := w.leads(all[i])
		if err != nil {
			return nil, err
		}
		switch {
		case r != nil && p.Latest && p.Line == 0 && (r.End.Line < last || all[i].Log != all[len(all)-1].Log):
			// A way into a line that was left: the server was restored to before this snapshot, or another took over.
			w.why = fmt.Errorf("timeline %d is the newest, and no snapshot leads into it: back up, or choose another with --timeline %d", last, r.End.Line)
		case r != nil && w.found != nil && r.stopped != w.found.stopped:
			return nil, fmt.Errorf("%w: there are two of %s, at %s of timeline %d and at %s of timeline %d: choose one with --timeline, or by a time", ErrRefused,
				w.named(), all[i].position(*w.found.Stop), w.found.stopped.line, all[i].position(*r.Stop), r.stopped.line)
		case r != nil && w.found != nil: // the same, by another way
		case r != nil && (p.Transaction != "" || p.Mark != ""): // another line may have one of this name
			w.found, w.ends = r, map[spot]bool{{w.number, w.end, 0}: true}
		case r != nil:
			return r, nil
		}
		if nearest == nil {
			nearest = w.why
		}
	}
	if w.found != nil {
		return w.found, nil
	}
	if nearest == nil {
		nearest = fmt.Errorf("it is before the first snapshot, %s of %s", FormatID(all[0].Seq), all[0].Taken.UTC().Format(Time))
	}
	return nil, fmt.Errorf("%w: %w: `lifeboat window` shows what can be reached", ErrRefused, nearest)
}

// way looks for a point.
type way struct {
	ctx      context.Context
	point    Point
	logs     Logs
	bad      []*badObject // which count as missing
	number   uint64       // of log
	log      Log
	branches map[uint64]snapshot.BranchID // by line
	lines    map[uint64]bool              // those that may be taken; nil: all
	firsts   map[uint64]time.Time         // of the first commit of each line of branches, where it was looked for
	later    map[uint64]bool              // lines that had not begun at the point; nil: does not matter
	end      uint64                       // line in which the way at hand ends
	found    *Replay                      // by a name that another line may have too
	ends     map[spot]bool                // of ways that were looked through for it since
	why      error                        // the snapshot at hand is before the point and does not lead there
}

// badObject is an object of the log that cannot be read.
type badObject struct {
	capture.Object
	err error
}

func (b *badObject) Error() string { return b.err.Error() }
func (b *badObject) Unwrap() error { return b.err }

// read makes a badObject of the error of an object that is damaged. One that is gone may have been replaced by another meanwhile, which a
// new list has.
func (w *way) read(o capture.Object, err error) error {
	if chunkstore.Damaged(err) && !errors.Is(err, fs.ErrNotExist) {
		return &badObject{o, err}
	}
	return err
}

// leads is from, where what cannot be read of the log counts as missing: a point before it can be reached.
func (w *way) leads(c Candidate) (*Replay, error) {
	for {
		err := w.enter(c.Log)
		var r *Replay
		if err == nil {
			err = w.lived()
		}
		if err == nil {
			r, err = w.from(c)
		}
		if err == nil && r == nil && w.later != nil { // the time is not in the log of a line that was left: it is where that one was left
			w.later = nil
			r, err = w.from(c)
		}
		var bad *badObject
		if !errors.As(err, &bad) {
			return r, err
		}
		w.bad = append(w.bad, bad)
		l := w.logs[c.Log]
		l.Objects = slices.DeleteFunc(slices.Clone(l.Objects), func(o capture.Object) bool { return o == bad.Object })
		w.logs[c.Log], w.branches = l, nil
	}
}

// from looks for the point behind a snapshot; nil where it is not there, with why where the snapshot is before it.
func (w *way) from(c Candidate) (*Replay, error) {
	w.why = nil
	r := &Replay{Snapshot: c, Log: capture.Cover(w.log.Objects, c.To), Reader: w.log.Reader, End: c.To, Until: c.Taken}
	if n := len(r.Log); n > 0 {
		r.End = r.Log[n-1].To
	}
	w.follow(r)
	if w.point.Line != 0 && r.End.Line != w.point.Line {
		w.why = fmt.Errorf("no captured log leads to timeline %d: the one behind %s ends in timeline %d", w.point.Line, FormatID(c.Seq), r.End.Line)
		return nil, nil
	}
	if w.end = r.End.Line; w.found != nil {
		if w.ends[spot{w.number, w.end, 0}] {
			return nil, nil
		}
		w.ends[spot{w.number, w.end, 0}] = true
	}
	if n := len(r.Log); n > 0 {
		until, err := w.log.Until(w.ctx, r.Log[n-1])
		if err != nil {
			return nil, w.read(r.Log[n-1], err)
		}
		r.Until = until
	}
	switch p := w.point; {
	case p.Latest:
		if hole := w.hole(r); hole != "" {
			return nil, fmt.Errorf("%w: the captured log%s does not lead to its end: another copy may have what is missing (--from); --at %s goes up to it, and a new backup begins behind it",
				ErrRefused, hole, r.Snapshot.position(r.End.Offset))
		}
		return r, w.last(r)
	case !p.Time.IsZero():
		return w.time(r)
	case p.Position != nil:
		return w.position(r)
	}
	return w.event(r)
}

// time ends before the first commit, in the order of the log, that is after the point.
func (w *way) time(r *Replay) (*Replay, error) {
	t := w.point.Time
	if r.Snapshot.Taken.After(t) {
		return nil, nil
	}
	for i, o := range r.Log {
		h, _, err := w.log.Reader.Header(w.ctx, o)
		if err != nil {
			return nil, w.read(o, err)
		}
		if !h.Newest.After(t) && (i < len(r.Log)-1 || h.Newest.IsZero()) {
			continue // nothing in it is after the point
		}
		events, err := w.events(r, o)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if e.Kind != snapshot.Commit {
				continue
			}
			if e.Time.After(t) {
				return w.stop(r, i, e, false), nil
			}
			r.Last = &e
		}
	}
	if r.Until.Before(t) {
		w.why = fmt.Errorf("%s is after the captured log%s, which ends at %s", t.UTC().Format(Time), w.hole(r), r.Until.UTC().Format(Time))
		return nil, nil
	}
	return r, nil
}

// position ends before the first record at or behind it.
func (w *way) position(r *Replay) (*Replay, error) {
	at := *w.point.Position
	if at < r.Snapshot.To.Offset {
		return nil, nil
	}
	if at > r.End.Offset {
		w.why = fmt.Errorf("%s is behind the captured log%s, which ends at %s", r.Snapshot.position(at), w.hole(r), r.Snapshot.position(r.End.Offset))
		return nil, nil
	}
	if at == r.End.Offset {
		return r, nil
	}
	for i, o := range r.Log {
		if o.To.Offset > at {
			w.cut(r, i)
			break
		}
	}
	r.Stop = &at
	return r, nil
}

// event ends behind a transaction or a named point, or before it.
func (w *way) event(r *Replay) (*Replay, error) {
	var found []snapshot.LogEvent
	in := 0
	for i, o := range r.Log {
		events, err := w.events(r, o)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if e.ID != "" && (e.Kind == snapshot.Mark && e.ID == w.point.Mark || e.Kind != snapshot.Mark && e.ID == w.point.Transaction) {
				found, in = append(found, e), i
			}
		}
	}
	switch {
	case len(found) == 0:
		w.why = fmt.Errorf("the captured log%s has no %s", w.hole(r), w.named())
		return nil, nil
	case found[0].Kind == snapshot.Abort:
		return nil, fmt.Errorf("%w: %s was rolled back: give the position before or behind it: %s", ErrRefused, w.named(), r.Snapshot.position(found[0].Start))
	case len(found) > 1:
		return nil, fmt.Errorf("%w: there are %d points of the %s: give the position: %s", ErrRefused, len(found), w.named(), r.Snapshot.positions(found))
	}
	return w.stop(r, in, found[0], !w.point.Before), nil
}

// hole says, for a message, that there is log behind the end of a replay that cannot be reached; empty where there is none.
func (w *way) hole(r *Replay) (text string) {
	if on, ok := w.log.Behind(r.End); ok {
		text = fmt.Sprintf(" (with a hole from %s to %s)", r.Snapshot.position(r.End.Offset), r.Snapshot.position(on.Offset))
	}
	for _, b := range w.bad {
		if b.From.Line == r.End.Line && b.To.Offset > r.End.Offset {
			return text + fmt.Sprintf(" (of which %v)", b.err)
		}
	}
	return text
}

func (w *way) named() string {
	if w.point.Mark != "" {
		return "name " + w.point.Mark
	}
	return "transaction " + w.point.Transaction
}

func (c Candidate) positions(found []snapshot.LogEvent) (s string) {
	for i, e := range found {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s (%s)", c.position(e.End), e.Time.UTC().Format(Time))
	}
	return s
}

// stop ends the replay at an event of the i-th object, or with through behind it.
func (w *way) stop(r *Replay, i int, e snapshot.LogEvent, through bool) *Replay {
	r.Stop, r.Through, r.Until, r.stopped = &e.Start, through, e.Time, spot{w.number, r.Log[i].From.Line, e.Start}
	if through {
		r.Last = &e
	} else {
		r.Left = &e
	}
	w.cut(r, i)
	return r
}

// cut ends the log with its i-th object.
func (w *way) cut(r *Replay, i int) {
	r.Log = r.Log[:i+1]
	r.End = r.Log[i].To
	for n := len(r.Branches); n > 0 && r.Branches[n-1].At.Line > r.End.Line; n-- {
		r.Branches = r.Branches[:n-1]
	}
}

// last finds the last commit of a replay that ends with the log.
func (w *way) last(r *Replay) error {
	for i := len(r.Log) - 1; i >= 0 && r.Last == nil; i-- {
		events, err := w.events(r, r.Log[i])
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind == snapshot.Commit {
				r.Last = &e
			}
		}
	}
	return nil
}

// events are those of an object whose records begin behind the snapshot.
func (w *way) events(r *Replay, o capture.Object) ([]snapshot.LogEvent, error) {
	all, err := w.log.Reader.Events(w.ctx, o)
	if err != nil {
		return nil, w.read(o, err)
	}
	var out []snapshot.LogEvent
	for _, e := range all {
		if e.Kind != snapshot.Branch && r.holds(o.From.Line, e) {
			out = append(out, e)
		}
	}
	return out, nil
}
