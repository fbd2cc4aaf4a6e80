package faulty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"

	"lifeboat/target"
)

// Break fails with err after n bytes. A Put of no more than that succeeds, of a longer body nothing stands; a Get yields
// up to n bytes first, a List up to n objects.
func Break(n int64, err error) Fault {
	return Fault{
		name: "break",
		put: func(ctx context.Context, inner target.Target, name string, body *io.SectionReader) error {
			if body.Size() <= n {
				return inner.Put(ctx, name, body)
			}
			if _, err := io.Copy(io.Discard, io.NewSectionReader(body, 0, n)); err != nil {
				return err
			}
			return fmt.Errorf("put %q: after %d bytes: %w", name, n, err)
		},
		get: func(ctx context.Context, inner target.Target, name string, off, count int64) (io.ReadCloser, error) {
			r, getErr := inner.Get(ctx, name, off, count)
			if getErr != nil {
				return nil, getErr
			}
			broken := io.MultiReader(io.LimitReader(r, n), failingReader{fmt.Errorf("get %q: after %d bytes: %w", name, n, err)})
			return readCloser{broken, r}, nil
		},
		list: func(ctx context.Context, inner target.Target, prefix string) iter.Seq2[target.Info, error] {
			return first(inner.List(ctx, prefix), n, fmt.Errorf("list %q: after %d objects: %w", prefix, n, err))
		},
	}
}

// Short cuts off in silence after n bytes what a Get reads or a Put stores, or a List after n objects.
func Short(n int64) Fault {
	f := damage("short", func(b []byte) []byte { return b[:min(n, int64(len(b)))] })
	f.list = func(ctx context.Context, inner target.Target, prefix string) iter.Seq2[target.Info, error] {
		return first(inner.List(ctx, prefix), n, nil)
	}
	return f
}

// Flip inverts one bit of what a Get reads or a Put stores: the one with this number, modulo the number of bits.
func Flip(bit int64) Fault {
	return damage("flip", func(b []byte) []byte {
		if len(b) > 0 {
			i := uint64(bit) % (uint64(len(b)) * 8)
			b[i/8] ^= 1 << (i % 8)
		}
		return b
	})
}

// Garble puts as many other bytes in the place of what a Get reads or a Put stores.
func Garble(seed uint64) Fault {
	return damage("garble", func(b []byte) []byte {
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range b {
			b[i] ^= byte(1 + r.UintN(255)) // every byte differs
		}
		return b
	})
}

// damage applies change, which may modify its argument, to the bytes that pass. It holds them all in memory.
func damage(name string, change func([]byte) []byte) Fault {
	return Fault{
		name: name,
		put: func(ctx context.Context, inner target.Target, name string, body *io.SectionReader) error {
			b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
			if err != nil {
				return err
			}
			b = change(b)
			return inner.Put(ctx, name, io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
		},
		get: func(ctx context.Context, inner target.Target, name string, off, n int64) (io.ReadCloser, error) {
			r, err := inner.Get(ctx, name, off, n)
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				return nil, err
			}
			return io.NopCloser(bytes.NewReader(change(b))), nil
		},
	}
}

// first yields at most n objects of a listing (all if n is negative), and then err unless it is nil.
func first(seq iter.Seq2[target.Info, error], n int64, err error) iter.Seq2[target.Info, error] {
	return func(yield func(target.Info, error) bool) {
		left := n
		for info, seqErr := range seq {
			if left == 0 {
				break
			}
			left--
			if !yield(info, seqErr) || seqErr != nil {
				return
			}
		}
		if err != nil {
			yield(target.Info{}, err)
		}
	}
}

func failed(err error) iter.Seq2[target.Info, error] {
	return func(yield func(target.Info, error) bool) { yield(target.Info{}, err) }
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

type readCloser struct {
	io.Reader
	io.Closer
}
