package restore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

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

	// Of a restore over what stands at the destination: bytes of Data that are there already, bytes that could not be compared because they are
	// only a part of what their ID is of, and files there that are not in the snapshot.
	Reused  int64 `json:"reused,omitempty"`
	Pieces  int64 `json:"pieces,omitempty"`
	Removed int   `json:"removed,omitempty"`

	// Needs lists the packs to read, for a store that must bring them back first.
	Needs []target.Object `json:"needs,omitempty"`
	// Targets says how much of that stands on each copy, in the order of the Reader's copies.
	Targets []Standing `json:"targets,omitempty"`
}

// Standing is how many of the packs that a plan needs stand on a copy.
type Standing struct {
	Target  string `json:"target"`
	Packs   int    `json:"packs"`
	Bytes   int64  `json:"bytes"`
	Missing int    `json:"missing"`
	Error   string `json:"error,omitempty"` // why nothing is known of it
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
	there  *comparison // with what stands at the destination; nil: nothing does
	plan   Plan
	todo   int64 // bytes of all steps
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
		if f.Size > math.MaxInt64-p.plan.Size {
			return fmt.Errorf("%s: files of more bytes than can be counted: %w", f.Name, crypto.ErrDamaged)
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
				if err := p.piece(ctx, piece{f, uint32(p.plan.Files), e, at}, emit); err != nil {
					return err
				}
				at += e.Bytes
			}
		}
		p.plan.Files++
		p.plan.Size += f.Size
	}
	if p.there == nil {
		return nil
	}
	return p.compare(ctx, emit)
}

// piece is an extent and the place in a file where it goes.
type piece struct {
	snapshot.File
	number uint32
	extent snapshot.Extent
	at     int64 // in the file
}

