package daemon

import (
	"slices"
	"time"

	"lifeboat/config"
	"lifeboat/internal/clock"
	"lifeboat/policies"
	"lifeboat/repository"
)

// look puts everything that is due into the queue.
func (d *Daemon) look() {
	now, cfg := d.Now(), d.config()
	d.lookForDrills(now, cfg)
	if d.Drills {
		d.enqueueObserve(now)
	} else {
		d.lookForBackups(now, cfg)
	}
	d.mu.Lock()
	d.ticked, d.turned = now, clock.System()
	d.mu.Unlock()
}

// lookForBackups puts into the queue what the writer has to do.
func (d *Daemon) lookForBackups(now time.Time, cfg *config.Config) {
	if d.recordDue(now) {
		d.enqueueRecord()
	}
	for _, p := range cfg.Policies {
		schedule := ScheduleOf(p)
		for _, name := range p.Sources {
			if run, ok := d.due(now, p, schedule, name); ok {
				d.enqueueBackup(p, name, run)
			}
		}
	}
	for _, t := range cfg.Targets {
		if d.checkDue(now, cfg, t.Name) {
			d.enqueueCheck(t.Name)
		}
	}
	if d.pruneDue(now, cfg) {
		d.enqueuePrune()
	}
	if d.copyDue(now) {
		d.enqueueCopy()
	}
	d.enqueueEnter(now)
}

// due says which snapshot of a source is due: by schedule, or because something happened.
func (d *Daemon) due(now time.Time, p config.Policy, schedule policies.Schedule, name string) (policies.Run, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.source(name)
	if s.failures.waits(now) {
		return policies.Run{}, false
	}
	run, ok := schedule.Due(now, p.Name, s.done)
	if s.full != "" {
		return policies.Run{Due: run.Due, Full: true, Why: s.full, Missed: run.Missed}, true
	}
	return run, ok
}

// checkEvery is how often a target is checked of which no policy says when.
const checkEvery = 7 * 24 * time.Hour

// checkDue reports whether a target is to be checked whole: each that a policy uses is.
func (d *Daemon) checkDue(now time.Time, cfg *config.Config, target string) bool {
	d.mu.Lock()
	t := *d.target(target)
	anything := slices.ContainsFunc(cfg.Sources, func(s config.Source) bool { return d.source(s.Name).last != nil })
	d.mu.Unlock()
	if t.err != "" || !anything || t.checking.waits(now) || d.queue.has(checkKey(target)) {
		return false
	}
	last := repository.LastCheck(cfg.StateDir, target).Time
	if last.After(now) {
		last = time.Time{} // the clock was wrong
	}
	return slices.ContainsFunc(cfg.Policies, func(p config.Policy) bool {
		switch {
		case len(p.Targets) > 0 && !slices.Contains(p.Targets, target):
			return false
		case p.Check == nil:
			return now.Sub(last) >= checkEvery
		}
		return p.Check.Last(now).After(last)
	})
}

// pruneDue reports whether retention was not applied today.
func (d *Daemon) pruneDue(now time.Time, cfg *config.Config) bool {
	if !slices.ContainsFunc(cfg.Policies, func(p config.Policy) bool { return p.Retention != config.Retention{} }) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pruned.After(now) || now.Sub(d.pruned) >= pruneEvery
}

const pruneEvery = 24 * time.Hour

// copyEvery is how often it is tried to bring a copy up to date that is behind, where no backup does it by the way.
const copyEvery = 5 * time.Minute

func (d *Daemon) copyDue(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.targets {
		if (t.behind > 0 || t.err != "") && (!now.Before(t.again) || t.again.Sub(now) > copyEvery) {
			return true
		}
	}
	return false
}

// recordDue reports whether the policies in use are in no record yet.
func (d *Daemon) recordDue(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.recorded != d.cfg && (!now.Before(d.record) || d.record.Sub(now) > copyEvery)
}
