package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"lifeboat/chunkstore"
	"lifeboat/journal"
	"lifeboat/target"
)

// transfers is how many objects are on their way to one copy: this hides the time that each waits for an answer.
const transfers = 4

// Replicate brings every reachable copy up to the journal's head, all at once: for each record that a copy lacks first the objects
// that the record names, then the record, byte for byte. What went wrong with a copy is noted in its Err; the others go on. Names restrict it
// to these copies.
func (h *Host) Replicate(ctx context.Context, only ...string) error {
	if _, err := h.primary(); err != nil {
		return err
	}
	var from []*Copy // of those that have everything, the first that yields an object whole
	for _, c := range h.Copies {
		if c.Err == nil && c.Position == h.Chain().Len() {
			from = append(from, c)
		}
	}
	var wait sync.WaitGroup
	for _, to := range h.Copies {
		if to.Err == nil && to.Position < h.Chain().Len() && (len(only) == 0 || slices.Contains(only, to.Name)) {
			wait.Go(func() { to.Err = h.catchUp(ctx, from, to) })
		}
	}
	wait.Wait()
	return ctx.Err()
}

func (h *Host) catchUp(ctx context.Context, from []*Copy, to *Copy) error {
	fates, seen := fatesIn(h.Chain()), map[uint64]bool{}
	for _, e := range h.Chain().Entries()[to.Position:] {
		g, work := errgroup.WithContext(ctx)
		g.SetLimit(transfers)
		err := fates.needs(e, seen, func(o target.Object) error {
			g.Go(func() error { return h.transfer(work, from, to, o) })
			return nil
		})
		if err := errors.Join(g.Wait(), err); err != nil {
			return err
		}
		if err := h.writer.PutBundles(ctx, to.Target, e.Seq-1); err != nil {
			return err
		}
		if err := target.Store(ctx, to.Target, journal.Name(e.Seq), e.Raw); err != nil {
			return fmt.Errorf("copy record %d: %w", e.Seq, err)
		}
		to.Position = e.Seq
	}
	return nil
}

// transfer copies an object to a copy that may have it already, from whichever other yields it whole.
func (h *Host) transfer(ctx context.Context, from []*Copy, to *Copy, o target.Object) error {
	if ok, err := target.Has(ctx, to.Target, o); ok || err != nil {
		return err
	}
	var errs []error
	lost := true
	for _, c := range from {
		err := copyObject(ctx, h.StateDir, c.Target, to.Target, o)
		if err == nil || ctx.Err() != nil || errors.Is(err, errTransfer) {
			return err
		}
		lost = lost && chunkstore.Damaged(err)
		errs = append(errs, fmt.Errorf("copy from %s: %w", c.Name, err))
	}
	err := errors.Join(errs...)
	if lost {
		err = fmt.Errorf("%w: no copy has it: `lifeboat check` names the snapshots that need it; once they are forgotten, this copy goes on", err)
	}
	return err
}

// errTransfer is wrapped where an object was read whole and could not be stored.
var errTransfer = errors.New("store what was copied")

// copyObject copies an object that is named by its digest, and verifies it on the way: a damaged object must not spread, and what has its
// name and another size is damaged. It goes through a file in dir without a name, so that an object of any size needs no memory.
func copyObject(ctx context.Context, dir string, from, to target.Target, o target.Object) error {
	f, err := os.CreateTemp(dir, ".copy.tmp-*") // cleanState knows such names
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) { // who locks the directory cleans it
		return err
	}
	if err := fetch(ctx, from, o, f); err != nil {
		return err
	}
	body := io.NewSectionReader(f, 0, o.Size)
	if err = to.Put(ctx, o.Name, body); errors.Is(err, fs.ErrExist) {
		if r, ok := to.(target.Repairer); ok {
			err = r.Replace(ctx, o.Name, body)
		} else {
			err = fmt.Errorf("%s is damaged, and this target replaces nothing: %w", o.Name, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errTransfer, err)
	}
	return err
}

// waiting bounds how many packs a copy may be behind while a snapshot is taken; it gets those that it missed with the record.
const waiting = 256

// follow is the first copy of a snapshot that is being taken: what stands there goes to the others at once.
type follow struct {
	target.Target
	pipes []chan target.Object
	wait  sync.WaitGroup
}

// follow lets all other copies follow first until stop is called, which waits for what is on its way unless ctx is done. A copy that
// fails meanwhile tries again when the record stands.
func (h *Host) follow(ctx context.Context, first *Copy) (f *follow, stop func()) {
	f = &follow{Target: first.Target}
	for _, c := range h.Copies {
		if c.Err != nil || c == first {
			continue
		}
		pipe := make(chan target.Object, waiting)
		f.pipes = append(f.pipes, pipe)
		for range transfers {
			f.wait.Go(func() {
				for o := range pipe {
					if copyObject(ctx, h.StateDir, first.Target, c.Target, o) != nil {
						return
					}
				}
			})
		}
	}
	return f, sync.OnceFunc(func() {
		for _, pipe := range f.pipes {
			close(pipe)
		}
		f.wait.Wait()
	})
}

// Put implements target.Target.
func (f *follow) Put(ctx context.Context, name string, body *io.SectionReader) error {
	if err := f.Target.Put(ctx, name, body); err != nil {
		return err
	}
	for _, pipe := range f.pipes {
		select {
		case pipe <- target.Object{Name: name, Size: body.Size()}:
		default:
		}
	}
	return nil
}
