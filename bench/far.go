package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"lifeboat/internal/testenv"
)

// cut restores from three copies that are all behind lines, undisturbed, and with the one that serves cut off in the middle.
func (c *copies) cut(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	targets := []string{c.cloud("cloud", c.lines[0].Addr), c.vault("vault", c.lines[1].Port), c.cloud("late-cloud", c.lines[2].Addr)}
	whole, cut := c.with("from three copies", targets...), c.with("the one of three that serves cut off", targets...)
	c.tools = []*tool{whole, cut}
	if err := c.configure(whole); err != nil { // of both
		return err
	}
	total, err := size(c.lifeboat.repo)
	if err != nil {
		return err
	}
	s := c.restore("restore")
	prepare, compare := s.before, s.after
	var severed chan string
	var end context.CancelFunc
	s.before = func(turn context.Context, t *tool) error {
		for _, l := range c.lines {
			l.before = l.Answered.Load()
		}
		severed = make(chan string, 1)
		if turn, end = context.WithCancel(ctx); t == whole {
			severed <- ""
		} else {
			go func() { severed <- c.sever(turn, total/2) }()
		}
		return prepare(turn, t)
	}
	s.after = func(t *tool, r *row) error {
		end()
		where := <-severed
		c.set(testenv.Fault{})
		if t == cut && where == "" {
			return fmt.Errorf("nothing was cut off: the restore was over before half of %s came over the lines", humanize.IBytes(uint64(total)))
		}
		r.note = where + c.came()
		return compare(t, r)
	}
	return c.rounds(ctx, s)
}

// sever waits until so many bytes came over the lines, cuts the one that most of them came over, for good, and says which.
func (c *copies) sever(ctx context.Context, half int64) string {
	for ctx.Err() == nil {
		var sum int64
		most := c.lines[0]
		for _, l := range c.lines {
			if sum += l.came(); l.came() > most.came() {
				most = l
			}
		}
		if sum >= half {
			most.Up(testenv.Fault{Cut: true})
			most.Down(testenv.Fault{Cut: true})
			most.CutAll()
			return fmt.Sprintf("cut off: %s; ", most.name)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return ""
}

// came is what came over the line in this turn, in bytes.
func (l *line) came() int64 { return l.Answered.Load() - l.before }

func (c *copies) came() string {
	var all []string
	for _, l := range c.lines {
		all = append(all, fmt.Sprintf("%s %s", l.name, humanize.IBytes(uint64(l.came()))))
	}
	return "came from " + strings.Join(all, ", ")
}

// far restores from the disk, from the store, and from a store that is far away.
func (c *copies) far(ctx context.Context) error {
	c.lines[0].Up(testenv.Fault{Latency: lineLatency})
	c.lines[0].Down(testenv.Fault{Latency: lineLatency})
	defer c.set(testenv.Fault{})
	c.tools = []*tool{c.with("from the disk", c.disk()), c.with("from the store", c.cloud("cloud", c.store.Addr)),
		c.with(fmt.Sprintf("from the store, %s away and back", 2*lineLatency), c.cloud("cloud", c.lines[0].Addr))}
	s := c.restore("restore")
	prepare, compare := s.before, s.after
	s.before = func(ctx context.Context, t *tool) error {
		if err := c.configure(t); err != nil {
			return err
		}
		c.meter()
		return prepare(ctx, t)
	}
	s.after = func(t *tool, r *row) error {
		r.note = c.meter()
		return compare(t, r)
	}
	return c.rounds(ctx, s)
}
