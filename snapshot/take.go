// Package snapshot takes snapshots: it turns a consistent view of a source into chunks, frames and a tree, storing only
// what the repository does not hold yet. It defines what a source is, what a tree is, and nothing about any engine.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/restic/chunker"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
)

// Known says which chunks the repository holds. A place is offered only if its frame's pack is committed and not lost.
// It is safe for concurrent use.
type Known interface {
	// Lookup sets places[i] for each ids[i] that is known and leaves the others zero.
	Lookup(ids []crypto.ID, places []chunkstore.Loc) error
}

// Base is the snapshot that a new one is compared with: the newest committed one of the same source.
type Base struct {
	Tree *Tree
	// Holds reports whether the repository still holds a frame; extents in others are stored again.
	Holds func(frame crypto.ID) bool
}

// Job is one snapshot to take.
type Job struct {
	Source, Engine string
	View           View
	Chunks         *chunkstore.Writer
	IDs            crypto.IDKey
	Polynomial     chunker.Pol
	Known          Known
	Base           *Base  // nil for the first snapshot
	Full           bool   // compare whole groups only, and store again what is in pieces
	MapDir         string // for page maps
	Progress       func(bytes int64)
}

// Taken is a snapshot whose content is written but not committed.
type Taken struct {
	Root          journal.Ref
	Size          int64 // bytes of all files
	Read          int64 // bytes read from the source
	Changed       int64 // bytes of pages and chunks that the base does not have, as far as they were compared
	New           int64 // bytes of content that was stored
	Amplification float64
	Warnings      []string
	Summary
}

// Take reads the view and writes what is new to job.Chunks. On success everything but the open frames stands on the
// target: the caller finishes job.Chunks, stores the index and commits the record.
func Take(ctx context.Context, job Job) (*Taken, error) {
	t, err := newTaker(job)
	if err != nil {
		return nil, err
	}
	defer t.close()
	for item, err := range job.View.Items(ctx) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", job.Source, err)
		}
		if err := t.item(ctx, item); err != nil {
			return nil, fmt.Errorf("%s: %w", item.Name, err)
		}
	}
	return t.finish()
}

// taker is the state of one run.
type taker struct {
	job    Job
	hasher *crypto.Hasher
	tree   *treeWriter
	newMap *mapWriter
	oldMap *mapReader // nil without one
	base   *baseFiles
	run    map[crypto.ID]chunkstore.Loc // chunks added in this run
	use    usage
	old    usage
	budget int64 // bytes that may still be stored again for the sake of restores
	result Taken

	batches []*batch // of one file of pages after another
	chunk   []byte   // of one stream after another
}

// runChunks bounds the memory for finding the same chunk twice within one run: 2 GiB of groups.
const runChunks = 1 << 15

func newTaker(job Job) (*taker, error) {
	hasher := job.IDs.NewHasher()
	t := &taker{job: job, hasher: hasher, run: map[crypto.ID]chunkstore.Loc{}, use: usage{}, old: usage{}}
	t.tree = &treeWriter{chunks: job.Chunks, hasher: hasher, base: map[crypto.ID]journal.Ref{}}
	t.tree.root.Source, t.tree.root.Engine = job.Source, job.Engine
	_, t.tree.sorted = job.View.(Sorted)
	if job.Base != nil {
		t.base = &baseFiles{base: job.Base, nodes: map[int][]File{}, held: map[crypto.ID]bool{}}
		root := job.Base.Tree.Ref
		for _, f := range append([]filesRef{{Ref: root}}, job.Base.Tree.Root.Files...) {
			if job.Base.Holds(f.Ref.Frame) {
				t.tree.base[f.Ref.ID] = f.Ref
			}
		}
		t.old = loadUsage(job.MapDir, root.ID, hasher)
		t.budget = job.Base.Tree.Root.Size / 10
		t.oldMap = openMap(job.MapDir, root.ID, job.IDs.NewHasher())
	}
	var id crypto.ID
	run := job.Chunks.Run()
	copy(id[:], run[:])
	var err error
	if t.newMap, err = newMapWriter(job.MapDir, id, job.IDs.NewHasher()); err != nil {
		t.newMap = nil
		t.close()
	}
	return t, err
}

func (t *taker) close() {
	if t.newMap != nil {
		t.newMap.abort()
	}
	if t.oldMap != nil {
		t.oldMap.close()
	}
}

