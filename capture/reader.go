package capture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"

	"filippo.io/age"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// List returns the objects that a target holds of the log of a source, in no order. Nothing is verified.
func List(ctx context.Context, t target.Target, source string) (out []Object, err error) {
	for info, err := range t.List(ctx, Prefix(source)) {
		if err != nil {
			return nil, fmt.Errorf("list the log: %w", err)
		}
		if n, ok := ParseName(info.Name); ok && info.Size > 0 && info.Size <= MaxObject {
			out = append(out, Object{n, info.Size})
		}
	}
	return out, nil
}

// Reader reads objects, and believes nothing that is not signed. It is not safe for concurrent use.
type Reader struct {
	// Siblings are other copies, see chunkstore.Copies. They are set before anything is read. That one lacks what another has is usual: tails differ.
	Siblings []target.Target

	target  target.Target
	copies  func() *chunkstore.Copies
	readers sync.Pool // of objects
}

// objectReader reads one object after another from whichever target.
type objectReader struct {
	keys   Keys
	opener *crypto.Opener // nil without identities
	sealed []byte
	raw    []byte
	whole  bytes.Buffer // of an object's log
}

// NewReader reads from t with whatever identities open; without one only headers can be read.
func NewReader(t target.Target, keys Keys, identities ...age.Identity) (*Reader, error) {
	fresh := func() (*objectReader, error) {
		if len(identities) == 0 {
			return &objectReader{keys: keys}, nil
		}
		opener, err := crypto.NewOpener(identities...)
		return &objectReader{keys: keys, opener: opener}, err
	}
	first, err := fresh()
	if err != nil {
		return nil, err
	}
	r := &Reader{target: t}
	r.copies = sync.OnceValue(func() *chunkstore.Copies { return chunkstore.NewCopies(r.all(), nil) })
	r.readers.Put(first)
	r.readers.New = func() any {
		o, err := fresh()
		if err != nil {
			return err
		}
		return o
	}
	return r, nil
}

// List returns the objects of the log of a source that stand on any copy, each once. One copy at least must answer.
func (r *Reader) List(ctx context.Context, source string) (out []Object, err error) {
	seen := map[Object]bool{}
	var errs []error
	for _, t := range r.all() {
		objects, err := List(ctx, t, source)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, o := range objects {
			if !seen[o] {
				seen[o] = true
				out = append(out, o)
			}
		}
	}
	if len(errs) <= len(r.Siblings) {
		return out, ctx.Err()
	}
	return nil, errors.Join(errs...)
}

func (r *Reader) all() []target.Target { return append([]target.Target{r.target}, r.Siblings...) }

// each does something with each copy until it succeeds, and uses what that yielded. Where it is a wrong key, no other copy helps.
func (r *Reader) each(ctx context.Context, o Object, do func(ctx context.Context, x *objectReader, t target.Target) (use func() error, err error)) (err error) {
	var wrong error
	err = r.copies().Read(ctx, chunkstore.Request{Size: int(o.Size), Places: 1, Read: func(ctx context.Context, t chunkstore.Copy, _ int) (func() error, error) {
		switch x := r.readers.Get().(type) {
		case *objectReader:
			use, err := do(ctx, x, t)
			return func() error {
				defer r.readers.Put(x)
				if wrong = err; wrong != nil {
					return nil
				}
				return use()
			}, notKey(err)
		case error:
			return nil, x
		}
		return nil, errors.New("no reader of objects")
	}})
	return errors.Join(err, wrong)
}

// notKey is err, but where it is a wrong key.
func notKey(err error) error {
	if errors.Is(err, crypto.ErrIdentity) {
		return nil
	}
	return err
}

// Header reads and verifies what an object says of itself, and where its frames begin.
func (r *Reader) Header(ctx context.Context, o Object) (h *Header, at int64, err error) {
	err = r.each(ctx, o, func(ctx context.Context, x *objectReader, t target.Target) (func() error, error) {
		got, behind, err := x.header(ctx, t, o)
		return func() error { h, at = got, behind; return nil }, err
	})
	return h, at, err
}

func (x *objectReader) header(ctx context.Context, t target.Target, o Object) (*Header, int64, error) {
	first := make([]byte, min(o.Size, 4096))
	if err := target.ReadRange(ctx, t, o.String(), 0, first); err != nil {
		return nil, 0, err
	}
	head, n, err := headLine(first)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", o, err)
	}
	if int64(head+n) > o.Size {
		return nil, 0, fmt.Errorf("read %s: cut short: %w", o, crypto.ErrDamaged)
	}
	signed := first[head:min(head+n, len(first))]
	if len(signed) < n {
		signed = make([]byte, n)
		if err := target.ReadRange(ctx, t, o.String(), int64(head), signed); err != nil {
			return nil, 0, err
		}
	}
	h, err := openHeader(x.keys, o.Name, signed, head, o.Size)
	return h, int64(head + n), err
}

