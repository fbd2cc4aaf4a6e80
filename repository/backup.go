package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"lifeboat/capture"
	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// maxIndexes is how many index objects a repository has before they are merged into one.
const maxIndexes = 32

// Backup is one backup to take.
type Backup struct {
	Name     string // of the source
	Engine   string
	Source   snapshot.Source
	Full     bool
	Reason   string
	Progress func(bytes int64)
	Opened   func(size int64) // called when the view is open, with its estimated size
	// Committed, which may be nil, is called when the first copy is complete, and the others are waited for.
	Committed func()
}

// Done is a backup that was committed.
type Done struct {
	journal.Entry
	Damaged  []string // what the source says is damaged in it
	Warnings []string
}

// Backup takes a snapshot, commits it on the first copy that is up to date, and brings the others up to date. The error of
// a copy that was missed is in its Err; the snapshot is committed nevertheless.
func (h *Host) Backup(ctx context.Context, b Backup) (*Done, error) {
	first, reader, err := h.ready(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.syncChunks(ctx, reader); err != nil {
		return nil, err
	}
	d, err := h.take(ctx, b, first, reader, false)
	if errors.Is(err, snapshot.ErrPrior) {
		why := err
		if d, err = h.take(ctx, b, first, reader, true); err == nil {
			d.Warnings = append(d.Warnings, fmt.Sprintf("everything was read: %v", why))
		}
	}
	if errors.Is(err, errFirst) {
		first.Err = err
		signed := false
		if d != nil {
			var ferr error
			if signed, ferr = h.finish(ctx, d); ferr != nil {
				return nil, fmt.Errorf("%w\n%w\n%s", err, ferr, repairOrTakeOver)
			}
		}
		if next, perr := h.primary(); perr == nil {
			if first, err = next, nil; !signed {
				return h.Backup(ctx, b)
			}
			if b.Committed != nil {
				b.Committed()
			}
		} else if signed {
			return d, perr
		}
	}
	if err != nil {
		return nil, err
	}
	if err := h.Replicate(ctx); err != nil {
		return d, err
	}
	d.Warnings = append(d.Warnings, h.renewLocks(ctx)...)
	done, err := h.sweep(ctx, first)
	if done {
		var c Collected
		err = errors.Join(err, h.cleanAll(ctx, &c))
		for _, l := range c.Left {
			d.Warnings = append(d.Warnings, l.String())
		}
	}
	return d, errors.Join(err, h.cleanMaps())
}

// errFirst is wrapped where a snapshot was not taken because of the copy that was to have it first.
var errFirst = errors.New("the copy that takes the snapshot failed")

// finish commits on another copy, which followed, a snapshot whose record is signed and could not be stored on the first. It reports whether
// the record is signed: what must stand before it may have failed.
func (h *Host) finish(ctx context.Context, d *Done) (signed bool, err error) {
	n := h.Chain().Len()
	if err := h.writer.Recover(ctx, h.targets()); err != nil || h.Chain().Len() == n {
		return false, err
	}
	if err := h.look(ctx); err != nil {
		return true, err
	}
	d.Entry = h.Chain().Entries()[n]
	return true, h.remember(h.Chain())
}

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

// take takes a snapshot, with whole of everything that the source has. An error that wraps errFirst comes with what it would be where the record is
// signed and may stand.
func (h *Host) take(ctx context.Context, b Backup, first *Copy, reader *Reader, whole bool) (_ *Done, err error) {
	start := h.Now()
	holds, err := h.holds(ctx, first, reader.Frames.Index())
	if err != nil {
		return nil, err
	}
	var warnings []string
	newest, base, err := h.base(ctx, b.Name, reader, holds, &warnings)
	if err != nil {
		return nil, err
	}
	prior, err := h.prior(ctx, b, newest, base)
	if err != nil {
		return nil, err
	}
	if prior != nil && whole {
		prior.Files = nil
	}
	view, err := b.Source.Open(ctx, prior)
	if err != nil {
		return nil, err
	}
	release := sync.OnceValue(view.Close)
	defer func() {
		if cerr := release(); err == nil && cerr != nil {
			err = fmt.Errorf("close the source: %w", cerr)
		}
	}()
	taken := h.moment()
	if b.Opened != nil {
		b.Opened(view.Size())
	}
	kind, effort := "full", crypto.Fast
	if base != nil && !b.Full {
		kind, effort = "incremental", crypto.Thorough
	}
	meanwhile, end := context.WithCancel(ctx)
	relay, stop := h.relay(meanwhile, first)
	defer func() {
		end()
		stop()
		if err != nil && relay.lost.Load() {
			err = fmt.Errorf("%w: target %s: %w", errFirst, first.Name, err)
		}
	}()
	chunks, err := chunkstore.NewWriter(ctx, relay, h.keys, effort)
	if err != nil {
		return nil, err
	}
	t, err := snapshot.Take(ctx, snapshot.Job{Source: b.Name, Engine: b.Engine, View: view, Chunks: chunks, IDs: h.keys.IDs,
		Polynomial: h.secrets.Polynomial, Known: known{h, holds}, Base: base, Full: b.Full, MapDir: filepath.Join(h.StateDir, mapsDir), Progress: b.Progress})
	if err != nil {
		chunks.Abort()
		return nil, err
	}
	if t.From != t.To {
		taken = h.moment() // a view with a log is consistent at its end
	}
	if err := release(); err != nil { // a source keeps its log as long as there is a view: it need not wait for the copies
		chunks.Abort()
		return nil, fmt.Errorf("close the source: %w", err)
	}
	packs, err := chunks.Finish()
	if err != nil {
		return nil, err
	}
	r := journal.Record{Type: journal.Snapshot, Reason: b.Reason, Snapshot: &journal.SnapshotBody{Source: h.keys.IDs.NewHasher().Source(b.Name), Kind: kind,
		Root: t.Root, From: t.From.String(), To: t.To.String(), Taken: taken, Size: t.Size, Read: t.Read,
		Amplification: math.Round(100*t.Amplification) / 100}}
	r.Snapshot.System = t.System
	if newest != nil {
		r.Snapshot.Log = newest.Log
	}
	if t.Anew {
		r.Snapshot.Log++
	}
	if err := h.index(ctx, relay, packs, &r); err != nil {
		return nil, err
	}
	for _, o := range r.Objects {
		r.Snapshot.Stored += o.Size
	}
	r.Snapshot.Duration = h.Now().Sub(start).Milliseconds()
	d := &Done{Warnings: append(warnings, t.Warnings...)}
	for _, f := range t.Findings {
		if f.Level == snapshot.Fail {
			d.Damaged = append(d.Damaged, f.Detail)
		} else {
			d.Warnings = append(d.Warnings, f.Name+": "+f.Detail)
		}
	}
	d.Entry, err = h.commitOn(ctx, first, relay.watched, r)
	if err == nil && b.Committed != nil {
		b.Committed()
	}
	stop()
	return d, err
}

// moment is the time now, rounded up, so that what is consistent now holds nothing from after it: what people see and type
// has milliseconds.
func (h *Host) moment() time.Time {
	return h.Now().UTC().Truncate(time.Millisecond).Add(time.Millisecond)
}

// index stores the index of packs and adds both to r. Where there are many index objects it merges them.
func (h *Host) index(ctx context.Context, t target.Target, packs []chunkstore.Pack, r *journal.Record) error {
	list := h.Chain().Indexes()
	if len(packs) == 0 && list != nil {
		return nil
	}
	for _, p := range packs {
		r.Objects = append(r.Objects, p.Object())
	}
	if len(list) >= maxIndexes {
		var all []chunkstore.Pack
		for _, d := range list {
			more, err := chunkstore.ReadIndex(ctx, t, d)
			if err != nil {
				return err
			}
			all = append(all, more...)
		}
		list, packs = nil, append(all, packs...)
	}
	b, err := chunkstore.EncodeIndex(packs)
	if err != nil {
		return err
	}
	o, err := chunkstore.StoreDigest(ctx, t, "index/", b)
	if err != nil {
		return err
	}
	digest, _ := chunkstore.Digest(o.Name)
	r.Objects = append(r.Objects, o)
	r.Indexes = append(append([]string{}, list...), digest)
	return nil
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
	last, err := h.captured(ctx, opaque)
	if err != nil || last == nil || further(last.Name, capture.Name{To: end}) <= 0 {
		return p, err
	}
	p.Log = h.logEnd(last)
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

// cleanMaps keeps the page maps of the newest snapshot of each source.
func (h *Host) cleanMaps() error {
	newest := map[string]crypto.ID{}
	for _, e := range h.Chain().Snapshots() {
		newest[e.Snapshot.Source] = e.Snapshot.Root.ID
	}
	keep := map[crypto.ID]bool{}
	for _, id := range newest {
		keep[id] = true
	}
	return snapshot.CleanMaps(filepath.Join(h.StateDir, mapsDir), keep)
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
