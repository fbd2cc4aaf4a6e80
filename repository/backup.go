package repository

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"

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
	Due      time.Time // of the schedule that it serves; zero where somebody asks for it
	Beside   uint64    // the snapshot of another source that it belongs with; 0 is none
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
	if !t.To.IsZero() {
		taken = h.moment() // a view with a log is consistent at its end, or before
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
		Root: t.Root, From: t.From.String(), To: t.To.String(), Taken: taken, Size: t.Size, Read: t.Read, Changed: t.Changed, New: t.New, Content: chunks.Content(),
		Amplification: math.Round(100*t.Amplification) / 100}}
	r.Snapshot.System = t.System
	if !b.Due.IsZero() {
		due := b.Due.UTC()
		r.Snapshot.Due = &due
	}
	for _, e := range h.Chain().Snapshots() {
		if e.Seq == b.Beside {
			r.Snapshot.Beside = &journal.BesideBody{Seq: e.Seq, Skew: taken.Sub(e.Snapshot.Taken).Milliseconds()}
		}
	}
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
