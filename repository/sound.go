package repository

import (
	"bytes"
	"context"
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

// sound reports an error for a copy on which something is lost that every restore needs: a record, an epoch's key or a current
// index object. Nothing is stored on such a copy, because it could not be restored from there. Sizes, record 1 and keys are
// looked at each time, the bytes of all else by the last check.
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
	for _, prefix := range []string{"journal/", "index/"} {
		for info, err := range c.Target.List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("list %s: %w", prefix, err)
			}
			if size, ok := want[info.Name]; ok && size == info.Size && !damaged[info.Name] {
				delete(want, info.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		return lost(name)
	}
	return nil
}

// vital returns the sizes of the records and index objects that must stand on a copy. Epochs' keys are read at once.
func (h *Host) vital(ctx context.Context, c *Copy) (map[string]int64, error) {
	want := map[string]int64{}
	current := map[string]bool{}
	for _, d := range h.Chain().Indexes() {
		current[chunkstore.IndexName(d)] = true
	}
	for _, e := range h.Chain().Entries()[:c.Position] {
		want[journal.Name(e.Seq)] = int64(len(e.Raw))
		for _, o := range e.Objects {
			if current[o.Name] {
				want[o.Name] = o.Size
			}
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
const anew = "where another copy is whole, move this one away and run `lifeboat init`"
