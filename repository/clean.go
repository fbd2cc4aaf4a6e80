package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"lifeboat/capture"
	"lifeboat/chunkstore"
	"lifeboat/target"
)

// Left is what a target did not delete. The next collection tries again.
type Left struct {
	Target   string    `json:"target"`
	Retained int       `json:"retained,omitempty"` // objects that are protected from deletion
	Until    time.Time `json:"until,omitzero"`     // when the first of them can go, where the target tells
	Failed   int       `json:"failed,omitempty"`   // objects that it would not delete, or that stay because others are missing
	Err      string    `json:"error,omitempty"`    // why; also where it could not be listed
}

func (l Left) String() string {
	var parts []string
	if l.Err != "" {
		parts = append(parts, fmt.Sprintf("not everything that nothing needs could be deleted (%d objects stay): %s", l.Failed, l.Err))
	}
	if l.Retained > 0 {
		until := ""
		if !l.Until.IsZero() {
			until = ", the first of them until " + l.Until.UTC().Format(time.RFC3339)
		}
		parts = append(parts, fmt.Sprintf("%d objects that nothing needs are protected from deletion%s", l.Retained, until))
	}
	return "target " + l.Target + ": " + strings.Join(parts, "; ")
}

// giveUp is how many deletions in a row may fail before no more are tried in this run: a target that does not answer would
// keep everybody waiting.
const giveUp = 3

// cleaner is a target that keeps unfinished objects aside, and removes those that were begun before a time.
type cleaner interface {
	Clean(ctx context.Context, olderThan time.Time) error
}

// cleaning deletes on one copy what was swept, and what no record names.
type cleaning struct {
	*Copy
	fates  fates
	named  map[string]bool
	gone   map[string][]capture.Name // segments that were swept, by source
	lacks  map[string]int64          // sizes of what is needed and was not found yet
	swept  []string                  // what stands there and may go if nothing is lacking,
	orphan []string                  // and what may go in any case
	sum    *Collected
	left   Left
	row    int // of failures
}

// cleanable are the parts of a copy that are cleaned.
var cleanable = []string{"packs/", "index/", "keys/", documentPrefix, logPrefix, probePrefix}

// cleanAll cleans every copy that is up to date: one that is behind keeps everything until it has caught up. What a target did
// not delete is in sum; an error means that the run was interrupted.
func (h *Host) cleanAll(ctx context.Context, sum *Collected) error {
	fates, named, needed := fatesIn(h.Chain()), map[string]bool{}, map[string]int64{}
	for _, e := range h.Chain().Entries() {
		for _, o := range e.Objects {
			named[o.Name] = true
			if strings.HasPrefix(o.Name, "packs/") && !fates.unneeded(o.Name) {
				needed[o.Name] = o.Size
			}
		}
	}
	gone := map[string][]capture.Name{}
	for name, f := range fates {
		if n, ok := capture.ParseName(name); ok && f.swept {
			gone[n.Source] = append(gone[n.Source], n)
		}
	}
	for _, copied := range h.Copies {
		if copied.Err != nil || copied.Position != h.Chain().Len() {
			continue
		}
		c := cleaning{Copy: copied, fates: fates, named: named, gone: gone, lacks: maps.Clone(needed), sum: sum, left: Left{Target: copied.Name}}
		c.failed(c.clean(ctx))
		if t, ok := copied.Target.(cleaner); ok && ctx.Err() == nil {
			c.failed(t.Clean(ctx, h.Now()))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.left.Retained > 0 || c.left.Err != "" {
			sum.Left = append(sum.Left, c.left)
		}
	}
	return nil
}

// failed remembers the first error.
func (c *cleaning) failed(err error) {
	if err != nil && c.left.Err == "" {
		c.left.Err = err.Error()
	}
}

// clean deletes what was swept only where every pack stands that is still needed: a target may have lost the one to which the frames
// of a swept pack were moved.
func (c *cleaning) clean(ctx context.Context) error {
	for _, prefix := range cleanable {
		if err := c.look(ctx, prefix); err != nil {
			return err
		}
	}
	if len(c.lacks) > 0 && len(c.swept) > 0 {
		c.left.Failed = len(c.swept)
		c.failed(fmt.Errorf("%s is missing or truncated there (%d packs in all), and what was swept may be all that is left of it: run `lifeboat heal`", slices.Min(slices.Collect(maps.Keys(c.lacks))), len(c.lacks)))
		c.swept = nil
	}
	for _, name := range slices.Concat(c.swept, c.orphan) {
		if err := c.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// look finds what may be deleted, and what is lacking.
func (c *cleaning) look(ctx context.Context, prefix string) error {
	for info, err := range c.Target.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if size, ok := c.lacks[info.Name]; ok && size == info.Size {
			delete(c.lacks, info.Name)
		}
		_, ours := chunkstore.Digest(info.Name)
		switch {
		case prefix == logPrefix: // capture stores objects before a record names them
			if c.fates[info.Name].swept || c.outlived(info.Name) {
				c.swept = append(c.swept, info.Name)
			}
		case !ours && prefix != probePrefix || !strings.HasPrefix(info.Name, prefix): // nobody knows what that is
		case !c.named[info.Name]:
			c.orphan = append(c.orphan, info.Name)
		case c.fates[info.Name].swept:
			c.swept = append(c.swept, info.Name)
		}
	}
	return nil
}

// outlived reports whether an object is a tail of which all log was swept with the segments that replaced it.
func (c *cleaning) outlived(name string) bool {
	n, ok := capture.ParseName(name)
	return ok && n.Kind == capture.Tail && slices.ContainsFunc(c.gone[n.Source], func(s capture.Name) bool { return s.Covers(n) })
}

// remove deletes an object. Only an interrupted run is an error: what else goes wrong is noted.
func (c *cleaning) remove(ctx context.Context, name string) error {
	if c.row == giveUp {
		c.left.Failed++
		return nil
	}
	err := c.Target.Delete(ctx, name)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, target.ErrRetained):
		return c.retained(ctx, name)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		c.left.Failed++
		c.row++
		c.failed(err)
		return nil
	}
	c.row = 0
	if c.named[name] {
		c.sum.Swept++
	} else {
		c.sum.Orphans++
	}
	return nil
}

// retained counts an object that is protected.
func (c *cleaning) retained(ctx context.Context, name string) error {
	c.left.Retained++
	t, ok := c.Target.(target.Retainer)
	if !ok {
		return nil
	}
	until, err := t.Retained(ctx, name)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.failed(err)
	if err == nil && !until.IsZero() && (c.left.Until.IsZero() || until.Before(c.left.Until)) {
		c.left.Until = until
	}
	return nil
}
