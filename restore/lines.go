package restore

import (
	"fmt"
	"time"

	"lifeboat/capture"
	"lifeboat/crypto"
	"lifeboat/snapshot"
)

// A log goes on in another line where a server took over, or was restored to an earlier point: then what stands behind that place in the line
// that was left is no part of the way.

// newestLine is the newest line of the newest log.
func (w *way) newestLine(all []Candidate) (line uint64) {
	n := all[len(all)-1].Log
	for _, o := range w.logs[n].Objects {
		line = max(line, o.From.Line)
	}
	for _, c := range all {
		if c.Log == n {
			line = max(line, c.To.Line)
		}
	}
	return line
}

// enter makes a log the one that is looked at.
func (w *way) enter(n uint64) error {
	if w.branches != nil && w.number == n {
		return nil
	}
	w.number, w.log, w.lines = n, w.logs[n], nil
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
	w.branches, w.firsts = map[uint64]snapshot.BranchID{}, map[uint64]time.Time{}
	for line, o := range first {
		events, err := w.log.Reader.Events(w.ctx, o)
		if err != nil {
			return w.read(o, err)
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

// lived finds the lines in which nothing was committed yet at the time of the point: then the database was in the line that they left,
// even if that one was given up later.
func (w *way) lived() error {
	w.later = nil
	if w.point.Time.IsZero() || w.point.Line != 0 {
		return nil
	}
	later := map[uint64]bool{}
	for line, b := range w.branches {
		first, known := w.firsts[line]
		if !known {
			var err error
			if first, err = w.first(snapshot.Pos{Line: line, Offset: b.At}); err != nil {
				return err
			}
			w.firsts[line] = first
		}
		if first.IsZero() || first.After(w.point.Time) {
			later[line] = true
		}
	}
	w.later = later
	return nil
}

// first is the time of the first commit from a position on; zero without one.
func (w *way) first(at snapshot.Pos) (time.Time, error) {
	for _, o := range capture.Cover(w.log.Objects, at) {
		events, err := w.log.Reader.Events(w.ctx, o)
		if err != nil {
			return time.Time{}, w.read(o, err)
		}
		for _, e := range events {
			if e.Kind == snapshot.Commit && e.Start >= at.Offset {
				return e.Time, nil
			}
		}
	}
	return time.Time{}, nil
}

// follow extends a replay over the lines that left its own, the newest each time.
func (w *way) follow(r *Replay) {
	for {
		var next uint64
		for line, b := range w.branches {
			if (w.lines == nil || w.lines[line]) && !w.later[line] && b.Parent.Line == r.End.Line && line > next && b.Parent.Offset >= r.start().Offset && b.Parent.Offset <= r.End.Offset {
				next = line
			}
		}
		if next == 0 {
			return
		}
		b := w.branches[next]
		at := snapshot.Pos{Line: next, Offset: b.At}
		cover := capture.Cover(w.log.Objects, at)
		if len(cover) == 0 {
			return
		}
		for n := len(r.Log); n > 0 && r.Log[n-1].From.Line == b.Parent.Line && r.Log[n-1].From.Offset >= b.Parent.Offset; n-- {
			r.Log = r.Log[:n-1]
		}
		r.Branches = append(r.Branches, Branch{at, b.Parent, b.Text})
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

// holds reports whether an event of a line is on the way: a line begins with a copy of what came before it, and its parent may
// have gone on behind the place where it was left.
func (r *Replay) holds(line uint64, e snapshot.LogEvent) bool {
	from, to := r.Snapshot.To, ^uint64(0)
	for _, b := range r.Branches {
		if b.Parent.Line == line {
			to = min(to, b.Parent.Offset)
		}
		if b.At.Line == line {
			from = b.At
		}
	}
	return e.Start >= from.Offset && e.End <= to
}
