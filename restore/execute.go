package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/snapshot"
)

// Sink receives a snapshot. Create is called for all files, in order of name, before anything else.
type Sink interface {
	// Create makes a file of its full size that reads as zeros.
	Create(f snapshot.File) error
	// WriteAt writes a piece of the n-th created file; it is called from several goroutines, never twice for one byte.
	WriteAt(n int, b []byte, off int64) error
	// Finish makes everything durable and puts it in its place.
	Finish(ctx context.Context) error
}

// Job is one restore.
type Job struct {
	Tree     *snapshot.Tree
	Frames   *chunkstore.Reader
	Names    []string // of the copies that Frames reads, for people
	IDs      crypto.IDKey
	Sink     Sink
	SpillDir string
	Progress func(bytes int64)

	// Reuse is the Sink where it holds content already, of which what is right is kept; nil: it holds nothing.
	Reuse    Reuser
	Compared func(bytes int64) // how much of that was looked at
	Planned  func(Plan)        // called before anything is changed
}

// name is that of the n-th copy; empty where nobody gave it one.
func (job Job) name(n int) string {
	if n < len(job.Names) {
		return job.Names[n]
	}
	return ""
}

// Reuser is a Sink that holds content already.
type Reuser interface {
	// Take puts what is there out of reach of its engine, durably, and gives it back at the end only if Begin was not called.
	Take() error
	// Existing opens what is there of a file, to be compared; nil where nothing is that could be kept. It is called from several goroutines.
	Existing(f snapshot.File) (*os.File, error)
	// Surplus counts the files that are there and not among these.
	Surplus(files []snapshot.File) int
	// Begin says that from now on content changes, and removes what is surplus.
	Begin(files []snapshot.File) error
}

func (job Job) planner() *planner {
	p := newPlanner(job.Tree, job.Frames.Index())
	if job.Reuse != nil {
		p.there = newComparison(job)
	}
	return p
}

// Run restores: each frame that is needed is fetched, decoded and verified once, in the order of the packs, and written to
// every place that uses it.
func Run(ctx context.Context, job Job) (_ Plan, err error) {
	p := job.planner()
	spilled := &spill{dir: job.SpillDir}
	defer func() {
		if cerr := spilled.close(); err == nil {
			err = cerr
		}
	}()
	if job.Reuse != nil {
		if err := job.Reuse.Take(); err != nil {
			return p.plan, err
		}
	}
	var files []snapshot.File
	err = p.walk(ctx, func(f snapshot.File) error {
		f.Extents = nil
		files = append(files, f)
		return nil
	}, spilled.add)
	if err != nil {
		return p.plan, err
	}
	if err := p.finish(); err != nil {
		return p.plan, err
	}
	if err := p.plan.standing(ctx, job, false); err != nil {
		return p.plan, err
	}
	if job.Planned != nil {
		job.Planned(p.plan)
	}
	if job.Reuse != nil {
		p.plan.Removed = job.Reuse.Surplus(files)
		if err := job.Reuse.Begin(files); err != nil {
			return p.plan, err
		}
	}
	for _, f := range files {
		if err := job.Sink.Create(f); err != nil {
			return p.plan, err
		}
	}
	written, err := execute(ctx, job, files, spilled)
	if err != nil {
		return p.plan, err
	}
	if written != p.todo {
		return p.plan, fmt.Errorf("wrote %d bytes of %d: a fault of lifeboat, report it; do not use what was restored", written, p.todo)
	}
	return p.plan, job.Sink.Finish(ctx)
}

func execute(ctx context.Context, job Job, files []snapshot.File, spilled *spill) (int64, error) {
	workers := make([]worker, runtime.GOMAXPROCS(0)+1)
	for i := range workers {
		workers[i] = worker{job: job, files: files, hasher: job.IDs.NewHasher()}
	}
	zero := &workers[len(workers)-1]
	err := chunkstore.Fetch(ctx, job.Frames, len(workers)-1, func(ctx context.Context, want func(crypto.ID, []step) error) error {
		return spilled.frames(func(id crypto.ID, steps []step) error {
			if steps[0].extent.IsZero() {
				return zero.zero(ctx, steps)
			}
			return want(id, steps)
		})
	}, func(ctx context.Context, n int, f chunkstore.Fetched, steps []step) error {
		return workers[n].frame(ctx, f, steps)
	})
	var sum int64
	for _, w := range workers {
		sum += w.written
	}
	return sum, err
}

// worker decodes frames.
type worker struct {
	job     Job
	files   []snapshot.File
	hasher  *crypto.Hasher
	raw     []byte
	written int64
}

// frame works off steps of one frame, which are sorted by chunk: each chunk is verified once.
func (w *worker) frame(ctx context.Context, f chunkstore.Fetched, steps []step) error {
	raw, err := f.Open(ctx, w.raw, func(raw []byte) error { return w.sound(steps, raw) })
	if err != nil {
		return fmt.Errorf("%s from byte %d: %w", w.files[steps[0].file].Name, steps[0].at, err)
	}
	w.raw = raw
	var run stretch
	for _, s := range steps {
		from := s.extent.Chunk.Off + s.extent.Skip
		if next := (stretch{int(s.file), s.at, from, from + int(s.extent.Bytes)}); !run.extend(next) {
			if err := w.write(raw, run); err != nil {
				return err
			}
			run = next
		}
	}
	return w.write(raw, run)
}

// sound verifies what steps take from a frame.
func (w *worker) sound(steps []step, raw []byte) error {
	var last snapshot.Extent
	for _, s := range steps {
		f, e := w.files[s.file], s.extent
		if last.Chunk == e.Chunk && last.ID == e.ID {
			continue
		}
		last = e
		if e.Chunk.Off+e.Chunk.Len > len(raw) {
			return fmt.Errorf("%s from byte %d: it is too short: %w", f.Name, s.at, crypto.ErrDamaged)
		}
		if got := f.ChunkID(w.hasher, raw[e.Chunk.Off:e.Chunk.Off+e.Chunk.Len]); got != e.ID {
			return fmt.Errorf("%s from byte %d: the content has ID %s, not %s: %w", f.Name, s.at, got, e.ID, crypto.ErrDamaged)
		}
	}
	return nil
}

// zero overwrites what was there before.
func (w *worker) zero(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := errors.Join(ctx.Err(), w.job.Sink.WriteAt(int(s.file), zeros[:s.extent.Bytes], s.at)); err != nil {
			return err
		}
		w.written += s.extent.Bytes
	}
	return nil
}

// stretch is a part of a frame that goes to one place.
type stretch struct {
	file     int
	at       int64
	from, to int // in the frame
}

// extend makes next a part of r, if it follows in the frame and in the file.
func (r *stretch) extend(next stretch) bool {
	if r.file != next.file || r.to != next.from || r.at+int64(r.to-r.from) != next.at {
		return false
	}
	r.to = next.to
	return true
}

func (w *worker) write(raw []byte, r stretch) error {
	if r.from == r.to {
		return nil
	}
	if err := w.job.Sink.WriteAt(r.file, raw[r.from:r.to], r.at); err != nil {
		return err
	}
	w.written += int64(r.to - r.from)
	if w.job.Progress != nil {
		w.job.Progress(int64(r.to - r.from))
	}
	return nil
}
