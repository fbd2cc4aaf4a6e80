package target

import (
	"context"
	"io"
	"iter"
	"strings"
)

// Below is the part of a target whose names begin with prefix, which ends with a slash: what it calls a is prefix + a there.
func Below(t Target, prefix string) Target { return below{t, prefix} }

type below struct {
	inner  Target
	prefix string
}

// Put implements Target.
func (b below) Put(ctx context.Context, name string, body *io.SectionReader) error {
	return b.inner.Put(ctx, b.prefix+name, body)
}

// Get implements Target.
func (b below) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	return b.inner.Get(ctx, b.prefix+name, off, n)
}

// List implements Target.
func (b below) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for info, err := range b.inner.List(ctx, b.prefix+prefix) {
			info.Name = strings.TrimPrefix(info.Name, b.prefix)
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements Target.
func (b below) Delete(ctx context.Context, name string) error {
	return b.inner.Delete(ctx, b.prefix+name)
}
