package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/target"
)

// Left is what a target did not delete. The next collection tries again.
type Left struct {
	Target   string    `json:"target"`
	Retained int       `json:"retained,omitempty"` // objects that are protected from deletion
	Until    time.Time `json:"until,omitzero"`     // when the first of them can go, where the target tells
	Failed   int       `json:"failed,omitempty"`   // objects that it would not delete
	Err      string    `json:"error,omitempty"`    // why; also where it could not be listed
}

func (l Left) String() string {
	if l.Err != "" {
		return fmt.Sprintf("target %s: not everything that nothing needs could be deleted (%d objects were refused): %s", l.Target, l.Failed, l.Err)
	}
	until := ""
	if !l.Until.IsZero() {
		until = ", the first of them until " + l.Until.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("target %s: %d objects that nothing needs are protected from deletion%s", l.Target, l.Retained, until)
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
	fates fates
	named map[string]bool
	sum   *Collected
	left  Left
	row   int // of failures
}

// cleanAll cleans every copy that is up to date: one that is behind keeps everything until it has caught up. What a target did
// not delete is in sum; an error means that the run was interrupted.
func (h *Host) cleanAll(ctx context.Context, sum *Collected) error {
	named := map[string]bool{}
	for _, e := range h.Chain().Entries() {
		for _, o := range e.Objects {
			named[o.Name] = true
		}
	}
	fates := fatesIn(h.Chain())
	for _, copied := range h.Copies {
		if copied.Err != nil || copied.Position != h.Chain().Len() {
			continue
		}
		c := cleaning{Copy: copied, fates: fates, named: named, sum: sum, left: Left{Target: copied.Name}}
		if t, ok := copied.Target.(cleaner); ok {
			c.failed(t.Clean(ctx, h.Now()))
		}
		for _, prefix := range []string{"packs/", "index/", "keys/", probePrefix} {
			c.failed(c.clean(ctx, prefix))
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

func (c *cleaning) clean(ctx context.Context, prefix string) error {
	for info, err := range c.Target.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if _, ours := chunkstore.Digest(info.Name); !ours && prefix != probePrefix || !strings.HasPrefix(info.Name, prefix) {
			continue // nobody knows what that is
		}
		if c.named[info.Name] && !c.fates[info.Name].swept {
			continue
		}
		if err := c.remove(ctx, info.Name); err != nil {
			return err
		}
	}
	return nil
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
