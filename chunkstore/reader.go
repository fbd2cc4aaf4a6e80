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
	// Siblings are other copies of the same packs, see Copies. They and Missed are set before anything is read.
	Siblings []target.Target
	// Missed is told, once for each, why another copy served in the place of the n-th; 0 is the first copy.
	Missed func(n int, err error)

	target  target.Target
	copies  func() *Copies
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
	r.copies = sync.OnceValue(func() *Copies { return NewCopies(r.Copies(), r.Missed) })
	return r
}

// Copies are all that the Reader reads from.
func (r *Reader) Copies() []target.Target { return append([]target.Target{r.target}, r.Siblings...) }

// Index is what the Reader looks frames up in.
func (r *Reader) Index() *Index { return r.index }

// Frame appends the content of a frame to dst[:0]. It tries every copy, and there every pack that the frame stands in, until sound, which may
// be nil, finds no fault with the content.
func (r *Reader) Frame(ctx context.Context, id crypto.ID, dst []byte, sound func(raw []byte) error) (raw []byte, err error) {
	places := r.index.Lookup(id)
	if len(places) == 0 {
		return nil, fmt.Errorf("read frame %s: %w: %w", id, ErrUnknownFrame, crypto.ErrDamaged)
	}
	err = r.copies().Read(ctx, Request{Size: places[0].Len, Places: len(places), Read: func(ctx context.Context, t Copy, place int) (func() error, error) {
		p := places[place]
		at := func(err error) error {
			if err != nil {
				err = fmt.Errorf("read frame %s in %s at byte %d: %w", id, p.Pack, p.Off, err)
			}
			return err
		}
		buf, err := r.read(ctx, t, p)
		return func() error {
			defer r.buffers.Put(buf)
			raw, err = r.open(dst, (*buf)[:p.Len], sound)
			return at(err)
		}, at(err)
	}})
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// read reads a range into a buffer, which whoever took it puts back.
func (r *Reader) read(ctx context.Context, t target.Target, p Place) (*[]byte, error) {
	if p.Len > crypto.MaxSealed {
		return nil, fmt.Errorf("%d bytes are more than a frame has: %w", p.Len, crypto.ErrDamaged)
	}
	buf, ok := r.buffers.Get().(*[]byte)
	if !ok || cap(*buf) < p.Len { // what is small, or only claimed, takes no more
		b := make([]byte, min(p.Len+p.Len/4, crypto.MaxSealed))
		buf = &b
	}
	*buf = (*buf)[:cap(*buf)]
	err := target.ReadRange(ctx, t, p.Pack, p.Off, (*buf)[:p.Len])
	if err != nil {
		r.buffers.Put(buf)
	}
	return buf, err
}

// open appends the content of a sealed frame to dst[:0], once sound finds no fault with it.
func (r *Reader) open(dst, sealed []byte, sound func(raw []byte) error) ([]byte, error) {
	switch o := r.openers.Get().(type) {
	case *crypto.Opener:
		defer r.openers.Put(o)
		raw, err := o.Open(dst, sealed)
		if errors.Is(err, crypto.ErrIdentity) {
			// Identities that open the whole repository open every frame, unless its header was changed.
			err = cmp.Or(r.Partial, fmt.Errorf("none of the repository's keys opens it: %w", crypto.ErrDamaged))
		}
		if err == nil && sound != nil {
			err = sound(raw)
		}
		return raw, err
	case error:
		return nil, o
	}
	return nil, errors.New("no opener")
}

// Chunk returns one chunk with which sound, which may be nil, finds no fault, and which the caller must not change. It remembers the last frames.
func (r *Reader) Chunk(ctx context.Context, loc Loc, sound func(chunk []byte) error) ([]byte, error) {
	var chunk []byte
	cut := func(raw []byte) error {
		if loc.Off < 0 || loc.Len < 0 || loc.Off > len(raw) || loc.Len > len(raw)-loc.Off {
			return fmt.Errorf("%d bytes from %d are outside of its %d: %w", loc.Len, loc.Off, len(raw), crypto.ErrDamaged)
		}
		if chunk = raw[loc.Off : loc.Off+loc.Len]; sound == nil {
			return nil
		}
		return sound(chunk)
	}
	err := r.remembered(ctx, loc.Frame, cut)
	return chunk, err
}

func (r *Reader) remembered(ctx context.Context, id crypto.ID, sound func([]byte) error) error {
	if raw := r.recall(id); raw != nil && sound(raw) == nil {
		return nil // else another copy's may be right
	}
	raw, err := r.Frame(ctx, id, nil, sound)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.recent) < recentFrames {
		r.recent = append(r.recent, cached{})
	}
	copy(r.recent[1:], r.recent)
	r.recent[0] = cached{id, raw}
	return nil
}

// recall returns a frame that was read lately, nil where it was not.
func (r *Reader) recall(id crypto.ID) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.recent {
		if c.id == id {
			copy(r.recent[1:i+1], r.recent[:i])
			r.recent[0] = c
			return c.raw
		}
	}
	return nil
}
