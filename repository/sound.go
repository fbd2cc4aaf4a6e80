package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/target"
)

// epochKeys begins the names of the key files without which no content opens.
const epochKeys = "keys/" + string(crypto.WhatEpoch) + "-"

// sound reports an error for a copy on which something is lost that every restore needs: a record or an epoch's key. Nothing is
// stored on such a copy, because it could not be restored from there. Sizes, record 1 and keys are looked at each time, the
// bytes of all else by the last check.
func (h *Host) sound(ctx context.Context, c *Copy) error {
	want, err := h.vital(ctx, c)
	if err != nil {
		return err
	}
	if c.Position > 0 { // the root of trust is in record 1: without it not even a check can name what is wrong
		first := h.Chain().Entries()[0].Raw
		raw, err := target.Read(ctx, c.Target, journal.Name(1), int64(len(first)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !bytes.Equal(raw, first) {
			return lost(journal.Name(1))
		}
	}
	damaged := h.Damaged(c.Name)
	for info, err := range c.Target.List(ctx, "journal/") {
		if err != nil {
			return fmt.Errorf("list the journal: %w", err)
		}
		if size, ok := want[info.Name]; ok && size == info.Size && !damaged[info.Name] {
			delete(want, info.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		return lost(name)
	}
	return nil
}

// vital returns the sizes of the records that must stand on a copy. Epochs' keys are read at once.
func (h *Host) vital(ctx context.Context, c *Copy) (map[string]int64, error) {
	want := map[string]int64{}
	for _, e := range h.Chain().Entries()[:c.Position] {
		want[journal.Name(e.Seq)] = int64(len(e.Raw))
		for _, o := range e.Objects {
			if !strings.HasPrefix(o.Name, epochKeys) {
				continue
			}
			if _, err := chunkstore.ReadDigest(ctx, c.Target, o.Name, crypto.MaxKeyFile); ctx.Err() != nil {
				return nil, ctx.Err()
			} else if err != nil {
				return nil, fmt.Errorf("%w: %w", lost(o.Name), err)
			}
		}
	}
	return want, nil
}

func lost(name string) error {
	return fmt.Errorf("%s is missing or damaged, and nothing stored here could be restored: %s: %w", name, anew, crypto.ErrDamaged)
}

// anew is what to do about a copy on which nothing can be stored.
const anew = "`lifeboat heal` repairs it from a copy that is whole, or move it away and run `lifeboat init`, which makes it anew; where none is whole, keep this one for restores and found a new repository with another state_dir and an empty target"

// ready returns the copy that takes what is new, and reads it. One that cannot be read is missed.
func (h *Host) ready(ctx context.Context) (*Copy, *Reader, error) {
	for {
		first, err := h.primary()
		if err != nil {
			return nil, nil, err
		}
		r, err := h.Reader(ctx, first)
		if err == nil && r.IndexLost != nil {
			err = h.reindex(ctx, first, r)
		}
		if err == nil {
			return first, r, nil
		}
		if first.Err = err; ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
	}
}

// reindex makes one index object of what the footers of the packs say, where the index was lost. Every pack is read whole and
// verified: the index is that of the other copies, too.
func (h *Host) reindex(ctx context.Context, first *Copy, r *Reader) error {
	var packs []chunkstore.Pack
	for _, o := range r.Objects() {
		if !strings.HasPrefix(o.Name, "packs/") {
			continue
		}
		p, err := chunkstore.ReadPack(ctx, first.Target, o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%w; and it cannot be made anew: %w: %s", r.IndexLost, err, anew)
		}
		packs = append(packs, p)
	}
	b, err := chunkstore.EncodeIndex(packs)
	if err != nil {
		return err
	}
	o, err := chunkstore.StoreDigest(ctx, first.Target, "index/", b)
	if errors.Is(err, target.ErrConflict) { // what stands there is damaged, and this is what it was
		err = replace(ctx, first.Target, o.Name, b)
	}
	if err != nil {
		return err
	}
	digest, _ := chunkstore.Digest(o.Name)
	old := slices.DeleteFunc(slices.Clone(h.Chain().Indexes()), func(d string) bool { return d == digest })
	if len(old) > 0 {
		if _, err := h.commit(ctx, first, journal.Record{Type: journal.Condemn, Condemn: &journal.PacksBody{Packs: []string{}, Indexes: old}, Objects: []target.Object{o}, Indexes: []string{digest}}); err != nil {
			return err
		}
	}
	return r.unlock(ctx, h.keys.IDs, h.keys.Index)
}
