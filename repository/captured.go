package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"lifeboat/capture"
	"lifeboat/journal"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// logEnd is where the log ends of which last is the object that reaches furthest.
func (h *Host) logEnd(last *capture.Header) snapshot.LogEnd {
	p := last.Proof
	end := snapshot.LogEnd{System: last.System, Pos: last.To, From: p.From, To: p.To}
	if !p.ID.IsZero() {
		end.Same = func(b []byte) bool { return h.keys.IDs.NewHasher().LogRecord(b) == p.ID }
	}
	return end
}

// whole is up to where the line of end is captured in whole segments on a copy; without any, where its log begins.
func (h *Host) whole(ctx context.Context, chain *journal.Chain, opaque string, end snapshot.Pos) (at uint64, err error) {
	var begins uint64
	var errs []error
	for _, c := range h.Copies {
		if c.Err != nil {
			continue
		}
		objects, err := backFrom(ctx, c.Target, opaque, end)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", c.Name, err))
			continue
		}
		reader, err := capture.NewReader(c.Target, chain)
		if err != nil {
			return 0, err
		}
		for _, o := range objects {
			if o.Kind == capture.Segment && o.To.Offset <= at {
				break
			}
			if _, _, err := reader.Header(ctx, o); err != nil {
				continue // nothing is believed that is not signed
			}
			if o.Kind == capture.Segment {
				at = o.To.Offset
				break
			}
			if begins == 0 || o.From.Offset < begins {
				begins = o.From.Offset
			}
		}
	}
	if len(errs) == len(h.Copies) {
		return 0, errors.Join(errs...)
	}
	if at == 0 {
		at = begins
	}
	return at, ctx.Err()
}

// backFrom lists the objects of the line of end up to there, the furthest first. Nothing is verified.
func backFrom(ctx context.Context, t target.Target, opaque string, end snapshot.Pos) ([]capture.Object, error) {
	objects, err := capture.List(ctx, t, opaque)
	objects = slices.DeleteFunc(objects, func(o capture.Object) bool { return o.From.Line != end.Line || o.To.Offset > end.Offset })
	slices.SortFunc(objects, func(a, b capture.Object) int { return further(b.Name, a.Name) })
	return objects, err
}

// committed yields the commits in the line of a captured log up to its end: those of each copy, the newest first, so that one may come more than once.
func (h *Host) committed(chain *journal.Chain, opaque string, last *capture.Header) func(context.Context) iter.Seq2[snapshot.LogEvent, error] {
	return func(ctx context.Context) iter.Seq2[snapshot.LogEvent, error] {
		return func(yield func(snapshot.LogEvent, error) bool) {
			var errs []error
			for _, c := range h.Copies {
				if c.Err != nil {
					continue
				}
				objects, err := backFrom(ctx, c.Target, opaque, last.To)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				reader, err := capture.NewReader(c.Target, chain, h.keys.Index)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				for _, o := range objects {
					events, err := reader.Events(ctx, o)
					if err != nil {
						errs = append(errs, err)
						continue // another object, or copy, may have them
					}
					for _, e := range slices.Backward(events) {
						if e.Kind == snapshot.Commit && !yield(e, nil) {
							return
						}
					}
				}
			}
			if len(errs) > 0 {
				yield(snapshot.LogEvent{}, errors.Join(errs...))
			}
		}
	}
}

// manifest is that of a snapshot, from any copy; nil where there is none, or none can be read.
func (h *Host) manifest(ctx context.Context, s *journal.SnapshotBody) ([]byte, error) {
	for _, c := range h.Copies {
		if c.Err != nil || s.Source == "" {
			continue
		}
		r, err := Open(ctx, c.Target)
		if err == nil {
			err = r.UnlockHost(ctx, h.keys)
		}
		if err == nil {
			var tree *snapshot.Tree
			if tree, err = r.TreeOf(ctx, s); err == nil {
				return tree.Root.Manifest, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}

// leads reports whether log leads from where the newest snapshot ends to how far it was captured. Across lines it is not looked at: what
// goes on in another was followed by somebody who was there.
func (h *Host) leads(ctx context.Context, opaque string, from, to snapshot.Pos) (bool, error) {
	if from.Line != to.Line || from.Offset >= to.Offset {
		return true, nil
	}
	var errs []error
	for _, c := range h.Copies {
		if c.Err != nil {
			continue
		}
		objects, err := capture.List(ctx, c.Target, opaque)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", c.Name, err))
			continue
		}
		if cover := capture.Cover(objects, from); len(cover) > 0 && cover[len(cover)-1].To == to {
			return true, nil
		}
	}
	return false, errors.Join(errs...)
}

// straddling returns the events whose records lie around a position, and that its line begins there, from any copy.
func (h *Host) straddling(ctx context.Context, opaque string, at snapshot.Pos) ([]snapshot.LogEvent, error) {
	for _, c := range h.Copies {
		if c.Err != nil {
			continue
		}
		events, err := h.eventsAt(ctx, c.Target, opaque, at)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var around []snapshot.LogEvent
		for _, e := range events { // none where err is not nil: another copy has it, or it is lost, and the log itself is not
			if e.Start < at.Offset && e.End > at.Offset || e.Kind == snapshot.Branch && e.End == at.Offset {
				around = append(around, e)
			}
		}
		if len(around) > 0 {
			return around, err
		}
	}
	return nil, nil
}

// eventsAt returns the events of the object that holds a position.
func (h *Host) eventsAt(ctx context.Context, t target.Target, opaque string, at snapshot.Pos) ([]snapshot.LogEvent, error) {
	r, err := Open(ctx, t)
	if err != nil {
		return nil, err
	}
	objects, err := capture.List(ctx, t, opaque)
	if err != nil {
		return nil, err
	}
	cover := capture.Cover(objects, at)
	if len(cover) == 0 {
		return nil, nil
	}
	reader, err := capture.NewReader(t, r.Chain, h.keys.Index)
	if err != nil {
		return nil, err
	}
	return reader.Events(ctx, cover[0])
}

// captured returns what the object says that reaches furthest, of those that stand on any copy and are genuine by the journal.
func (h *Host) captured(ctx context.Context, chain *journal.Chain, opaque string) (*capture.Header, error) {
	var best *capture.Header
	var errs []error
	for _, c := range h.Copies {
		if c.Err != nil {
			errs = append(errs, c.Err)
			continue
		}
		header, err := furthest(ctx, c.Target, chain, opaque)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", c.Name, err))
		} else if header != nil && (best == nil || further(header.Name, best.Name) > 0) {
			best = header
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if len(errs) == len(h.Copies) {
		return nil, errors.Join(errs...)
	}
	return best, nil
}

func further(a, b capture.Name) int {
	return cmp.Or(cmp.Compare(a.To.Line, b.To.Line), cmp.Compare(a.To.Offset, b.To.Offset))
}

func furthest(ctx context.Context, t target.Target, chain *journal.Chain, opaque string) (*capture.Header, error) {
	objects, err := capture.List(ctx, t, opaque)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(objects, func(a, b capture.Object) int { return further(b.Name, a.Name) })
	reader, err := capture.NewReader(t, chain)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		header, _, err := reader.Header(ctx, o)
		if err == nil {
			return header, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}