func (t *taker) item(ctx context.Context, item Item) error {
	if err := checkName(item.Name); err != nil {
		return err
	}
	f := File{Name: item.Name, Kind: item.Kind, PageSize: item.PageSize, Mode: item.Mode, ModTime: item.ModTime, Link: item.Link, Owner: item.Owner, State: item.State}
	var read int64
	var err error
	f.Extents, f.Size, read, err = t.content(ctx, item)
	if errors.Is(err, ErrVoid) {
		return nil
	}
	if err != nil {
		return err
	}
	if item.Size >= 0 && f.Size != item.Size {
		return fmt.Errorf("the source announced %d bytes and gave %d", item.Size, f.Size)
	}
	t.result.Read += read
	return t.tree.add(f)
}

// anew reports whether the base was compared and has no file that an item could be a later state of: all of it has changed.
func (t *taker) anew(item Item, old *baseExtents) bool {
	return t.base != nil && !t.base.lost && (old == nil || old.file.Kind != item.Kind || old.file.PageSize != item.PageSize)
}

// content stores the content of an item, and says how much of it the source sent.
func (t *taker) content(ctx context.Context, item Item) (refs []ExtentsRef, size, read int64, err error) {
	old := t.base.find(ctx, item.Name, t.warn)
	switch item.Kind {
	case Pages:
		if item.PageSize < minPage || item.PageSize > groupSize || item.PageSize&(item.PageSize-1) != 0 {
			return nil, 0, 0, fmt.Errorf("page size %d", item.PageSize)
		}
		if item.Delta != nil {
			refs, size, err = t.delta(ctx, item, old)
			return refs, size, int64(len(item.Delta.Pages) * item.PageSize), err
		}
		refs, size, err = t.pages(ctx, item, old)
	case Stream:
		refs, err = t.same(ctx, item, old)
		if err != nil || refs != nil {
			return refs, item.Size, 0, err
		}
		refs, size, err = t.stream(ctx, item, t.base.find(ctx, item.Name, t.warn))
	case Dir, Link:
	default:
		err = fmt.Errorf("unknown kind %q", item.Kind)
	}
	return refs, size, size, err
}

func (t *taker) warn(format string, args ...any) {
	t.result.Warnings = append(t.result.Warnings, fmt.Sprintf(format, args...))
}

func (t *taker) progress(n int) {
	if t.job.Progress != nil {
		t.job.Progress(int64(n))
	}
}

func (t *taker) finish() (*Taken, error) {
	summary, err := t.job.View.Summary()
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", t.job.Source, err)
	}
	t.tree.root.Manifest = summary.Manifest
	root, err := t.tree.finish()
	if err != nil {
		return nil, err
	}
	if err := t.newMap.commit(root.ID); err != nil {
		return nil, err
	}
	t.use.inherit(t.old)
	if err := t.use.save(t.job.MapDir, root.ID, t.hasher); err != nil {
		return nil, err
	}
	r := t.result
	r.Root, r.Size, r.Amplification, r.Summary = root, t.tree.root.Size, t.use.amplification(), summary
	return &r, nil
}

// store adds a chunk of content, or finds that this run or the repository has it.
func (t *taker) store(id crypto.ID, known chunkstore.Loc, chunk []byte) (Extent, error) {
	e := Extent{Chunk: known, ID: id, Bytes: int64(len(chunk))}
	if known.Len == len(chunk) {
		return e, nil
	}
	if loc, ok := t.run[id]; ok && loc.Len == len(chunk) {
		e.Chunk = loc
		return e, nil
	}
	loc, err := t.job.Chunks.Add(chunkstore.Sealed, chunk)
	if err != nil {
		return e, err
	}
	if len(t.run) == runChunks {
		clear(t.run)
	}
	t.run[id] = loc
	t.result.New += int64(len(chunk))
	e.Chunk = loc
	return e, nil
}

// node closes an extents node over size bytes; an unchanged one of the base is used again.
func (t *taker) node(extents []Extent, size int64, old *ExtentsRef) (ExtentsRef, error) {
	var n int64
	for _, e := range extents {
		n += e.Bytes
	}
	if n != size {
		return ExtentsRef{}, fmt.Errorf("extents cover %d bytes of %d: a fault of lifeboat; back up with --full and report it", n, size)
	}
	t.use.add(extents)
	b := encodeExtents(extents)
	if old != nil && old.Bytes == n && old.Ref.ID == t.hasher.Tree(b) && t.base.base.Holds(old.Ref.Frame) {
		return *old, nil
	}
	ref, err := t.tree.node(b)
	return ExtentsRef{Bytes: n, Ref: ref}, err
}

// CleanMaps removes the page maps in dir that belong to none of the kept trees, and what dead runs left.
func CleanMaps(dir string, keep map[crypto.ID]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("clean page maps: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".map"), ".use")
		if id, err := crypto.ParseID(name); err == nil && keep[id] {
			continue
		}
		errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
