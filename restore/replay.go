package restore

import (
	"context"
	"fmt"
	"time"

	"lifeboat/capture"
	"lifeboat/crypto"
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
	// Last is the last commit that will be there, Left the first that will not; nil where the plan did not come across one.
	Last, Left *snapshot.LogEvent
	Until      time.Time // by the server's clock: what was committed before it is there
}

// Branch is a place where the log goes on in another line.
type Branch struct {
	At   snapshot.Pos
	Text string // the engine's own
}

// Log is one captured log of a source on one copy.
type Log struct {
	Objects []capture.Object
	Reader  *capture.Reader
}

// Logs are those of one source, by number.
type Logs map[uint64]Log

// PlanReplay chooses the snapshot and the log for p. Without any log that goes on from a snapshot it is Choose. Errors wrap ErrRefused
// and say what can be reached.
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
	w := &way{ctx: ctx, point: p}
	for i := len(all) - 1; i >= 0; i-- {
		if err := w.enter(all, logs, all[i].Log); err != nil {
			return nil, err
		}
		r, err := w.from(all[i])
		if err != nil {
			return nil, err
		}
		if r != nil {
			return r, nil
		}
		if nearest == nil {
			nearest = w.why
		}
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
	number   uint64 // of log
	log      Log
	branches map[uint64]snapshot.BranchID // by line
	lines    map[uint64]bool              // those that may be taken; nil: all
	why      error                        // the snapshot at hand is before the point and does not lead there
}

// enter makes a log the one that is looked at.
func (w *way) enter(all []Candidate, logs Logs, n uint64) error {
	if w.branches != nil && w.number == n {
		return nil
	}
	w.number, w.log, w.lines = n, logs[n], nil
	if err := w.learn(); err != nil || w.point.Line == 0 {
		return err
	}
	w.lines = map[uint64]bool{w.point.Line: true}
	for b, ok := w.branches[w.point.Line]; ok && !w.lines[b.Parent.Line]; b, ok = w.branches[b.Parent.Line] {
		w.lines[b.Parent.Line] = true
	}
	return nil
}

// learn reads where each line left another one.
func (w *way) learn() error {
	first := map[uint64]capture.Object{}
	for _, o := range w.log.Objects {
		if f, ok := first[o.From.Line]; !ok || o.From.Offset < f.From.Offset || o.From == f.From && o.To.Offset > f.To.Offset {
			first[o.From.Line] = o
		}
	}
	w.branches = map[uint64]snapshot.BranchID{}
	for line, o := range first {
		events, err := w.log.Reader.Events(w.ctx, o)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind != snapshot.Branch {
				continue
			}
			b, err := snapshot.ParseBranchID(e.ID)
			if err != nil {
				return fmt.Errorf("read the history of line %d: %w: %w", line, crypto.ErrDamaged, err)
			}
			w.branches[line] = b
		}
	}
	return nil
}

// follow extends a replay over the lines that left its own, the newest each time.
func (w *way) follow(r *Replay) {
	for {
		var next uint64
		for line, b := range w.branches {
			if (w.lines == nil || w.lines[line]) && b.Parent.Line == r.End.Line && line > next && b.Parent.Offset >= r.start().Offset && b.Parent.Offset <= r.End.Offset {
				next = line
			}
		}
		if next == 0 {
			return
		}
		b := w.branches[next]
		at := snapshot.Pos{Line: next, Offset: b.Parent.Offset}
		cover := capture.Cover(w.log.Objects, at)
		if len(cover) == 0 {
			return
		}
		for n := len(r.Log); n > 0 && r.Log[n-1].From.Line == b.Parent.Line && r.Log[n-1].From.Offset >= b.Parent.Offset; n-- {
			r.Log = r.Log[:n-1]
		}
		r.Branches = append(r.Branches, Branch{at, b.Text})
		r.Log, r.End = append(r.Log, cover...), cover[len(cover)-1].To
	}
}

// start is where the last line of a replay begins.
func (r *Replay) start() snapshot.Pos {
	if n := len(r.Branches); n > 0 {
		return r.Branches[n-1].At
	}
	return r.Snapshot.To
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
	if n := len(r.Log); n > 0 {
		h, _, err := w.log.Reader.Header(w.ctx, r.Log[n-1])
		if err != nil {
			return nil, err
		}
		r.Until = h.Until
	}
	switch p := w.point; {
	case p.Latest:
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
			return nil, err
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
		w.why = fmt.Errorf("%s is after the captured log, which ends at %s", t.UTC().Format(Time), r.Until.UTC().Format(Time))
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
		w.why = fmt.Errorf("%X/%X is behind the captured log, which ends at %X/%X", at>>32, uint32(at), r.End.Offset>>32, uint32(r.End.Offset))
		return nil, nil
	}
	if at == r.End.Offset {
		return r, nil
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
		w.why = fmt.Errorf("the captured log has no %s", w.named())
		return nil, nil
	case found[0].Kind == snapshot.Abort:
		return nil, fmt.Errorf("%w: %s was rolled back: give the position before or behind it: lsn:%X/%X", ErrRefused, w.named(), found[0].Start>>32, uint32(found[0].Start))
	case len(found) > 1:
		return nil, fmt.Errorf("%w: there are %d points of the %s: give the position: %s", ErrRefused, len(found), w.named(), positions(found))
	}
	return w.stop(r, in, found[0], !w.point.Before), nil
}

func (w *way) named() string {
	if w.point.Mark != "" {
		return "name " + w.point.Mark
	}
	return "transaction " + w.point.Transaction
}

func positions(found []snapshot.LogEvent) (s string) {
	for i, e := range found {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("lsn:%X/%X (%s)", e.End>>32, uint32(e.End), e.Time.UTC().Format(Time))
	}
	return s
}

// stop ends the replay at an event of the i-th object, or with through behind it.
func (w *way) stop(r *Replay, i int, e snapshot.LogEvent, through bool) *Replay {
	r.Stop, r.Through, r.Until = &e.Start, through, e.Time
	if through {
		r.Last = &e
	} else {
		r.Left = &e
	}
	r.Log = r.Log[:i+1]
	r.End = r.Log[i].To
	for n := len(r.Branches); n > 0 && r.Branches[n-1].At.Line > r.End.Line; n-- {
		r.Branches = r.Branches[:n-1]
	}
	return r
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
		return nil, err
	}
	var out []snapshot.LogEvent
	for _, e := range all {
		if e.Kind != snapshot.Branch && r.holds(o.From.Line, e) {
			out = append(out, e)
		}
	}
	return out, nil
}

// holds reports whether an event of a line is on the way: a line begins with a copy of what came before it, and its parent may
// have gone on behind the place where it was left.
func (r *Replay) holds(line uint64, e snapshot.LogEvent) bool {
	from, to := r.Snapshot.To, ^uint64(0)
	for _, b := range r.Branches {
		if b.At.Line > line {
			to = min(to, b.At.Offset)
		} else if b.At.Line == line {
			from = b.At
		}
	}
	return e.Start >= from.Offset && e.End <= to
}
