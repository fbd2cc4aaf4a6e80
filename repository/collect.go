package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/target"
)

// condemned returns the names of packs and index objects that no new snapshot may use.
func condemned(c *journal.Chain) map[string]bool {
	out := map[string]bool{}
	for _, e := range c.Entries() {
		out = add(out, e.Condemn)
	}
	return out
}

// unneeded returns the names of objects that no snapshot needs any more, whether they were deleted yet or not.
func unneeded(c *journal.Chain) map[string]bool {
	out := condemned(c)
	maps.Copy(out, swept(c))
	return out
}

// swept returns the names of objects that were deleted on purpose.
func swept(c *journal.Chain) map[string]bool {
	out := map[string]bool{}
	for _, e := range c.Entries() {
		out = add(out, e.Sweep)
	}
	return out
}

func add(out map[string]bool, b *journal.PacksBody) map[string]bool {
	if b == nil {
		return out
	}
	for _, d := range b.Packs {
		out[chunkstore.PackName(d)] = true
	}
	for _, d := range b.Indexes {
		out[chunkstore.IndexName(d)] = true
	}
	return out
}

// Collected says what a collection did.
type Collected struct {
	Condemned int       `json:"condemned"`       // packs that nothing refers to any more
	Bytes     int64     `json:"condemned_bytes"` // of them
	Swept     int       `json:"swept"`           // objects deleted now
	Orphans   int       `json:"orphans"`         // objects of runs that died, deleted now
	SweepAt   time.Time `json:"sweep_at"`        // when what was condemned is deleted
}

// Forget drops one snapshot. Its data stays until Collect finds that nothing else needs it.
func (h *Host) Forget(ctx context.Context, seq uint64, reason string) error {
	for _, e := range h.Chain().Snapshots() {
		if e.Seq != seq {
			continue
		}
		first, err := h.primary()
		if err != nil {
			return err
		}
		if _, err := h.commit(ctx, first, journal.Record{Type: journal.Drop, Reason: reason, Drop: &journal.DropBody{Seq: seq}}); err != nil {
			return err
		}
		return h.cleanMaps()
	}
	return fmt.Errorf("snapshot s%d: %w", seq, fs.ErrNotExist)
}

// Collect finds what no kept snapshot needs. Packs are condemned first, by a record that no later snapshot can contradict,
// and deleted a grace later, when readers that were under way are done. What dead runs left is deleted at once: nobody
// else writes, and no record names it.
func (h *Host) Collect(ctx context.Context) (c Collected, err error) {
	first, r, err := h.ready(ctx)
	if err != nil {
		return c, err
	}
	if err := h.condemn(ctx, first, r, &c); err != nil {
		return c, err
	}
	if err := h.Replicate(ctx); err != nil {
		return c, err
	}
	if _, err := h.sweep(ctx, first); err != nil {
		return c, err
	}
	return c, h.cleanAll(ctx, &c)
}

// sweep records what was condemned a grace ago; deleting it is left to cleanAll.
func (h *Host) sweep(ctx context.Context, first *Copy) (bool, error) {
	due := h.due()
	if len(due.Packs)+len(due.Indexes) == 0 {
		return false, nil
	}
	if _, err := h.commit(ctx, first, journal.Record{Type: journal.Sweep, Sweep: &due}); err != nil {
		return false, err
	}
	return true, h.Replicate(ctx)
}

func (h *Host) cleanAll(ctx context.Context, c *Collected) error {
	var errs []error
	for _, copied := range h.Copies {
		if copied.Err == nil {
			errs = append(errs, h.clean(ctx, copied, c))
		}
	}
	return errors.Join(errs...)
}

// condemn writes the record that takes unused packs out of the index.
func (h *Host) condemn(ctx context.Context, first *Copy, r *Reader, c *Collected) error {
	live, err := h.liveFrames(ctx, r)
	if err != nil {
		return err
	}
	var keep []chunkstore.Pack
	var body journal.PacksBody
	list := h.Chain().Indexes()
	for _, d := range list {
		packs, err := chunkstore.ReadIndex(ctx, first.Target, d)
		if err != nil {
			return err
		}
		for _, p := range packs {
			if slices.ContainsFunc(p.Frames, func(f chunkstore.Frame) bool { return live[f.ID] }) {
				keep = append(keep, p)
				continue
			}
			body.Packs = append(body.Packs, p.Digest)
			c.Bytes += p.Size
		}
	}
	if len(body.Packs) == 0 {
		return nil
	}
	c.Condemned, c.SweepAt = len(body.Packs), h.Now().UTC().Add(grace)
	b, err := chunkstore.EncodeIndex(keep)
	if err != nil {
		return err
	}
	o, err := chunkstore.StoreDigest(ctx, first.Target, "index/", b)
	if err != nil {
		return err
	}
	digest, _ := chunkstore.Digest(o.Name)
	body.Indexes = slices.DeleteFunc(slices.Clone(list), func(d string) bool { return d == digest })
	_, err = h.commit(ctx, first, journal.Record{Type: journal.Condemn, Condemn: &body, Objects: []target.Object{o}, Indexes: []string{digest}})
	return err
}

