package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"lifeboat/snapshot"
	"lifeboat/target"
)

// maxTails is how many tails of one segment a target holds before they are replaced by one.
const maxTails = 64

// lastTries is how often a target is tried when the log has ended.
const lastTries = 5

// pipe stores the log on one target.
type pipe struct {
	*capture
	Target
	wake chan struct{}
	done <-chan struct{}

	queue []*sealed // guarded by mu
	have  snapshot.Pos
	until time.Time // that the newest object says
	tails []Name
	known bool   // tails includes what earlier runs left
	bad   string // what is wrong with the target, as it was told
}

// poke says that there is something to do.
func (p *pipe) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pipe) run(ctx context.Context) error {
	pause := p.Every
	for left := lastTries; left > 0; {
		ended := false
		select {
		case <-p.wake:
		case <-p.done:
			ended = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		err := p.store(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.tell(err)
		switch {
		case ended && err == nil:
			return nil
		case ended:
			left--
		case err != nil:
			p.poke() // again, after a while
		}
		ending := p.done
		if ended {
			ending = nil
		}
		if pause = min(2*pause, maxPause*p.Every); err == nil || ended {
			pause = p.Every
		}
		select {
		case <-time.After(pause):
		case <-ending:
		case <-ctx.Done():
		}
	}
	return nil
}

// maxPause is how many times Every is the longest wait before a target is tried again.
const maxPause = 15

// tell says what is wrong with the target, once, and that it goes on.
func (p *pipe) tell(err error) {
	what := ""
	if err != nil {
		what = err.Error()
	}
	if what != p.bad {
		p.bad = what
		p.Failed(p.Name, err)
	}
}

// store brings the target up to what was captured.
func (p *pipe) store(ctx context.Context) error {
	if !p.known {
		objects, err := List(ctx, p.Target.Target, p.Source)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if o.Kind == Tail {
				p.tails = append(p.tails, o.Name)
			}
		}
		for _, o := range objects { // an earlier run may have ended before it removed them
			if o.Kind != Segment || !slices.ContainsFunc(p.tails, o.Covers) || p.Genuine(ctx, p.Target.Target, o) != nil {
				continue // a tail that stays takes room, and nothing else
			}
			if err := p.drop(ctx, o.Name); err != nil {
				return err
			}
		}
		p.known = true
	}
	for {
		p.mu.Lock()
		var next *sealed
		if len(p.queue) > 0 {
			next = p.queue[0]
		}
		open := p.open
		p.mu.Unlock()
		if next == nil {
			return p.tail(ctx, open)
		}
		if err := p.segment(ctx, next); err != nil && !p.skipped(next) {
			return err
		}
	}
}

// skipped reports whether a segment was given up for this target meanwhile.
func (p *pipe) skipped(s *sealed) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) == 0 || p.queue[0] != s
}

// segment stores a whole segment and removes the tails that it replaces.
func (p *pipe) segment(ctx context.Context, s *sealed) error {
	f, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	if err := p.Target.Target.Put(ctx, s.String(), io.NewSectionReader(f, 0, info.Size())); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p.have, p.until = s.To, s.until
	p.reached(s.To)
	if err := p.drop(ctx, s.Name); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.stored = true
	select {
	case p.moved <- struct{}{}:
	default:
	}
	if len(p.queue) > 0 && p.queue[0] == s {
		p.queue = p.queue[1:]
		return p.release(s)
	}
	return nil
}

// idleEvery is after how many times Every a target is told that nothing came.
const idleEvery = 30

func (p *pipe) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail stores what came since the last object; many small ones are replaced by one. Now and then, and in the end, it stores that
// nothing came.
func (p *pipe) tail(ctx context.Context, open stretch) error {
	if p.have.Line != open.from.Line || p.have.Offset < open.from.Offset {
		p.have = open.from
	}
	part := open
	switch {
	case p.have == open.to() && open.until.Sub(p.until) < idleEvery*p.Every && !p.ended():
		return nil
	case p.have == open.to() && !open.until.After(p.until):
		return nil
	case p.have == open.to(), len(p.tails) < maxTails:
		part = open.since(p.have.Offset)
	}
	h, object, err := p.seal(part, Tail, open)
	if err != nil {
		return err
	}
	name := h.Name
	if err := target.Store(ctx, p.Target.Target, name.String(), object); err != nil {
		return err
	}
	p.have, p.until = open.to(), part.until
	p.reached(p.have)
	if err := p.drop(ctx, name); err != nil {
		return err
	}
	p.tails = append(p.tails, name)
	return nil
}

// drop deletes the tails that an object covers. Where the target lets nobody delete they stay, and take room and nothing else: a later run that may
// delete finds them.
func (p *pipe) drop(ctx context.Context, by Name) error {
	var keep []Name
	for _, t := range p.tails {
		if !by.Covers(t) {
			keep = append(keep, t)
			continue
		}
		err := p.Target.Target.Delete(ctx, t.String())
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, target.ErrRetained) {
			return err
		}
	}
	p.tails = keep
	return nil
}
