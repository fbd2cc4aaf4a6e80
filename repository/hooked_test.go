package repository_test

import (
	"context"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"lifeboat/target"
	"lifeboat/target/faulty"
)

// hooked is a target that asks before each call.
type hooked struct {
	target.Target
	before func(ctx context.Context, m faulty.Method, name string) error
}

func (h hooked) Put(ctx context.Context, name string, body *io.SectionReader) error {
	if err := h.before(ctx, faulty.Put, name); err != nil {
		return err
	}
	return h.Target.Put(ctx, name, body)
}

func (h hooked) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := h.before(ctx, faulty.Get, name); err != nil {
		return nil, err
	}
	return h.Target.Get(ctx, name, off, n)
}

func (h hooked) List(ctx context.Context, prefix string) iter.Seq2[target.Info, error] {
	return func(yield func(target.Info, error) bool) {
		if err := h.before(ctx, faulty.List, prefix); err != nil {
			yield(target.Info{}, err)
			return
		}
		h.Target.List(ctx, prefix)(yield)
	}
}

// liar tells a lie about the first object of a kind that is put.
type liar struct {
	target.Target
	part string
	lie  faulty.Fault
	mu   *sync.Mutex
	told *string // about which object
}

func (l liar) Replace(ctx context.Context, name string, body *io.SectionReader) error {
	return l.Target.(target.Repairer).Replace(ctx, name, body)
}

func (l liar) Put(ctx context.Context, name string, body *io.SectionReader) error {
	part := "record"
	switch {
	case strings.HasPrefix(name, "index/"):
		part = "index"
	case strings.HasPrefix(name, "packs/") && body.Size() > 10<<10: // the two come in any order
		part = "content"
	case strings.HasPrefix(name, "packs/"):
		part = "trees"
	}
	l.mu.Lock()
	honest := part != l.part || *l.told != ""
	if !honest {
		*l.told = name
	}
	l.mu.Unlock()
	if honest {
		return l.Target.Put(ctx, name, body)
	}
	in := faulty.New(l.Target)
	in.Queue(faulty.Put, l.lie)
	return in.Put(ctx, name, body)
}

// counting counts the readers that are open.
type counting struct {
	target.Target
	open *atomic.Int64
}

func (c counting) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := c.Target.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return counted{r, c.open}, nil
}

type counted struct {
	io.ReadCloser
	open *atomic.Int64
}

func (c counted) Close() error {
	c.open.Add(-1)
	return c.ReadCloser.Close()
}
