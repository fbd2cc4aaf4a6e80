package capture

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// Job is the capture of one source's log. Its callbacks are called from several goroutines.
type Job struct {
	Source     string // opaque
	System     string
	Repository crypto.ID
	After      func() (uint64, error) // number of the newest record
	Keys       *crypto.HostKeys
	Signer     note.Signer
	Targets    []Target
	SpoolDir   string
	// Straddling returns the events that an earlier run saw in records around a position, where there was one, and the Branch of a line that begins
	// there: whoever begins to read there misses them.
	Straddling func(ctx context.Context, at snapshot.Pos) ([]snapshot.LogEvent, error)
	// Genuine verifies an object that a target lists. Nothing is removed on the word of one that was not.
	Genuine func(ctx context.Context, t target.Target, o Object) error
	// Durable is told how far the log stands on one target at least. Positions go forward.
	Durable func(snapshot.Pos)
	// Failed is told what went wrong with a target, which is tried again, and nil when it goes on.
	Failed func(target string, err error)
}

// Target is where a log goes.
type Target struct {
	Name   string
	Target target.Target
	Every  time.Duration // the least time between two tails
}

// maxQueue is how many segments wait in the spool for a target. Then it misses those that another target has, and gets them from
// there later; while no target has them, no more log is asked for.
const maxQueue = 16

