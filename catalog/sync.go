package catalog

import (
	"context"
	"fmt"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/snapshot"
)

// chunkBatch is how many chunks are stored in one transaction.
const chunkBatch = 1 << 14

// SyncChunks adds the chunks of all snapshots in the journal that were not added yet. open opens a snapshot's tree. What is
// damaged is left out: it costs deduplication, nothing else.
func (c *Catalog) SyncChunks(ctx context.Context, chain *journal.Chain, open func(journal.Ref) (*snapshot.Tree, error)) error {
	from, err := c.Indexed()
	if err != nil {
		return err
	}
	s := syncer{c: c, seen: map[crypto.ID]bool{}, rebuild: from == 0}
	for _, e := range chain.Snapshots() {
		if e.Seq <= from {
			continue
		}
		tree, err := open(e.Snapshot.Root)
		if err == nil {
			err = s.tree(ctx, tree)
		}
		if err != nil && !chunkstore.Damaged(err) {
			return fmt.Errorf("index snapshot %d: %w", e.Seq, err)
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	if from == chain.Len() {
		return nil
	}
	return c.SetIndexed(chain.Len())
}

type syncer struct {
	c       *Catalog
	seen    map[crypto.ID]bool
	rebuild bool
	batch   []Chunk
}

func (s *syncer) tree(ctx context.Context, t *snapshot.Tree) error {
	for f, err := range t.Files(ctx) {
		if err != nil {
			return err
		}
		var at int64
		for _, x := range f.Extents {
			// A node of an earlier run was indexed with it, unless everything is indexed anew.
			old := !s.rebuild && [12]byte(x.Ref.Frame[:12]) != [12]byte(t.Ref.Frame[:12])
			if !old && !s.seen[x.Ref.ID] {
				s.seen[x.Ref.ID] = true
				if err := s.node(ctx, t, f, x, at); err != nil && !chunkstore.Damaged(err) {
					return fmt.Errorf("%s: %w", f.Name, err)
				}
			}
			at += x.Bytes
		}
	}
	return nil
}

func (s *syncer) node(ctx context.Context, t *snapshot.Tree, f snapshot.File, x snapshot.ExtentsRef, at int64) error {
	extents, err := t.Extents(ctx, x)
	if err != nil {
		return err
	}
	for _, e := range extents {
		if f.Findable(e, at) {
			s.batch = append(s.batch, Chunk{e.ID, e.Chunk})
		}
		at += e.Bytes
		if len(s.batch) == chunkBatch {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *syncer) flush() error {
	if len(s.batch) == 0 {
		return nil
	}
	err := s.c.AddChunks(s.batch)
	s.batch = s.batch[:0]
	return err
}
