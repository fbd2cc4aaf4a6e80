package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/snapshot"
)

// Verify opens every chunk of the given trees and compares it with its ID, without restoring anything: each frame is read
// once, however many trees share it. Where share is below 1 only that part of the frames is read. found is called for each
// damaged frame with one file that needs it and the labels of the trees that do.
func Verify(ctx context.Context, trees []*snapshot.Tree, labels []string, frames *chunkstore.Reader, ids crypto.IDKey, share float64, progress func(int64), found func(what string, affects []string, err error)) (err error) {
	dir, err := os.MkdirTemp("", "lifeboat-check-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	v := &verifier{ids: ids, progress: progress, wrong: map[crypto.ID]*finding{}}
	steps := &spill{dir: dir}
	salt := byte(rand.Uint32()) // another part each time; the last byte of a frame's ID counts
	for i, t := range trees {
		p := newPlanner(t, frames.Index())
		err := p.walk(ctx, func(f snapshot.File) error {
			f.Extents = nil
			v.files = append(v.files, labelled{f, labels[i]})
			return nil
		}, func(s step) error {
			s.file = uint32(len(v.files) - 1)
			if float64(s.extent.Chunk.Frame[15]+salt) >= share*256 {
				return nil
			}
			return steps.add(s)
		})
		if err != nil {
			return err
		}
	}
	err = v.run(ctx, frames, steps)
	if cerr := steps.close(); err == nil {
		err = cerr
	}
	for _, w := range slices.SortedFunc(maps.Values(v.wrong), func(a, b *finding) int { return a.first.compare(b.first) }) {
		found(w.what, w.affected, w.err)
	}
	return err
}

type labelled struct {
	snapshot.File
	label string
}

// verifier verifies frames.
type verifier struct {
	ids      crypto.IDKey
	files    []labelled
	progress func(int64)

	mu    sync.Mutex
	wrong map[crypto.ID]*finding // by frame
}

// finding is what is wrong with a frame, or with one of its chunks.
type finding struct {
	first    step
	err      error
	what     string
	affected []string
}

func (v *verifier) run(ctx context.Context, frames *chunkstore.Reader, steps *spill) error {
	hashers, raws := make([]*crypto.Hasher, runtime.GOMAXPROCS(0)), make([][]byte, runtime.GOMAXPROCS(0))
	for i := range hashers {
		hashers[i] = v.ids.NewHasher()
	}
	return chunkstore.Fetch(ctx, frames, len(hashers), func(_ context.Context, want func(crypto.ID, []step) error) error {
		return steps.frames(want)
	}, func(ctx context.Context, n int, f chunkstore.Fetched, steps []step) error {
		raw, err := f.Open(ctx, raws[n], nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			raws[n] = raw
		}
		if v.progress != nil {
			v.progress(int64(len(raw)))
		}
		v.frame(hashers[n], raw, err, steps)
		return nil
	})
}

// frame verifies the chunks that steps need of a frame, which could not be read where err is not nil.
func (v *verifier) frame(hasher *crypto.Hasher, raw []byte, err error, steps []step) {
	var last snapshot.Extent
	for _, s := range steps {
		f, e := v.files[s.file], s.extent
		if err == nil && (e.Chunk != last.Chunk || e.ID != last.ID) {
			last = e
			if e.Chunk.Off+e.Chunk.Len > len(raw) {
				err = fmt.Errorf("frame %s is too short: %w", e.Chunk.Frame, crypto.ErrDamaged)
			} else if f.ChunkID(hasher, raw[e.Chunk.Off:e.Chunk.Off+e.Chunk.Len]) != e.ID {
				err = fmt.Errorf("frame %s: a chunk has another ID: %w", e.Chunk.Frame, crypto.ErrDamaged)
			}
		}
		if err != nil {
			v.add(s, err)
		}
	}
}

// add notes that a step finds its frame wrong.
func (v *verifier) add(s step, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f, w := v.files[s.file], v.wrong[s.extent.Chunk.Frame]
	if w == nil {
		w = &finding{first: s, err: err, what: fmt.Sprintf("%s from byte %d", strings.ToValidUTF8(f.Name, "?"), s.at)}
		v.wrong[s.extent.Chunk.Frame] = w
	}
	if !slices.Contains(w.affected, f.label) {
		w.affected = append(w.affected, f.label)
	}
}
