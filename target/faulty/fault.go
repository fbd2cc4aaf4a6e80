package faulty

import (
	"context"
	"fmt"
	"io"
	"iter"
	"syscall"
	"time"

	"lifeboat/target"
)

// Fault is what happens to a call instead of the call, by method; nil where it has no meaning.
type Fault struct {
	name   string // for the log
	put    func(ctx context.Context, inner target.Target, name string, body *io.SectionReader) error
	get    func(ctx context.Context, inner target.Target, name string, off, n int64) (io.ReadCloser, error)
	list   func(ctx context.Context, inner target.Target, prefix string) iter.Seq2[target.Info, error]
	remove func(ctx context.Context, inner target.Target, name string) error
}

// None lets the call through.
func None() Fault {
	return Fault{
		put: func(ctx context.Context, inner target.Target, name string, body *io.SectionReader) error {
			return inner.Put(ctx, name, body)
		},
		get: func(ctx context.Context, inner target.Target, name string, off, n int64) (io.ReadCloser, error) {
			return inner.Get(ctx, name, off, n)
		},
		list: func(ctx context.Context, inner target.Target, prefix string) iter.Seq2[target.Info, error] {
			return inner.List(ctx, prefix)
		},
		remove: func(ctx context.Context, inner target.Target, name string) error {
			return inner.Delete(ctx, name)
		},
	}
}

// before makes a call run check first and fail with what it returns.
func before(name string, check func(context.Context) error) Fault {
	f, next := Fault{name: name}, None()
	f.put = func(ctx context.Context, inner target.Target, name string, body *io.SectionReader) error {
		if err := check(ctx); err != nil {
			return fmt.Errorf("put %q: %w", name, err)
		}
		return next.put(ctx, inner, name, body)
	}
	f.get = func(ctx context.Context, inner target.Target, name string, off, n int64) (io.ReadCloser, error) {
		if err := check(ctx); err != nil {
			return nil, fmt.Errorf("get %q: %w", name, err)
		}
		return next.get(ctx, inner, name, off, n)
	}
	f.list = func(ctx context.Context, inner target.Target, prefix string) iter.Seq2[target.Info, error] {
		if err := check(ctx); err != nil {
			return failed(fmt.Errorf("list %q: %w", prefix, err))
		}
		return next.list(ctx, inner, prefix)
	}
	f.remove = func(ctx context.Context, inner target.Target, name string) error {
		if err := check(ctx); err != nil {
			return fmt.Errorf("delete %q: %w", name, err)
		}
		return next.remove(ctx, inner, name)
	}
	return f
}

// Fail makes the call fail with err before it has any effect.
func Fail(err error) Fault {
	return before("fail", func(context.Context) error { return err })
}

// Hang makes the call wait until its context is done, without effect.
func Hang() Fault {
	return before("hang", func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
}

// Slow makes the call wait for d first.
func Slow(d time.Duration) Fault {
	return before("slow", func(ctx context.Context) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	})
}

// FailAfter loses the reply: the call has its effect and then fails with err. A listing yields everything before.
func FailAfter(err error) Fault {
	return Fault{
		name: "fail after",
		put: func(ctx context.Context, inner target.Target, name string, body *io.SectionReader) error {
			if err := inner.Put(ctx, name, body); err != nil {
				return err
			}
			return fmt.Errorf("put %q: %w", name, err)
		},
		get: func(ctx context.Context, inner target.Target, name string, off, n int64) (io.ReadCloser, error) {
			r, getErr := inner.Get(ctx, name, off, n)
			if getErr == nil {
				getErr = r.Close()
			}
			if getErr != nil {
				return nil, getErr
			}
			return nil, fmt.Errorf("get %q: %w", name, err)
		},
		list: func(ctx context.Context, inner target.Target, prefix string) iter.Seq2[target.Info, error] {
			return first(inner.List(ctx, prefix), -1, fmt.Errorf("list %q: %w", prefix, err))
		},
		remove: func(ctx context.Context, inner target.Target, name string) error {
			if err := inner.Delete(ctx, name); err != nil {
				return err
			}
			return fmt.Errorf("delete %q: %w", name, err)
		},
	}
}

// Lose acknowledges a Put or Delete that has no effect.
func Lose() Fault {
	return Fault{
		name:   "lose",
		put:    func(context.Context, target.Target, string, *io.SectionReader) error { return nil },
		remove: func(context.Context, target.Target, string) error { return nil },
	}
}

// Full is a disk with room for n bytes: a longer body fails with syscall.ENOSPC and nothing stands.
func Full(n int64) Fault {
	return Fault{name: "full", put: Break(n, syscall.ENOSPC).put}
}
