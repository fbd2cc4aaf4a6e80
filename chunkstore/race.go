package chunkstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"lifeboat/internal/clock"
	"lifeboat/target"
)

// glance is how often a read is looked at, whether it is late.
const glance = patience / 8

// race is one request, and the copies that were asked for it.
type race struct {
	*Copies
	Request
	ctx   context.Context
	order []int
	next  int // of order, times Places
	under []Copy
	ended chan outcome
	errs  []error
}

// outcome is the end of one try.
type outcome struct {
	Copy
	last bool // of this copy
	take func() error
	err  error
}

// alone asks the only copy.
func (x *race) alone() error {
	t := x.copy(0)
	var err error
	for place := range x.Places {
		var take func() error
		if take, err = x.Request.Read(x.ctx, t, place); err == nil {
			err = take()
		}
		if err == nil {
			break
		}
		if x.errs = append(x.errs, err); x.ctx.Err() != nil {
			break
		}
	}
	if x.yielded(t, err); err == nil {
		return nil
	}
	return errors.Join(x.errs...)
}

func (x *race) run() error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		if len(x.under) == 0 && !x.ask() {
			return errors.Join(x.errs...)
		}
		select {
		case o := <-x.ended:
			if done := x.judge(o); done {
				return nil
			}
		case <-tick.C:
			if newest := x.under[len(x.under)-1]; x.late(newest, x.Size) {
				x.suspect(newest)
				x.ask()
			}
		case <-x.ctx.Done():
			return errors.Join(append(x.errs, x.ctx.Err())...)
		}
	}
}

func (x *race) copy(n int) Copy {
	return Copy{x.all[n].target, n, clock.System(), new(progress)}
}

// ask begins the next try, if there is one.
func (x *race) ask() bool {
	if x.next == len(x.order)*x.Places {
		return false
	}
	t, place := x.copy(x.order[x.next/x.Places]), x.next%x.Places
	if x.next > 0 {
		x.mu.Lock()
		x.all[t.N].busy++
		x.mu.Unlock()
	}
	x.next++
	x.under = append(x.under, t)
	go func() {
		take, err := x.Request.Read(x.ctx, t, place)
		x.yielded(t, err)
		select {
		case x.ended <- outcome{t, place == x.Places-1, take, err}:
		case <-x.ctx.Done(): // it lost
		}
	}()
	return true
}

// judge takes what a try yielded, and reports whether that is right.
func (x *race) judge(o outcome) bool {
	x.under = slices.DeleteFunc(x.under, func(t Copy) bool { return t.progress == o.progress })
	if o.err == nil {
		o.err = o.take()
	}
	if o.err == nil {
		for _, t := range x.under {
			x.overtaken(t)
		}
		return true
	}
	x.errs = append(x.errs, o.err)
	if o.last && x.ctx.Err() == nil {
		x.fail(o.N, o.err)
	}
	return false
}

var _ target.Target = Copy{}
