package repository

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
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

// delivery is a record that a copy lacks, and what must stand there before it.
type delivery struct {
	journal.Entry
	objects []target.Object
	coming  sync.WaitGroup // objects
	failed  atomic.Bool    // one of them
}

// lacking lists what a copy lacks, in the order of the journal.
func (h *Host) lacking(to *Copy) (list []*delivery, bytes int64) {
	fates, seen := fatesIn(h.Chain()), map[uint64]bool{}
	for _, e := range h.Chain().Entries()[to.Position:] {
		d := &delivery{Entry: e}
		_ = fates.needs(e, seen, func(o target.Object) error { // which returns no error of its own
			d.objects = append(d.objects, o)
			bytes += o.Size
			return nil
		})
		d.coming.Add(len(d.objects))
		list = append(list, d)
	}
	return list, bytes
}

// catchUp transfers objects ahead of the records that wait for them, which follow in their order.
func (h *Host) catchUp(ctx context.Context, from []*Copy, to *Copy) error {
	list, bytes := h.lacking(to)
	told := h.tally(to.Name)
	told.more(bytes)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ahead errgroup.Group
	ahead.Go(func() error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(transfers)
		for _, d := range list {
			for _, o := range d.objects {
				g.Go(func() error {
					defer d.coming.Done()
					err := h.transfer(ctx, from, to, o)
					if err != nil {
						d.failed.Store(true)
					} else {
						told.stored(o.Size)
					}
					return err
				})
			}
		}
		return g.Wait()
	})
	err := h.follow(ctx, to, list)
	if err != nil {
		cancel()
	}
	return cmp.Or(err, ahead.Wait())
}

// follow stores each record once what it names stands, up to the first for which something does not.
func (h *Host) follow(ctx context.Context, to *Copy, list []*delivery) error {
	for _, d := range list {
		if d.coming.Wait(); d.failed.Load() {
			return nil
		}
		if err := h.writer.PutBundles(ctx, to.Target, d.Seq-1); err != nil {
			return err
		}
		if err := target.Store(ctx, to.Target, journal.Name(d.Seq), d.Raw); err != nil {
			return fmt.Errorf("copy record %d: %w", d.Seq, err)
		}
		to.Position = d.Seq
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

// copyObject copies an object that is named by its digest, and verifies it on the way: a damaged object must not spread. It goes through a file
// in dir without a name, so that an object of any size needs no memory.
func copyObject(ctx context.Context, dir string, from, to target.Target, o target.Object) error {
	f, err := nameless(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fetch(ctx, from, o, f); err != nil {
		return err
	}
	return deposit(ctx, to, o.Name, io.NewSectionReader(f, 0, o.Size))
}

// nameless makes a file in dir that is gone once it is closed.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".copy.tmp-*") // who locks the directory cleans such names
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) { // as above
		return nil, errors.Join(fmt.Errorf("spool: %w", err), f.Close())
	}
	return f, nil
}

// deposit stores what was verified, in the place of what has its name: that is damaged, or has another size.
func deposit(ctx context.Context, to target.Target, name string, body *io.SectionReader) error {
	err := to.Put(ctx, name, body)
	if errors.Is(err, fs.ErrExist) {
		if r, ok := to.(target.Repairer); ok {
			err = r.Replace(ctx, name, body)
		} else {
			err = fmt.Errorf("%s is damaged, and this target replaces nothing: %w", name, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errTransfer, err)
	}
	return err
}

// fetch copies an object into w and verifies it.
func fetch(ctx context.Context, t target.Target, o target.Object, w io.Writer) error {
	r, err := t.Get(ctx, o.Name, 0, o.Size+1)
	if err != nil {
		return err
	}
	defer r.Close()
	return authentic(o, r, w)
}

// authentic copies r into w and compares it with the object's size and the digest in its name.
func authentic(o target.Object, r io.Reader, w io.Writer) error {
	digest, ok := chunkstore.Digest(o.Name)
	if !ok {
		return fmt.Errorf("%s: not named by a digest", o.Name)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(r, o.Size+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", o.Name, err)
	}
	if n != o.Size || hex.EncodeToString(sum.Sum(nil)) != digest {
		return fmt.Errorf("read %s: %w", o.Name, crypto.ErrDamaged)
	}
	return nil
}