// Events returns the events of an object, in the order of the log.
func (r *Reader) Events(ctx context.Context, o Object) (events []snapshot.LogEvent, err error) {
	err = r.each(ctx, o, func(ctx context.Context, x *objectReader, t target.Target) (func() error, error) {
		h, at, err := x.header(ctx, t, o)
		if err != nil {
			return nil, err
		}
		var index bytes.Buffer
		if err := x.frames(ctx, t, o, at, h.frames[:h.index], h.indexSum, &index); err != nil {
			return nil, err
		}
		got, err := decodeIndex(index.Bytes())
		if err != nil {
			err = fmt.Errorf("%s: %w", o, err)
		}
		return func() error { events = got; return nil }, err
	})
	return events, err
}

// Log writes the log that an object holds to w, once it is known to be what was captured. Where a larger object took its place meanwhile it is
// read from there.
func (r *Reader) Log(ctx context.Context, o Object, w io.Writer) error {
	var werr error
	err := r.each(ctx, o, func(ctx context.Context, x *objectReader, t target.Target) (func() error, error) {
		err := x.log(ctx, t, o)
		return func() error {
			_, werr = w.Write(x.whole.Bytes())
			return nil // no other copy helps
		}, err
	})
	if errors.Is(err, fs.ErrNotExist) {
		objects, lerr := r.List(ctx, o.Source)
		for _, by := range objects {
			if by.Covers(o.Name) && by != o {
				return r.Log(ctx, by, &cutter{w, o.From.Offset - by.From.Offset, o.To.Offset - o.From.Offset})
			}
		}
		return errors.Join(err, lerr)
	}
	return errors.Join(err, werr)
}

// log reads the log that an object holds into whole.
func (x *objectReader) log(ctx context.Context, t target.Target, o Object) error {
	h, at, err := x.header(ctx, t, o)
	if err != nil {
		return err
	}
	for _, n := range h.frames[:h.index] {
		at += int64(n)
	}
	x.whole.Reset()
	if err := x.frames(ctx, t, o, at, h.frames[h.index:], h.bodySum, &x.whole); err != nil {
		return err
	}
	if n, all := uint64(x.whole.Len()), o.To.Offset-o.From.Offset; n > all || n < all && o.Kind != Segment {
		return fmt.Errorf("read %s: it holds %d bytes: %w", o, x.whole.Len(), crypto.ErrDamaged)
	}
	return nil
}

// frames opens consecutive frames that begin at byte at of an object, and verifies the sum of all.
func (x *objectReader) frames(ctx context.Context, t target.Target, o Object, at int64, lengths []int, sum string, w io.Writer) error {
	hash := sha256.New()
	for _, n := range lengths {
		if err := x.frame(ctx, t, o, at, n, hash, w); err != nil {
			return fmt.Errorf("read %s from byte %d: %w", o, at, err)
		}
		at += int64(n)
	}
	if hex.EncodeToString(hash.Sum(nil)) != sum {
		return fmt.Errorf("read %s: its content is not what was signed: %w", o, crypto.ErrDamaged)
	}
	return nil
}

func (x *objectReader) frame(ctx context.Context, t target.Target, o Object, at int64, n int, hash hash.Hash, w io.Writer) (err error) {
	if cap(x.sealed) < n {
		x.sealed = make([]byte, n)
	}
	sealed := x.sealed[:n]
	if err := target.ReadRange(ctx, t, o.String(), at, sealed); err != nil {
		return err
	}
	hash.Write(sealed)
	if x.opener == nil {
		return crypto.ErrIdentity
	}
	if x.raw, err = x.opener.Open(x.raw, sealed); err != nil {
		return err
	}
	_, err = w.Write(x.raw)
	return err
}

// cutter hands on left bytes behind the first skip.
type cutter struct {
	w          io.Writer
	skip, left uint64
}

func (c *cutter) Write(b []byte) (int, error) {
	part := b[min(uint64(len(b)), c.skip):]
	c.skip -= uint64(len(b) - len(part))
	part = part[:min(uint64(len(part)), c.left)]
	c.left -= uint64(len(part))
	if n, err := c.w.Write(part); err != nil {
		return n, err
	}
	return len(b), nil
}