// liveFrames returns every frame that a kept snapshot needs. A tree that cannot be read ends the collection: what cannot
// be seen must not be deleted.
func (h *Host) liveFrames(ctx context.Context, r *Reader) (map[crypto.ID]bool, error) {
	live := map[crypto.ID]bool{}
	seen := map[crypto.ID]bool{}
	for _, e := range h.Chain().Snapshots() {
		root := e.Snapshot.Root
		live[root.Frame] = true
		if seen[root.ID] {
			continue
		}
		seen[root.ID] = true
		tree, err := r.Tree(ctx, root)
		if err != nil {
			return nil, fmt.Errorf("collect: snapshot s%d: %w", e.Seq, err)
		}
		for _, f := range tree.Root.Files {
			live[f.Ref.Frame] = true
		}
		for f, err := range tree.Files(ctx) {
			if err != nil {
				return nil, fmt.Errorf("collect: snapshot s%d: %w", e.Seq, err)
			}
			for _, x := range f.Extents {
				live[x.Ref.Frame] = true
				if seen[x.Ref.ID] {
					continue
				}
				seen[x.Ref.ID] = true
				extents, err := tree.Extents(ctx, x)
				if err != nil {
					return nil, fmt.Errorf("collect: snapshot s%d: %s: %w", e.Seq, f.Name, err)
				}
				for _, e := range extents {
					live[e.Chunk.Frame] = true
				}
			}
		}
	}
	return live, nil
}

// due lists what was condemned a grace ago and not swept yet. Time is the journal's: a clock that was set forward and
// back cannot shorten the grace below what the records show.
func (h *Host) due() (b journal.PacksBody) {
	gone := swept(h.Chain())
	for _, e := range h.Chain().Entries() {
		if e.Condemn == nil || h.Now().Before(e.Time.Add(grace)) {
			continue
		}
		for _, d := range e.Condemn.Packs {
			if !gone[chunkstore.PackName(d)] {
				b.Packs = append(b.Packs, d)
			}
		}
		for _, d := range e.Condemn.Indexes {
			if !gone[chunkstore.IndexName(d)] {
				b.Indexes = append(b.Indexes, d)
			}
		}
	}
	return b
}

// cleaner is a target that keeps unfinished objects aside, and removes those that were begun before a time.
type cleaner interface {
	Clean(ctx context.Context, olderThan time.Time) error
}

// clean deletes on one copy what was swept, and what no record names.
func (h *Host) clean(ctx context.Context, c *Copy, sum *Collected) error {
	if c.Position != h.Chain().Len() {
		return nil // a copy that is behind keeps everything until it has caught up
	}
	named := map[string]bool{}
	for _, e := range h.Chain().Entries() {
		for _, o := range e.Objects {
			named[o.Name] = true
		}
	}
	if t, ok := c.Target.(cleaner); ok {
		if err := t.Clean(ctx, h.Now()); err != nil {
			return fmt.Errorf("target %s: %w", c.Name, err)
		}
	}
	gone := swept(h.Chain())
	for _, prefix := range []string{"packs/", "index/", "keys/", probePrefix} {
		for info, err := range c.Target.List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("target %s: %w", c.Name, err)
			}
			if _, ours := chunkstore.Digest(info.Name); !ours && prefix != probePrefix || !strings.HasPrefix(info.Name, prefix) {
				continue // nobody knows what that is
			}
			if named[info.Name] && !gone[info.Name] {
				continue
			}
			if err := c.Target.Delete(ctx, info.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("target %s: %w", c.Name, err)
			}
			if named[info.Name] {
				sum.Swept++
			} else {
				sum.Orphans++
			}
		}
	}
	return nil
}
