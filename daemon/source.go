package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lifeboat/config"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/target"
)

// source is what the daemon knows of a source.
type source struct {
	done     []policies.Done // as DoneOf has it
	last     *journal.Entry  // the newest snapshot
	failures trouble
	full     string // why the next snapshot must be a full one, beside what the schedule says
	missed   int    // times of the schedule that passed without a run, since the daemon began
	held     uint64 // the hold that an unusual snapshot led to, until somebody releases it
}

// trouble is how often something failed in a row, and when it is tried again.
type trouble struct {
	Count int       `json:"count"`
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"`
	again time.Time
}

// The pause before something that failed is tried again grows between these.
const (
	retryFirst = time.Minute
	retryLast  = 30 * time.Minute
)

// failed counts a failure.
func (t *trouble) failed(now time.Time, err error) {
	if t.Count == 0 {
		t.Since = now
	}
	t.again = now.Add(min(retryFirst<<min(t.Count, 10), retryLast))
	t.Count++
	t.Why = err.Error()
}

// waits reports whether it is too early to try again. A clock that was set back does not make it longer than it ever is.
func (t *trouble) waits(now time.Time) bool {
	return t.Count > 0 && now.Before(t.again) && t.again.Sub(now) <= retryLast
}

// learn takes from the journal what was done.
func (d *Daemon) learn(ctx context.Context, cfg *config.Config) error {
	copies, err := d.Wiring.Targets(ctx, cfg)
	if err != nil {
		return err
	}
	defer CloseAll(copies)
	for waits := false; ; {
		h, err := repository.OpenHost(ctx, d.hostConfig(cfg, copies))
		if errors.Is(err, repository.ErrLocked) {
			if !waits {
				d.Log.Info("starting when the state directory is free", "why", err)
			}
			waits = true
			d.Notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", time.Minute.Microseconds())) // a supervisor would end what takes so long
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		d.learnt(h, cfg)
		return h.Close()
	}
}

// learnt takes over what a host knows. Files are read before the lock is taken: a disk may hang.
func (d *Daemon) learnt(h *repository.Host, cfg *config.Config) {
	snapshots, newest := h.Chain().Snapshots(), map[string]*journal.Entry{}
	for i, e := range snapshots {
		newest[e.Snapshot.Source] = &snapshots[i]
	}
	done := DoneOf(h.Chain().Entries(), repository.DamagedEverywhere(h.StateDir, h.Copies)) // what was dropped since served its time, too
	held, copies, drills := h.Alarmed(), copiesOf(h), drillsOf(h.StateDir, h.Chain(), h.Opaque, cfg)
	hosts := slices.ContainsFunc(h.Chain().DrillHosts(), func(h *journal.DrillHost) bool { return h.Revoked == 0 })
	d.learntDrills(drills)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts = hosts
	for _, s := range cfg.Sources {
		known, opaque := d.source(s.Name), h.Opaque(s.Name)
		known.done, known.last, known.held = done[opaque], newest[opaque], held[opaque]
	}
	for name, c := range copies {
		if _, ok := d.cfg.Target(name); ok { // or it was taken out of the configuration since
			t := d.target(name)
			c.checking, c.again = t.checking, t.again
			if c.err != "" {
				c.lapse, c.term = t.lapse, t.term // its locks lapse all the same
			}
			*t = c
		}
	}
}

// source is what is known of a source. The caller holds the lock.
func (d *Daemon) source(name string) *source {
	s := d.sources[name]
	if s == nil {
		s = &source{}
		d.sources[name] = s
	}
	return s
}

// targetState is what the daemon knows of a target.
type targetState struct {
	seen     bool   // it was looked at
	err      string // why it cannot be reached
	position uint64
	behind   uint64
	checking trouble
	again    time.Time // when it is tried to bring it up to date
	lapse    time.Time // when the first lock on something that is needed can lapse; zero where it locks nothing
	term     time.Duration
}

// copiesOf is how far each copy is.
func copiesOf(h *repository.Host) map[string]targetState {
	out := map[string]targetState{}
	for _, c := range h.Copies {
		t := targetState{seen: true, position: c.Position, behind: h.Chain().Len() - c.Position}
		if c.Err != nil {
			t.err = c.Err.Error()
		} else if r, ok := c.Target.(target.Retainer); ok {
			t.lapse, t.term = repository.LocksLapse(h.StateDir, c.Name, r, h.Chain().Entries()[0].Time), r.Term()
		}
		out[c.Name] = t
	}
	return out
}

func (d *Daemon) target(name string) *targetState {
	t := d.targets[name]
	if t == nil {
		t = &targetState{}
		d.targets[name] = t
	}
	return t
}

// sleep waits for a while, or for ctx.
func sleep(ctx context.Context, long time.Duration) error {
	select {
	case <-time.After(long):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