// Run stores the pieces of log as they come, until it ends. Every target has a pipeline of its own: one that is down or slow
// keeps nobody waiting. The first piece begins a segment. Where the log ends with an error, what came before is stored all the same.
func Run(ctx context.Context, job Job, log iter.Seq2[snapshot.LogPiece, error]) error {
	// What an earlier run left there stands on a target, or comes again.
	if err := errors.Join(os.RemoveAll(job.SpoolDir), os.MkdirAll(job.SpoolDir, 0o700)); err != nil {
		return fmt.Errorf("create the spool: %w", err)
	}
	c := &capture{Job: job, sealers: sealers{keys: job.Keys}, moved: make(chan struct{}, 1)}
	g, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	for _, t := range job.Targets {
		p := &pipe{capture: c, Target: t, wake: make(chan struct{}, 1), done: done}
		p.poke()
		c.pipes = append(c.pipes, p)
	}
	for _, p := range c.pipes {
		g.Go(func() error { return p.run(ctx) })
	}
	var broke error
	g.Go(func() error {
		defer close(done)
		first := true
		for piece, err := range log {
			if broke = err; broke != nil {
				return ctx.Err()
			}
			if first && c.Straddling != nil {
				first = false
				c.early, err = c.Straddling(ctx, piece.From)
			}
			if err == nil {
				err = c.add(piece)
			}
			if err == nil {
				err = c.wait(ctx)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil || broke != nil {
		return errors.Join(broke, err)
	}
	if end := c.open.to(); len(c.open.data) > 0 && c.durable != end {
		return fmt.Errorf("the log up to %s stands on no target", end)
	}
	return nil
}

// capture is a running Job.
type capture struct {
	Job
	sealers sealers
	pipes   []*pipe

	telling sync.Mutex // held before mu

	mu      sync.Mutex
	open    stretch             // the segment that is being filled
	early   []snapshot.LogEvent // whose records end in what is still to come
	durable snapshot.Pos
	moved   chan struct{} // a segment was stored
}

// stretch is log in memory: whatever is appended, what was there stays as it is.
type stretch struct {
	from   snapshot.Pos
	data   []byte
	events []snapshot.LogEvent
	until  time.Time
	before Proof  // of what came before
	lead   int    // bytes of the segment before from
	void   uint64 // where no log can be, behind data, up to the end of a segment
	blocks *blocks
}

// proof is that of an object that ends where s does.
func (s stretch) proof(ids *crypto.Hasher) Proof {
	for _, e := range slices.Backward(s.events) {
		whole := e.Start >= s.from.Offset && e.Start < e.End && e.End <= s.to().Offset
		if (e.Kind == snapshot.Commit || e.Kind == snapshot.Abort) && whole && e.End-e.Start <= maxProof {
			return Proof{e.Start, e.End, ids.LogRecord(s.data[e.Start-s.from.Offset : e.End-s.from.Offset])}
		}
	}
	return s.before
}

func (s stretch) to() snapshot.Pos {
	return snapshot.Pos{Line: s.from.Line, Offset: s.from.Offset + uint64(len(s.data)) + s.void}
}

// since is the part of s from an offset on.
func (s stretch) since(offset uint64) stretch {
	lead := int(offset - s.from.Offset)
	out := stretch{from: snapshot.Pos{Line: s.from.Line, Offset: offset}, data: s.data[lead:], until: s.until, lead: s.lead + lead, blocks: s.blocks}
	for i, e := range s.events {
		if e.End > offset || e.Kind == snapshot.Branch && e.End == offset {
			out.events = s.events[i:]
			break
		}
	}
	return out
}

// sealed is a segment that waits to be stored.
type sealed struct {
	Name
	until  time.Time
	path   string // of the object in the spool
	left   int    // pipes that still want it
	stored bool   // on one target at least
}

// add takes a piece in. A whole segment is sealed once, for all targets.
func (c *capture) add(p snapshot.LogPiece) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.From.Line != c.open.from.Line {
		if len(c.open.data) > 0 { // the line ended
			if err := c.finish(); err != nil {
				return err
			}
		}
		c.open = stretch{from: p.From, blocks: &blocks{}}
	}
	if at := c.open.to(); p.From != at {
		return fmt.Errorf("capture the log: a piece from %s where %s was due: a fault of lifeboat", p.From, at)
	}
	c.open.data = append(c.open.data, p.Data...)
	at := c.open.to()
	if p.To != at && (p.To.Line != at.Line || p.To.Offset < at.Offset || !p.Segment) {
		return fmt.Errorf("capture the log: a piece up to %s that ends at %s: a fault of lifeboat", p.To, at)
	}
	c.open.void = p.To.Offset - at.Offset
	for len(c.early) > 0 && c.early[0].End <= c.open.to().Offset {
		c.open.events, c.early = append(c.open.events, c.early[0]), c.early[1:]
	}
	c.open.events = append(c.open.events, p.Events...)
	if !p.Until.IsZero() { // else what was said before still holds
		c.open.until = p.Until
	}
	if p.Segment {
		if err := c.finish(); err != nil {
			return err
		}
	}
	for _, pipe := range c.pipes {
		pipe.poke()
	}
	return nil
}

// finish seals the open segment into the spool and begins the next.
func (c *capture) finish() error {
	h, object, err := c.seal(c.open, Segment, c.open)
	if err != nil {
		return err
	}
	s := &sealed{Name: h.Name, until: c.open.until, path: filepath.Join(c.SpoolDir, h.Digest), left: len(c.pipes)}
	if err := atomicfile.Write(s.path, object, 0o600); err != nil {
		return fmt.Errorf("spool a segment of the log: %w", err)
	}
	for _, p := range c.pipes {
		p.queue = append(p.queue, s)
		if len(p.queue) > maxQueue && p.queue[0].stored {
			if err := c.release(p.queue[0]); err != nil {
				return err
			}
			p.queue = p.queue[1:]
		}
	}
	c.open = stretch{from: c.open.to(), until: c.open.until, before: h.Proof, blocks: &blocks{}}
	return nil
}

// wait returns when the spool has room for another segment.
func (c *capture) wait(ctx context.Context) error {
	for {
		c.mu.Lock()
		full := len(c.pipes) > 0
		for _, p := range c.pipes {
			full = full && len(p.queue) > maxQueue
		}
		c.mu.Unlock()
		if !full {
			return ctx.Err()
		}
		select {
		case <-c.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release removes a segment from the spool when no pipe wants it any more.
func (c *capture) release(s *sealed) error {
	if s.left--; s.left > 0 {
		return nil
	}
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("clean the spool: %w", err)
	}
	return nil
}

// seal makes the object that holds s, which is the end of whole.
func (c *capture) seal(s stretch, kind Kind, whole stretch) (h Header, object []byte, err error) {
	after, err := c.After()
	if err != nil {
		return h, nil, err
	}
	by, err := c.sealers.take()
	if err != nil {
		return h, nil, err
	}
	defer c.sealers.idle.Put(by)
	h = Header{Name: Name{Source: c.Source, From: s.from, To: s.to(), Kind: kind}, Repository: c.Repository, After: after, System: c.System, Until: s.until, Proof: whole.proof(by.ids)}
	object, err = by.seal(&h, c.Signer, s)
	return h, object, err
}

// reached notes that the log stands on a target up to at.
func (c *capture) reached(at snapshot.Pos) {
	c.telling.Lock() // else two pipes could tell in the wrong order
	defer c.telling.Unlock()
	c.mu.Lock()
	further := at.Line != c.durable.Line || at.Offset > c.durable.Offset
	if further {
		c.durable = at
	}
	c.mu.Unlock()
	if further {
		c.Durable(at)
	}
}
