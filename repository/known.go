package repository

import (
	"context"
	"fmt"
	"slices"

	"lifeboat/capture"
	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/snapshot"
)

// syncChunks brings the catalog up to the journal; one that is damaged is made anew.
func (h *Host) syncChunks(ctx context.Context, r *Reader) error {
	open := func(ref journal.Ref) (*snapshot.Tree, error) { return r.Tree(ctx, ref) }
	err := h.catalog.SyncChunks(ctx, h.Chain(), open)
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := h.catalog.Reset(); err != nil {
		return err
	}
	if err := h.remember(h.Chain()); err != nil {
		return err
	}
	return h.catalog.SyncChunks(ctx, h.Chain(), open)
}

// base is the newest snapshot of the source. One that cannot be read costs an increment, never a backup.
func (h *Host) base(ctx context.Context, name string, r *Reader, holds func(crypto.ID) bool, warnings *[]string) (*journal.SnapshotBody, *snapshot.Base, error) {
	e := newestOf(h.Chain(), h.keys.IDs.NewHasher().Source(name))
	if e == nil {
		return nil, nil, nil
	}
	tree, err := r.TreeOf(ctx, e.Snapshot)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		*warnings = append(*warnings, fmt.Sprintf("the previous snapshot s%d cannot be read (%v): everything is compared by content; run `lifeboat check`", e.Seq, err))
		return e.Snapshot, nil, nil
	}
	return e.Snapshot, &snapshot.Base{Tree: tree, Holds: holds}, nil
}

// newestOf is the newest snapshot of a source, nil without one.
func newestOf(chain *journal.Chain, opaque string) *journal.Entry {
	for _, e := range slices.Backward(chain.Snapshots()) {
		if e.Snapshot.Source == opaque {
			return &e
		}
	}
	return nil
}

// maxAmplification is how many bytes of frames a restore may decode per byte before a snapshot reads everything: only what it
// reads can it store again where it belongs.
const maxAmplification = 1.4

// prior is what a source may build its next view on.
func (h *Host) prior(ctx context.Context, b Backup, newest *journal.SnapshotBody, base *snapshot.Base) (p *snapshot.Prior, err error) {
	if base == nil {
		return nil, nil
	}
	p = &snapshot.Prior{Manifest: base.Tree.Root.Manifest, Anew: b.Full}
	if !b.Full && newest.Amplification <= maxAmplification {
		p.Files = base.Tree.Files(ctx)
	}
	end, err := snapshot.ParsePos(newest.To)
	if err != nil {
		return nil, err
	}
	p.Log = snapshot.LogEnd{System: newest.System, Pos: end}
	if _, ok := b.Source.(snapshot.LogSource); !ok {
		return p, nil
	}
	opaque := h.keys.IDs.NewHasher().Log(b.Name, newest.Log)
	last, err := h.captured(ctx, h.Chain(), opaque)
	if err != nil || last == nil || further(last.Name, capture.Name{To: end}) <= 0 {
		return p, err
	}
	p.Log = h.logEnd(last)
	p.Log.Committed = h.committed(h.Chain(), opaque, last)
	leads, err := h.leads(ctx, opaque, end, last.To)
	if !leads || last.To.Line != end.Line || p.Log.From < end.Offset {
		p.Log.Same = nil // it does not prove that the log leads here from the snapshot
	}
	return p, err
}

// holds returns the question whether a frame still stands, whole as far as is known, on the copy that takes the snapshot:
// what stands only elsewhere is stored again, so that this copy is complete.
func (h *Host) holds(ctx context.Context, first *Copy, index *chunkstore.Index) (func(crypto.ID) bool, error) {
	want := map[string]int64{}
	for _, p := range index.Packs() {
		want[chunkstore.PackName(p.Digest)] = p.Size
	}
	stands := map[string]bool{}
	damaged := h.Damaged(first.Name)
	for info, err := range first.Target.List(ctx, "packs/") {
		if err != nil {
			return nil, fmt.Errorf("%w: target %s: list the packs: %w", errFirst, first.Name, err)
		}
		if size, ok := want[info.Name]; ok && size == info.Size && !damaged[info.Name] {
			stands[info.Name] = true
		}
	}
	fates := fatesIn(h.Chain())
	return func(frame crypto.ID) bool {
		for _, p := range index.Lookup(frame) {
			if stands[p.Pack] && !fates.unneeded(p.Pack) {
				return true
			}
		}
		return false
	}, nil
}

// known offers chunks of the catalog whose frames still stand.
type known struct {
	h     *Host
	holds func(crypto.ID) bool
}

// Lookup implements snapshot.Known. A catalog that fails knows nothing: chunks are then stored again.
func (k known) Lookup(ids []crypto.ID, places []chunkstore.Loc) error {
	if err := k.h.catalog.Lookup(ids, places); err != nil {
		clear(places)
	}
	for i := range places {
		if places[i].Len > 0 && !k.holds(places[i].Frame) {
			places[i] = chunkstore.Loc{}
		}
	}
	return nil
}
