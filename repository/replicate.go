package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"lifeboat/chunkstore"
	"lifeboat/journal"
	"lifeboat/target"
)

// Replicate brings every reachable copy up to the journal's head: for each record that a copy lacks first the objects that
// the record names, then the record, byte for byte. What went wrong with a copy is noted in its Err; the others go on.
func (h *Host) Replicate(ctx context.Context) error {
	from, err := h.primary()
	if err != nil {
		return err
	}
	for _, to := range h.Copies {
		if to.Err != nil || to == from {
			continue
		}
		to.Err = h.catchUp(ctx, from, to)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (h *Host) catchUp(ctx context.Context, from, to *Copy) error {
	unneeded := unneeded(h.Chain())
	for _, e := range h.Chain().Entries()[to.Position:] {
		for _, o := range e.Objects {
			if unneeded[o.Name] {
				continue
			}
			err := copyObject(ctx, h.StateDir, from.Target, to.Target, o)
			if chunkstore.Damaged(err) {
				err = fmt.Errorf("%w: no copy has it: `lifeboat check` names the snapshots that need it; once they are forgotten, this copy goes on", err)
			}
			if err != nil {
				return fmt.Errorf("copy from %s: %w", from.Name, err)
			}
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

// copyObject copies one object that is named by its digest, and verifies it on the way: a damaged object must not spread.
// It goes through a file in dir without a name, so that an object of any size needs no memory.
func copyObject(ctx context.Context, dir string, from, to target.Target, o target.Object) error {
	if ok, err := target.Has(ctx, to, o); ok || err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".copy.tmp-*") // cleanState knows such names
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if err := fetch(ctx, from, o, f); err != nil {
		return err
	}
	err = to.Put(ctx, o.Name, io.NewSectionReader(f, 0, o.Size))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: another object has this name: %w", o.Name, err)
	}
	return err
}
