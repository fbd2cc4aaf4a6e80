package restore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

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
	v := verifier{frames: frames, hasher: ids.NewHasher(), progress: progress, found: found}
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
	err = steps.each(func(s step) error { return v.step(ctx, s) })
	v.report()
	if cerr := steps.close(); err == nil {
		err = cerr
	}
	return err
}

type labelled struct {
	snapshot.File
	label string
}

// verifier holds the frame at hand.
type verifier struct {
	frames   *chunkstore.Reader
	hasher   *crypto.Hasher
	files    []labelled
	progress func(int64)
	found    func(string, []string, error)

	id       crypto.ID
	raw      []byte
	last     snapshot.Extent
	err      error // of the frame at hand, or of one of its chunks
	what     string
	affected []string
}

func (v *verifier) step(ctx context.Context, s step) error {
	f := v.files[s.file]
	if s.extent.Chunk.Frame != v.id {
		v.report()
		v.id, v.last = s.extent.Chunk.Frame, snapshot.Extent{}
		v.raw, v.err = v.frames.Frame(ctx, v.id, v.raw, nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if v.progress != nil {
			v.progress(int64(len(v.raw)))
		}
	}
	if e := s.extent; v.err == nil && (e.Chunk != v.last.Chunk || e.ID != v.last.ID) {
		v.last = e
		if e.Chunk.Off+e.Chunk.Len > len(v.raw) {
			v.err = fmt.Errorf("frame %s is too short: %w", v.id, crypto.ErrDamaged)
		} else if f.ChunkID(v.hasher, v.raw[e.Chunk.Off:e.Chunk.Off+e.Chunk.Len]) != e.ID {
			v.err = fmt.Errorf("frame %s: a chunk has another ID: %w", v.id, crypto.ErrDamaged)
		}
	}
	if v.err != nil {
		if v.what == "" {
			v.what = fmt.Sprintf("%s from byte %d", strings.ToValidUTF8(f.Name, "?"), s.at)
		}
		if !slices.Contains(v.affected, f.label) {
			v.affected = append(v.affected, f.label)
		}
	}
	return nil
}

// report tells of the frame at hand if it is damaged.
func (v *verifier) report() {
	if v.err != nil {
		v.found(v.what, v.affected, v.err)
	}
	v.err, v.what, v.affected = nil, "", nil
}
