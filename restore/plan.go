package restore

import (
	"context"
	"fmt"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// Plan says what a restore will do, before it does anything.
type Plan struct {
	Files  int   `json:"files"`
	Size   int64 `json:"size"` // bytes of all files
	Data   int64 `json:"data"` // bytes of them that are not zero runs
	Frames int   `json:"frames"`
	Packs  int   `json:"packs"`
	Fetch  int64 `json:"fetch"` // bytes to read from the target

	PackNames []string `json:"pack_names,omitempty"` // objects to read, for a store that must bring them back first
}

// step is one piece of a frame and the place in a file where it goes.
type step struct {
	pack   uint32 // in the order of the index
	off    uint32 // of the frame in its pack
	extent snapshot.Extent
	file   uint32
	at     int64 // in the file
}

// planner walks a tree and turns it into steps.
type planner struct {
	tree   *snapshot.Tree
	index  *chunkstore.Index
	packs  map[string]uint32
	places map[crypto.ID]place
	plan   Plan
}

type place struct {
	pack, off uint32
}

func newPlanner(tree *snapshot.Tree, index *chunkstore.Index) *planner {
	p := &planner{tree: tree, index: index, packs: map[string]uint32{}, places: map[crypto.ID]place{}}
	for i, pack := range index.Packs() {
		p.packs[pack.Digest] = uint32(i)
	}
	return p
}

// walk calls file for each file of the snapshot and step for each piece of it.
func (p *planner) walk(ctx context.Context, file func(snapshot.File) error, emit func(step) error) error {
	for f, err := range p.tree.Files(ctx) {
		if err != nil {
			return err
		}
		if err := file(f); err != nil {
			return err
		}
		var at int64
		for _, x := range f.Extents {
			extents, err := p.tree.Extents(ctx, x)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			for _, e := range extents {
				if err := p.extent(f, e, at, emit); err != nil {
					return fmt.Errorf("%s from byte %d: %w", f.Name, at, err)
				}
				at += e.Bytes
			}
		}
		p.plan.Files++
		p.plan.Size += f.Size
	}
	return nil
}

func (p *planner) extent(f snapshot.File, e snapshot.Extent, at int64, emit func(step) error) error {
	if e.IsZero() {
		return nil
	}
	where, ok := p.places[e.Chunk.Frame]
	if !ok {
		all := p.index.Lookup(e.Chunk.Frame)
		if len(all) == 0 {
			return fmt.Errorf("frame %s: %w: %w", e.Chunk.Frame, chunkstore.ErrUnknownFrame, crypto.ErrDamaged)
		}
		where = place{p.packs[all[0].Digest], uint32(all[0].Off)}
		p.places[e.Chunk.Frame] = where
		p.plan.Frames++
		p.plan.Fetch += int64(all[0].Len)
	}
	p.plan.Data += e.Bytes
	return emit(step{where.pack, where.off, e, uint32(p.plan.Files), at})
}

// need verifies that every pack that the plan reads stands on t with its size.
func (p *planner) need(ctx context.Context, t target.Target) error {
	used := map[uint32]bool{}
	for _, w := range p.places {
		used[w.pack] = true
	}
	p.plan.Packs = len(used)
	sizes := map[string]int64{}
	for info, err := range t.List(ctx, "packs/") {
		if err != nil {
			return fmt.Errorf("list the packs: %w", err)
		}
		sizes[info.Name] = info.Size
	}
	for i, pack := range p.index.Packs() {
		if !used[uint32(i)] {
			continue
		}
		p.plan.PackNames = append(p.plan.PackNames, chunkstore.PackName(pack.Digest))
		size, ok := sizes[chunkstore.PackName(pack.Digest)]
		switch {
		case !ok:
			return fmt.Errorf("%s is missing on this copy: %w", chunkstore.PackName(pack.Digest), crypto.ErrDamaged)
		case size != pack.Size:
			return fmt.Errorf("%s has %d bytes on this copy, not %d: %w", chunkstore.PackName(pack.Digest), size, pack.Size, crypto.ErrDamaged)
		}
	}
	return nil
}

// DryRun plans the restore of tree from t without writing anything.
func DryRun(ctx context.Context, tree *snapshot.Tree, frames *chunkstore.Reader, t target.Target) (Plan, error) {
	p := newPlanner(tree, frames.Index())
	err := p.walk(ctx, func(snapshot.File) error { return nil }, func(step) error { return nil })
	if err == nil {
		err = p.need(ctx, t)
	}
	return p.plan, err
}
