package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// step is a part of the job that the tools do in turn.
type step struct {
	what   string
	args   func(*tool) []string
	round  func(context.Context) error // before a round of all
	before func(context.Context, *tool) error
	after  func(*tool, *row) error
}

// rounds lets all tools do a step, one after another, b.runs times: a machine that gets slower meanwhile does so for all.
func (b *bench) rounds(ctx context.Context, s step) error {
	rows := map[*tool][]row{}
	for range b.runs {
		if s.round != nil {
			if err := s.round(ctx); err != nil {
				return err
			}
		}
		for _, t := range b.tools {
			if s.args(t) == nil {
				continue
			}
			r, err := b.turn(ctx, s, t)
			if err != nil {
				return err
			}
			rows[t] = append(rows[t], r)
			first := rows[b.tools[0]]
			rows[t][len(rows[t])-1].ratio = r.wall.Seconds() / first[len(first)-1].wall.Seconds()
		}
	}
	for _, t := range b.tools {
		if len(rows[t]) > 0 {
			b.rows = append(b.rows, median(rows[t]))
		}
	}
	return nil
}

func (b *bench) turn(ctx context.Context, s step, t *tool) (r row, err error) {
	if s.before != nil {
		err = s.before(ctx, t)
	}
	if err == nil {
		r, err = t.run(ctx, s.what, s.args(t)...)
	}
	if err == nil && s.after != nil {
		err = s.after(t, &r)
	}
	return r, err
}

// job is the main job: full, restore, nothing changed, 5,000 updates.
func (b *bench) job(ctx context.Context) error {
	again := func(t *tool) []string { return t.again }
	for _, s := range []step{
		{what: "full", args: func(t *tool) []string { return t.full },
			before: func(ctx context.Context, t *tool) error { return t.fresh(ctx) },
			after:  func(t *tool, r *row) error { r.note = t.note; return nil }},
		b.restore("restore"),
		{what: "nothing changed", args: again},
		{what: "5,000 updates", args: again,
			round: func(ctx context.Context) error { return b.change(ctx, time.Now().UnixNano(), 5000) },
			after: func(_ *tool, r *row) error {
				r.note = fmt.Sprintf("%d pages changed, %.2f x their compressed size", b.pages, float64(r.grown)/float64(b.packed))
				return nil
			}},
	} {
		if err := b.rounds(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// restore brings back what was stored last, and makes sure that it is what the database is now.
func (b *bench) restore(what string) step {
	return step{what: what, args: func(t *tool) []string { return t.restore },
		before: func(context.Context, *tool) error {
			return errors.Join(os.RemoveAll(b.out()), os.Mkdir(b.out(), 0o700))
		},
		after: func(t *tool, r *row) error { r.grown = 0; return b.db.same(t.restored) }}
}

// change updates rows, and notes how many pages that changed and what these compress to.
func (b *bench) change(ctx context.Context, seed int64, n int) error {
	before, err := b.db.pages()
	if err != nil {
		return err
	}
	if err := b.db.churn(ctx, seed, n); err != nil {
		return err
	}
	b.pages, b.packed, err = b.db.changed(before)
	return err
}

// age takes many increments and restores the last.
func (b *bench) age(ctx context.Context) error {
	if b.aging == 0 {
		return nil
	}
	b.tools = []*tool{b.lifeboat}
	if err := b.fresh(ctx); err != nil {
		return err
	}
	if _, err := b.lifeboat.run(ctx, "", b.lifeboat.full...); err != nil {
		return err
	}
	if err := b.rounds(ctx, b.restore("restore of the fresh full")); err != nil {
		return err
	}
	var sum row
	for i := range b.aging {
		if err := b.db.churn(ctx, int64(i)+100, int(b.megabytes<<20)/b.db.page/100); err != nil {
			return err
		}
		r, err := b.lifeboat.run(ctx, fmt.Sprintf("%d increments, 1 %% dirty, mean", b.aging), b.lifeboat.again...)
		if err != nil {
			return err
		}
		r.wall += sum.wall
		r.cpu += sum.cpu
		r.grown += sum.grown
		r.peak = max(r.peak, sum.peak)
		sum = r
	}
	sum.wall /= time.Duration(b.aging)
	sum.cpu /= time.Duration(b.aging)
	sum.grown /= int64(b.aging)
	b.rows = append(b.rows, sum)
	return b.rounds(ctx, b.restore(fmt.Sprintf("restore after %d increments", b.aging)))
}
