package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/notify"
	"lifeboat/repository"
	"lifeboat/restore"
)

// On a drill host, the daemon makes the drills of all policies and nothing else: what there is to drill it reads from the copies.

const (
	observeKey = "observe"
	enterKey   = "enter"
	unheardKey = "unheard"

	unenteredKey = "unentered/" // and the role of a drill host
)

// observeAgain is how soon the copies are read again that could not be.
const observeAgain = 20 * time.Second

// observeFirst is observe for the start: what has to be put right by somebody ends it, what may pass does not.
func (d *Daemon) observeFirst(ctx context.Context) error {
	err := d.observe(ctx)
	for _, refusal := range []error{restore.ErrRefused, repository.ErrNoRepository, crypto.ErrIdentity} {
		if errors.Is(err, refusal) {
			return err
		}
	}
	if err != nil && ctx.Err() == nil {
		d.Log.Error("what there is to drill cannot be read yet", "error", err)
	}
	return ctx.Err()
}

// observe learns what the copies hold, and brings there what this drill host recorded.
func (d *Daemon) observe(ctx context.Context) (err error) {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.observed = d.Now(); err != nil { // sooner again: somebody works by hand, or a target was away
			d.observed = d.observed.Add(observeAgain - copyEvery)
		}
	}()
	cfg := d.config()
	h, closing, err := d.Wiring.DrillHost(ctx, cfg)
	if err != nil {
		return err
	}
	err = RecordPolicies(ctx, h, cfg)
	d.learntDrills(drillsOf(cfg.StateDir, h.Repository.Chain, h.Opaque, cfg))
	d.heard(h)
	return errors.Join(err, closing())
}

// heard takes in which copies took the journal of this drill host. That a copy may only be read is as it should be; where all are so, nobody hears of its drills.
func (d *Daemon) heard(h *repository.DrillHost) {
	d.mu.Lock()
	for name, err := range h.Pushed {
		t := targetState{seen: true, position: h.Repository.Chain.Len()}
		if err != nil && !repository.ReadOnly(err) {
			t.err = err.Error()
		}
		*d.target(name) = t
	}
	d.mu.Unlock()
	why := h.Unheard()
	e := notify.Event{Key: unheardKey, Kind: notify.Drill, Severity: notify.Warning, Title: "no target takes what this drill host records",
		Detail: fmt.Sprintf("the backup host cannot enter it: let this host write below hosts/ on one of them: %v", why)}
	if why == nil {
		e.Kind, e.Severity, e.Recovered, e.Title, e.Detail = notify.Recovered, notify.Info, true, "what this drill host records stands on a target again", ""
	}
	d.tell(e)
}

func (d *Daemon) learntDrills(drills map[string]*policyDrills) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, known := range drills {
		if before := d.drills[name]; before != nil {
			known.trouble = before.trouble
		}
	}
	d.drills = drills
}

// elapsed reports whether something is to be done again that was last done, or tried, at a time.
func elapsed(now, last time.Time) bool { return now.Sub(last) >= copyEvery || now.Before(last) }

func (d *Daemon) enqueueObserve(now time.Time) {
	d.mu.Lock()
	due := elapsed(now, d.observed)
	d.mu.Unlock()
	if !due {
		return
	}
	d.queue.add(&job{key: observeKey, what: "reading the copies", claim: writer, do: func(ctx context.Context) {
		err := d.observe(ctx)
		if err != nil && ctx.Err() == nil {
			d.Log.Error("what there is to drill cannot be read", "error", err)
		}
	}})
}

// enqueueEnter enters, on the backup host, what drill hosts did.
func (d *Daemon) enqueueEnter(now time.Time) {
	d.mu.Lock()
	due := d.hosts && elapsed(now, d.entered)
	d.mu.Unlock()
	if !due {
		return
	}
	d.queue.add(&job{key: enterKey, what: "entering what drill hosts did", claim: writer, do: func(ctx context.Context) {
		var results []DrillResult
		err := d.withHost(ctx, nil, func(h *repository.Host) error {
			known := h.Chain().Len()
			_, err := h.Enter(ctx)
			results = d.enteredDrills(h, known)
			d.unentered(h)
			return err
		})
		d.mu.Lock()
		d.entered = d.Now()
		d.mu.Unlock()
		for _, r := range results {
			d.drilled(r)
		}
		if err != nil && ctx.Err() == nil {
			d.Log.Error("what drill hosts did is not all entered", "error", err)
		}
	}})
}

// unentered tells of the drill hosts whose records could not all be entered: one that went astray, whose key somebody else has, or whose journal is damaged.
func (d *Daemon) unentered(h *repository.Host) {
	for _, host := range h.Chain().DrillHosts() {
		e := notify.Event{Key: unenteredKey + string(host.Role), Kind: notify.Drill, Severity: notify.Warning, Title: fmt.Sprintf("what the host %s did is not all entered", host.Role)}
		if err := h.Unentered[host.Role]; err == nil {
			e.Kind, e.Severity, e.Recovered, e.Title = notify.Recovered, notify.Info, true, fmt.Sprintf("what the host %s did is all entered", host.Role)
		} else {
			e.Detail = err.Error()
		}
		d.tell(e)
	}
}

// enteredDrills are the drills of drill hosts behind the first records.
func (d *Daemon) enteredDrills(h *repository.Host, known uint64) (out []DrillResult) {
	cfg := d.config()
	for _, drill := range repository.Drills(h.Chain(), nil) {
		if drill.Host == "" || drill.Entry.Seq <= known {
			continue
		}
		run := RunOf(drill, h.Opaque, cfg)
		r := DrillResult{ID: drill.Report[:12], Source: run.Source, Copy: run.Copy, Mode: drill.Mode, Result: drill.Result, Detail: "; made by " + string(drill.Host)}
		for _, p := range cfg.Policies {
			if h.Opaque(repository.OpaquePolicy+p.Name) == drill.Policy {
				r.Policy = p.Name
			}
		}
		out = append(out, r)
	}
	return out
}

// here reports whether this daemon may make the drills of a policy.
func (d *Daemon) here(p config.Policy) bool {
	return d.Identity && (d.Drills || p.Drill.IdentityAccepted)
}