// piece plans a piece, at once or once enough of them are there to be compared.
func (p *planner) piece(ctx context.Context, x piece, emit func(step) error) error {
	if !x.extent.IsZero() {
		p.plan.Data += x.extent.Bytes
	}
	if p.there == nil {
		return p.fetch(x, emit)
	}
	for x, err := range p.there.cut(x) {
		if err == nil && p.there.add(x) {
			err = p.compare(ctx, emit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare plans those of the gathered pieces that are not there already.
func (p *planner) compare(ctx context.Context, emit func(step) error) error {
	there, err := p.there.run(ctx)
	if err != nil {
		return err
	}
	for i, x := range p.there.open {
		switch {
		case there[i] && !x.extent.IsZero():
			p.plan.Reused += x.extent.Bytes
		case there[i]:
		case x.extent.IsZero():
			p.todo += x.extent.Bytes
			err = emit(step{pack: zeroes, extent: x.extent, file: x.number, at: x.at})
		default:
			if x.part() {
				p.plan.Pieces += x.extent.Bytes
			}
			err = p.fetch(x, emit)
		}
		if err != nil {
			return err
		}
	}
	p.there.open = p.there.open[:0]
	return nil
}

// zeroes is the pack of steps that need none: they come last.
const zeroes = math.MaxUint32

// fetch plans a piece from its frame. A file that is made anew is zero where nothing is written.
func (p *planner) fetch(x piece, emit func(step) error) error {
	e := x.extent
	if e.IsZero() {
		return nil
	}
	where, ok := p.places[e.Chunk.Frame]
	if !ok {
		all := p.index.Lookup(e.Chunk.Frame)
		if len(all) == 0 {
			return fmt.Errorf("%s from byte %d: frame %s: %w: %w", x.Name, x.at, e.Chunk.Frame, chunkstore.ErrUnknownFrame, crypto.ErrDamaged)
		}
		where = place{p.packs[all[0].Digest], uint32(all[0].Off)}
		p.places[e.Chunk.Frame] = where
		p.plan.Frames++
		p.plan.Fetch += int64(all[0].Len)
	}
	p.todo += e.Bytes
	return emit(step{where.pack, where.off, e, x.number, x.at})
}

// finish completes the plan with the packs that it reads, and checks that the tree is consistent in itself.
func (p *planner) finish() error {
	if p.plan.Size != p.tree.Root.Size {
		return fmt.Errorf("the tree has files of %d bytes, its root says %d: %w", p.plan.Size, p.tree.Root.Size, crypto.ErrDamaged)
	}
	used := map[uint32]bool{}
	for _, w := range p.places {
		used[w.pack] = true
	}
	p.plan.Packs = len(used)
	for i, pack := range p.index.Packs() {
		if used[uint32(i)] {
			p.plan.Needs = append(p.plan.Needs, pack.Object())
		}
	}
	return nil
}

// standing verifies that every pack that the plan reads stands with its size on one of the copies at least. Where all is to be known, every copy
// is waited for, and the plan lists them; otherwise one that does not answer holds nothing up.
func (p *Plan) standing(ctx context.Context, job Job, all bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	missing := map[target.Object]bool{}
	for _, o := range p.Needs {
		missing[o] = true
	}
	copies := job.Frames.Copies()
	stand := make([]Standing, len(copies))
	var errs []error
	lists := list(ctx, copies)
	for range copies {
		var l listed
		select {
		case l = <-lists:
		case <-ctx.Done():
			return ctx.Err()
		}
		if l.err != nil {
			errs = append(errs, fmt.Errorf("list the packs: %w", l.err))
		}
		stand[l.copy] = p.on(job.name(l.copy), l)
		for o := range l.there {
			delete(missing, o)
		}
		if len(missing) == 0 && l.err == nil && !all {
			return nil
		}
	}
	if p.Targets = stand; len(errs) == len(copies) {
		return errors.Join(errs...)
	}
	for _, o := range p.Needs {
		if missing[o] {
			return errors.Join(append(errs, fmt.Errorf("%s is missing on this copy, or has not %d bytes: %w", o.Name, o.Size, crypto.ErrDamaged))...)
		}
	}
	return nil
}

// on says how much of what the plan needs stands on a copy.
func (p *Plan) on(name string, l listed) Standing {
	s := Standing{Target: name}
	if l.err != nil {
		s.Error = l.err.Error()
		return s
	}
	for _, o := range p.Needs {
		if l.there[o] {
			s.Packs++
			s.Bytes += o.Size
		} else {
			s.Missing++
		}
	}
	return s
}

// listed are the packs on a copy.
type listed struct {
	copy  int
	there map[target.Object]bool
	err   error
}

// list lists the packs of all copies at once, in the order in which they answer.
func list(ctx context.Context, copies []target.Target) <-chan listed {
	lists := make(chan listed, len(copies))
	for n, t := range copies {
		go func() {
			there, err := packs(ctx, t)
			lists <- listed{n, there, err}
		}()
	}
	return lists
}

// packs are those that stand on a copy.
func packs(ctx context.Context, t target.Target) (map[target.Object]bool, error) {
	there := map[target.Object]bool{}
	for info, err := range t.List(ctx, "packs/") {
		if err != nil {
			return nil, err
		}
		there[target.Object{Name: info.Name, Size: info.Size}] = true
	}
	return there, nil
}

// Of plans the restore of a tree without writing anything, and without looking at the packs.
func Of(ctx context.Context, tree *snapshot.Tree, frames *chunkstore.Reader) (Plan, error) {
	p := newPlanner(tree, frames.Index())
	err := p.walk(ctx, func(snapshot.File) error { return nil }, func(step) error { return nil })
	if err == nil {
		err = p.finish()
	}
	return p.plan, err
}

// DryRun plans a job, and says where the packs stand that it would read, each of which must stand on a copy. Of the sink it needs only Reuse.
func DryRun(ctx context.Context, job Job) (Plan, error) {
	p := job.planner()
	var files []snapshot.File
	err := p.walk(ctx, func(f snapshot.File) error {
		if job.Reuse != nil {
			f.Extents = nil
			files = append(files, f)
		}
		return nil
	}, func(step) error { return nil })
	if err == nil {
		err = p.finish()
	}
	if err == nil {
		err = p.plan.standing(ctx, job, true)
	}
	if err == nil && job.Reuse != nil {
		p.plan.Removed = job.Reuse.Surplus(files)
	}
	return p.plan, err
}

// Needing names the files of a tree that cannot be restored without any of some packs.
func Needing(ctx context.Context, tree *snapshot.Tree, index *chunkstore.Index, packs map[string]bool) (files []string, err error) {
	for f, err := range tree.Files(ctx) {
		if err != nil {
			return nil, err
		}
		needs := false
		for _, x := range f.Extents {
			extents, err := tree.Extents(ctx, x)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			for _, e := range extents {
				needs = needs || !e.IsZero() && !slices.ContainsFunc(index.Lookup(e.Chunk.Frame), func(p chunkstore.Place) bool { return !packs[p.Pack] })
			}
		}
		if needs {
			files = append(files, f.Name)
		}
	}
	return files, nil
}
