package chunkstore

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"lifeboat/crypto"
)

// Frames that stand side by side in one pack are read together: a span. A gap of frames that nobody wants is read over where that costs less
// than another request. So many spans are on their way or wait to be opened, each in a buffer of its size, crypto.MaxSealed at most: 40 MiB in all.
const (
	spanSize   = 4 << 20
	spanGap    = 128 << 10
	spansAhead = 8
)

// Fetched is a frame that was read ahead.
type Fetched struct {
	reader *Reader
	id     crypto.ID
	from   int    // the copy
	sealed []byte // nil: it could not be read ahead
}

// Open is Reader.Frame of the frame, and that is what it falls back on.
func (f Fetched) Open(ctx context.Context, dst []byte, sound func(raw []byte) error) ([]byte, error) {
	if f.sealed != nil {
		raw, err := f.reader.open(dst, f.sealed, sound)
		if err == nil {
			return raw, nil
		}
		f.reader.copies().fail(f.from, err)
	}
	return f.reader.Frame(ctx, f.id, dst, sound)
}

// Fetch reads frames ahead of their use. wanted calls want for each of them, with the work that needs it, best in the order in which they stand in
// their packs. use is called with each frame in one of so many goroutines, in about that order; the frame is gone when it returns. The first error
// ends it all.
func Fetch[Work any](ctx context.Context, r *Reader, workers int, wanted func(ctx context.Context, want func(crypto.ID, Work) error) error, use func(ctx context.Context, worker int, f Fetched, w Work) error) error {
	g, ctx := errgroup.WithContext(ctx)
	f := &fetch[Work]{reader: r, ctx: ctx, ahead: make(chan struct{}, spansAhead), ready: make(chan fetched[Work])}
	for n := range workers {
		g.Go(func() error {
			for x := range f.ready {
				if err := use(ctx, n, x.Fetched, x.work); err != nil {
					return err
				}
				x.span.used()
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(f.ready)
		var reads errgroup.Group
		f.read = reads.Go
		err := wanted(ctx, f.want)
		if err == nil {
			err = f.send()
		}
		if rerr := reads.Wait(); err == nil {
			err = rerr
		}
		return err
	})
	return g.Wait()
}

// fetch gathers spans.
type fetch[Work any] struct {
	reader *Reader
	ctx    context.Context
	read   func(func() error) // in a goroutine
	ahead  chan struct{}      // a token for each span
	ready  chan fetched[Work]
	open   *span[Work]
}

// span is a range of a pack and what is wanted of it.
type span[Work any] struct {
	Place
	wants []want[Work]
	left  atomic.Int32 // of wants
	buf   *[]byte
	from  int
	used  func()
}

type want[Work any] struct {
	id   crypto.ID
	off  int64
	len  int
	work Work
}

type fetched[Work any] struct {
	Fetched
	work Work
	span *span[Work]
}

func (f *fetch[Work]) want(id crypto.ID, work Work) error {
	var p Place // of no length where the frame is unknown
	if all := f.reader.index.Lookup(id); len(all) > 0 {
		p = all[0]
	}
	if s := f.open; s == nil || !s.reaches(p) {
		if err := f.send(); err != nil {
			return err
		}
		f.open = &span[Work]{Place: p}
	}
	f.open.Len = int(p.Off-f.open.Off) + p.Len
	f.open.wants = append(f.open.wants, want[Work]{id, p.Off, p.Len, work})
	return nil
}

// reaches reports whether a frame belongs to the span.
func (s *span[Work]) reaches(p Place) bool {
	end := s.Off + int64(s.Len)
	return p.Pack == s.Pack && p.Off >= end && p.Off-end <= spanGap && p.Off-s.Off+int64(p.Len) <= spanSize
}

// send begins to read the span that was gathered, once there is room for it.
func (f *fetch[Work]) send() error {
	s := f.open
	if s == nil {
		return nil
	}
	f.open = nil
	select {
	case f.ahead <- struct{}{}:
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
	s.left.Store(int32(len(s.wants)))
	s.used = func() {
		if s.left.Add(-1) == 0 {
			if s.buf != nil {
				f.reader.buffers.Put(s.buf)
			}
			<-f.ahead
		}
	}
	f.read(func() error { return f.hand(s) })
	return nil
}

// hand reads a span and hands out its frames. Where no copy yields it, each is read for itself once it is opened, which tells why.
func (f *fetch[Work]) hand(s *span[Work]) error {
	if s.Len > 0 {
		_ = f.reader.copies().Read(f.ctx, Request{Size: s.Len, Places: 1, Ahead: true, Read: func(ctx context.Context, t Copy, _ int) (func() error, error) {
			buf, err := f.reader.read(ctx, t, s.Place)
			return func() error { s.buf, s.from = buf, t.N; return nil }, err
		}})
	}
	for _, w := range s.wants {
		x := fetched[Work]{Fetched{reader: f.reader, id: w.id}, w.work, s}
		if s.buf != nil {
			x.from, x.sealed = s.from, (*s.buf)[w.off-s.Off:][:w.len]
		}
		select {
		case f.ready <- x:
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
	return nil
}
