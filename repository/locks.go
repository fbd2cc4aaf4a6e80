package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lifeboat/capture"
	"lifeboat/internal/atomicfile"
	"lifeboat/target"
)

// locksDir holds, per target, when the protection of its objects was last renewed.
const locksDir = "locks"

// renewals is how often in a term the protection is renewed: what is needed stays protected for three quarters of a term at least.
const renewals = 4

// LocksLapse returns when the first lock on something that is needed on a target can lapse, in a repository that was founded at a time.
func LocksLapse(stateDir, name string, r target.Retainer, founded time.Time) time.Time {
	if at := locksRenewed(stateDir, name); !at.IsZero() {
		founded = at
	}
	return founded.Add(r.Term()).UTC()
}

// LocksLapsing reports whether locks that can lapse at a time of a term were not renewed for so long that somebody should look.
func LocksLapsing(lapse time.Time, term time.Duration, now time.Time) bool {
	return lapse.Sub(now) < term/2
}

// locksRenewed returns when everything that is needed on a target was last protected for another term; zero where it never was.
func locksRenewed(stateDir, name string) (at time.Time) {
	b, err := os.ReadFile(filepath.Join(stateDir, locksDir, name+".json"))
	if err != nil || json.Unmarshal(b, &at) != nil {
		return time.Time{}
	}
	return at
}

// renewLocks protects what is still needed for another term, on each copy that protects objects and where that is due. What it could not do
// it says, and tries again next time: `status` raises the alarm before a lock lapses.
func (h *Host) renewLocks(ctx context.Context) (warnings []string) {
	for _, c := range h.Copies {
		r, ok := c.Target.(target.Retainer)
		if !ok || c.Err != nil || h.Now().Before(locksRenewed(h.StateDir, c.Name).Add(r.Term()/renewals)) {
			continue
		}
		err := h.renew(ctx, c.Target, r, h.Now().Add(r.Term()))
		if err == nil {
			err = h.renewed(c.Name)
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("target %s: the locks of its objects were not all renewed: %v", c.Name, err))
		}
	}
	return warnings
}

// renew protects all objects of a copy but those that are to go: what was condemned, and tails of logs.
func (h *Host) renew(ctx context.Context, t target.Target, r target.Retainer, until time.Time) error {
	fates := fatesIn(h.Chain())
	var mu sync.Mutex
	failed := 0
	var first error
	g := errgroup.Group{}
	g.SetLimit(transfers)
	for info, err := range t.List(ctx, "") {
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		if n, ok := capture.ParseName(info.Name); ok && n.Kind == capture.Tail || fates.unneeded(info.Name) || strings.HasPrefix(info.Name, probePrefix) {
			continue
		}
		g.Go(func() error {
			if err := r.Retain(ctx, info.Name, until); err != nil && !errors.Is(err, fs.ErrNotExist) {
				mu.Lock()
				defer mu.Unlock()
				if failed++; first == nil {
					first = err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil || first == nil {
		return err
	}
	return fmt.Errorf("%d objects: %w", failed, first)
}

func (h *Host) renewed(name string) error {
	dir := filepath.Join(h.StateDir, locksDir)
	b, err := h.Now().UTC().MarshalJSON()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, name+".json"), b, 0o600)
}
