package chunkstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/target"
)

// ErrUnknownFrame is wrapped where a frame stands in no pack of the index.
var ErrUnknownFrame = errors.New("the index does not know this frame")

// Reader brings frames back. It is safe for concurrent use.
type Reader struct {
	// Partial is the error of frames that no identity opens, where the identities open a part of the repository only. Without
	// it such a frame is damaged.
	Partial error

	target  target.Target
	index   *Index
	openers sync.Pool
	buffers sync.Pool

	mu     sync.Mutex
	recent []cached // the frames that Chunk read last: neighbouring nodes share a frame
}

type cached struct {
	id  crypto.ID
	raw []byte
}

// recentFrames bounds the memory of Chunk's cache to about 16 MiB.
const recentFrames = 16

// NewReader reads frames of t through index with whatever identities open.
func NewReader(t target.Target, index *Index, identities ...age.Identity) *Reader {
	r := &Reader{target: t, index: index}
	r.openers.New = func() any {
		o, err := crypto.NewOpener(identities...)
		if err != nil {
			return err
		}
		return o
	}
	r.buffers.New = func() any { return new([]byte) }
	return r
}

// Index is what the Reader looks frames up in.
func (r *Reader) Index() *Index { return r.index }

// Frame appends the content of a frame to dst[:0]. Where the frame stands in several packs it tries each.
func (r *Reader) Frame(ctx context.Context, id crypto.ID, dst []byte) ([]byte, error) {
	places := r.index.Lookup(id)
	if len(places) == 0 {
		return nil, fmt.Errorf("read frame %s: %w: %w", id, ErrUnknownFrame, crypto.ErrDamaged)
	}
	var errs []error
	for _, p := range places {
		raw, err := r.read(ctx, p, dst)
		if err == nil {
			return raw, nil
		}
		errs = append(errs, fmt.Errorf("read frame %s in %s at byte %d: %w", id, p.Pack, p.Off, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (r *Reader) read(ctx context.Context, p Place, dst []byte) ([]byte, error) {
	buf, ok := r.buffers.Get().(*[]byte)
	if !ok || cap(*buf) < p.Len {
		b := make([]byte, p.Len+p.Len/4)
		buf = &b
	}
	defer r.buffers.Put(buf)
	sealed := (*buf)[:p.Len]
	if err := target.ReadRange(ctx, r.target, p.Pack, p.Off, sealed); err != nil {
		return nil, err
	}
	switch o := r.openers.Get().(type) {
	case *crypto.Opener:
		defer r.openers.Put(o)
		raw, err := o.Open(dst, sealed)
		if errors.Is(err, crypto.ErrIdentity) {
			// Identities that open the whole repository open every frame, unless its header was changed.
			err = cmp.Or(r.Partial, fmt.Errorf("none of the repository's keys opens it: %w", crypto.ErrDamaged))
		}
		return raw, err
	case error:
		return nil, o
	}
	return nil, errors.New("no opener")
}

// Chunk returns one chunk, which the caller must verify and not change. It remembers the last frames.
func (r *Reader) Chunk(ctx context.Context, loc Loc) ([]byte, error) {
	raw, err := r.remembered(ctx, loc.Frame)
	if err != nil {
		return nil, err
	}
	if loc.Off < 0 || loc.Len < 0 || loc.Off > len(raw) || loc.Len > len(raw)-loc.Off {
		return nil, fmt.Errorf("read frame %s: %d bytes from %d are outside of its %d: %w", loc.Frame, loc.Len, loc.Off, len(raw), crypto.ErrDamaged)
	}
	return raw[loc.Off : loc.Off+loc.Len], nil
}

func (r *Reader) remembered(ctx context.Context, id crypto.ID) ([]byte, error) {
	r.mu.Lock()
	for i, c := range r.recent {
		if c.id == id {
			copy(r.recent[1:i+1], r.recent[:i])
			r.recent[0] = c
			r.mu.Unlock()
			return c.raw, nil
		}
	}
	r.mu.Unlock()
	raw, err := r.Frame(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.recent) < recentFrames {
		r.recent = append(r.recent, cached{})
	}
	copy(r.recent[1:], r.recent)
	r.recent[0] = cached{id, raw}
	return raw, nil
}
