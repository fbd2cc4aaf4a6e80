package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/journal"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// grace is how long condemned packs stay for readers that are under way.
const grace = 7 * 24 * time.Hour

// Collected says what a collection did.
type Collected struct {
	Condemned int       `json:"condemned"`         // packs that nothing needs any more
	Logs      int       `json:"condemned_logs"`    // objects of logs
	Bytes     int64     `json:"condemned_bytes"`   // of them all
	Compacted int       `json:"compacted"`         // those among them whose live frames were moved into new packs
	Moved     int64     `json:"compacted_bytes"`   // of the new packs
	Damaged   []string  `json:"damaged,omitempty"` // packs that were to be compacted and were left as they are
	Swept     int       `json:"swept"`             // objects deleted now
	Orphans   int       `json:"orphans"`           // objects of runs that died, deleted now
	SweepAt   time.Time `json:"sweep_at"`          // when what was condemned is deleted
	Left      []Left    `json:"left,omitempty"`
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

// Collect deletes what nothing needs; logs are objects of logs that it condemns, too.
// It deletes what was condemned a grace ago and what dead runs left, which no record names: nobody else writes. Then it finds
// what no kept snapshot needs: packs of which nothing is needed, and the half-empty ones, whose frames it moves. Both are
// condemned by a record that no later snapshot can contradict, and deleted a grace later, when readers that were under way
// are done.
func (h *Host) Collect(ctx context.Context, logs ...target.Object) (c Collected, err error) {
	first, r, err := h.ready(ctx)
	if err != nil {
		return c, err
	}
	live, err := h.liveFrames(ctx, r)
	if err != nil {
		return c, err
	}
	if err := h.Replicate(ctx); err != nil {
		return c, err
	}
	if _, err := h.sweep(ctx, first); err != nil {
		return c, err
	}
	if err := h.cleanAll(ctx, &c); err != nil {
		return c, err
	}
	err = h.condemn(ctx, first, live, logs, &c)
	return c, errors.Join(err, h.Replicate(ctx))
}

// liveFrames returns every frame that a kept snapshot needs. A tree that cannot be read ends the collection: what cannot
// be seen must not be deleted.
func (h *Host) liveFrames(ctx context.Context, r *Reader) (live classes, err error) {
	var f snapshot.Frames
	for _, e := range h.Chain().Snapshots() {
		tree, err := r.Tree(ctx, e.Snapshot.Root)
		if err == nil {
			err = f.Add(ctx, tree)
		}
		if err != nil {
			return nil, fmt.Errorf("collect: snapshot s%d: %w", e.Seq, err)
		}
	}
	return f.Class, nil
}

// condemn writes the record that takes packs out of the index which nothing needs, and those whose frames were moved, and names the logs.
func (h *Host) condemn(ctx context.Context, first *Copy, live classes, logs []target.Object, c *Collected) error {
	s, err := h.sift(ctx, first, live)
	if err != nil {
		return err
	}
	made, stopped := h.compact(ctx, first, live, s, c)
	if len(s.gone)+len(logs) == 0 {
		return stopped
	}
	r := journal.Record{Type: journal.Condemn, Condemn: &journal.PacksBody{Packs: []string{}, Indexes: []string{}}}
	for _, o := range logs {
		r.Condemn.Logs = append(r.Condemn.Logs, strings.TrimPrefix(o.Name, logPrefix))
		s.bytes += o.Size
	}
	for _, p := range made {
		r.Objects = append(r.Objects, p.Object())
	}
	if len(s.gone) > 0 {
		if err := h.reduce(ctx, first.Target, s.gone, made, &r); err != nil {
			return errors.Join(stopped, err)
		}
	}
	if _, err = h.commit(ctx, first, r); err == nil {
		c.Condemned, c.Logs, c.Bytes, c.SweepAt = len(s.gone), len(logs), s.bytes, h.Now().UTC().Add(grace)
	}
	return errors.Join(stopped, err)
}

// reduce stores the index without the packs that are gone and with those that were made, and completes the record about it.
func (h *Host) reduce(ctx context.Context, t target.Target, gone map[string]bool, made []chunkstore.Pack, r *journal.Record) error {
	w, err := chunkstore.NewIndexWriter()
	if err != nil {
		return err
	}
	for _, d := range h.Chain().Indexes() {
		err := chunkstore.EachPack(ctx, t, d, func(p chunkstore.Pack) error {
			if gone[p.Digest] {
				r.Condemn.Packs = append(r.Condemn.Packs, p.Digest)
				return nil
			}
			return w.Add(p)
		})
		if err != nil {
			return err
		}
	}
	for _, p := range made {
		if err := w.Add(p); err != nil {
			return err
		}
	}
	b, err := w.Finish()
	if err != nil {
		return err
	}
	o, err := chunkstore.StoreDigest(ctx, t, "index/", b)
	if err != nil {
		return err
	}
	digest, _ := chunkstore.Digest(o.Name)
	for _, old := range objects(h.Chain()) { // also those that were merged into others since
		if d, _ := chunkstore.Digest(old.Name); strings.HasPrefix(old.Name, "index/") && d != digest {
			r.Condemn.Indexes = append(r.Condemn.Indexes, d)
		}
	}
	r.Objects, r.Indexes = append(r.Objects, o), []string{digest}
	return nil
}
