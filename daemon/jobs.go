package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lifeboat/config"
	"lifeboat/notify"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/restore"
)

func backupKey(source string) string { return "backup/" + source }
func checkKey(target string) string  { return "check/" + target }

const (
	pruneKey  = "prune"
	copyKey   = "copy"
	recordKey = "record"
)

// withHost does something with the repository open for writing, and takes over what it came to.
func (d *Daemon) withHost(ctx context.Context, follow func(target string, done, total int64), do func(*repository.Host) error) error {
	c, closing, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer closing()
	c.Progress = follow
	var h *repository.Host
	for {
		if h, err = repository.OpenHost(ctx, c); !errors.Is(err, repository.ErrLocked) {
			break
		}
		if err := sleep(ctx, time.Second); err != nil { // somebody works by hand
			return err
		}
	}
	if err != nil {
		return err
	}
	d.learnt(h, d.config()) // a commit that had failed may have been finished just now
	err = do(h)
	d.learnt(h, d.config())
	d.targetsSeen(h)
	d.lapsing(d.Now())
	if err == nil { // or an alarm could not be noted, and nobody has answered it
		d.answered()
	}
	return errors.Join(err, h.Close())
}

// progress is how far a job is, in bytes.
type progress struct{ done, total atomic.Int64 }

func (p *progress) read() (done, total int64) { return p.done.Load(), p.total.Load() }

// sum returns a function that is told how far each copy is, and adds that up.
func (p *progress) sum() func(target string, done, total int64) {
	var mu sync.Mutex
	copies := map[string][2]int64{}
	return func(target string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		p.done.Add(done - copies[target][0])
		p.total.Add(total - copies[target][1])
		copies[target] = [2]int64{done, total}
	}
}

func (d *Daemon) enqueueBackup(p config.Policy, name string, run policies.Run) {
	progress := &progress{}
	kind := "incremental"
	if run.Full {
		kind = "full"
	}
	added := d.queue.add(&job{key: backupKey(name), what: fmt.Sprintf("%s snapshot of %s", kind, name), claim: writer, progress: progress.read,
		do: func(ctx context.Context) { d.backUp(ctx, p, name, run, progress) }})
	if added && !run.Due.IsZero() {
		d.metrics.delay.Observe(d.Now().Sub(ScheduleOf(p).At(run.Due, p.Name)).Seconds())
	}
}

// backUp takes a snapshot, and says how that went.
func (d *Daemon) backUp(ctx context.Context, p config.Policy, name string, run policies.Run, progress *progress) {
	cfg := d.config()
	began := d.Now()
	var done *repository.Done
	missed := []string{}
	err := func() error {
		s, ok := cfg.Source(name)
		if !ok {
			return nil // taken out of the configuration since
		}
		src, err := d.Wiring.Source(cfg, name)
		if err != nil {
			return err
		}
		return d.withHost(ctx, nil, func(h *repository.Host) (err error) {
			b := repository.Backup{Name: name, Engine: string(s.Engine), Source: src, Full: run.Full, Due: run.Due, Beside: d.beside(cfg, p, s, run),
				Progress: func(n int64) { progress.done.Add(n) }, Opened: func(size int64) { progress.total.Store(size) }}
			if !run.Due.IsZero() && run.Why != "" && run.Full {
				b.Reason = run.Why
			}
			if done = d.serving(name, run); done != nil {
				err = h.Replicate(ctx)
			} else {
				done, err = h.Backup(ctx, b)
			}
			for _, c := range h.Copies {
				if c.Err != nil {
					missed = append(missed, c.Name)
				}
			}
			if done != nil {
				err = errors.Join(err, d.alarm(ctx, h, p, name))
			}
			return err
		})
	}()
	if done == nil && err == nil {
		return
	}
	if done == nil {
		d.backupFailed(ctx, p, name, err)
		return
	}
	d.backedUp(p, name, run, done, d.Now().Sub(began), missed)
	if err != nil { // it is committed all the same
		d.Log.Warn("behind the snapshot", "source", name, "error", err)
	}
	if err == nil && !d.anyFailing(p) && !slices.ContainsFunc(missed, func(target string) bool { return len(p.Targets) == 0 || slices.Contains(p.Targets, target) }) {
		d.heartbeat(ctx, p)
	}
}

// serving is the newest snapshot of a source where it serves a run already: its commit had failed, and was finished since. nil otherwise.
func (d *Daemon) serving(name string, run policies.Run) *repository.Done {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.source(name).last
	if last == nil || last.Snapshot.Due == nil || !last.Snapshot.Due.Equal(run.Due) || run.Full && last.Snapshot.Kind != "full" {
		return nil
	}
	return &repository.Done{Entry: *last}
}

// alarm tells at once of snapshots that are far outside of what is usual. What is older is held then until somebody answers.
func (d *Daemon) alarm(ctx context.Context, h *repository.Host, p config.Policy, name string) error {
	alarms, err := h.Alarms(ctx, name)
	for _, a := range alarms {
		var texts []string
		for _, found := range a.Found {
			texts = append(texts, found.Text)
		}
		detail := strings.Join(texts, "; ")
		if a.Hold > 0 {
			detail += fmt.Sprintf("; all older snapshots and the log are held: find out what happened, then `lifeboat hold release %d`", a.Hold)
		}
		d.tell(notify.Event{Key: "anomaly/" + name, Kind: notify.Anomaly, Severity: notify.Critical, Policy: p.Name, Source: name, Title: fmt.Sprintf("%s, a snapshot of %s, is unusual", restore.FormatID(a.Seq), name), Detail: detail})
	}
	return err
}

// beside is the snapshot of the policy's first source that is no files, where name is of its companions and both serve the same time.
func (d *Daemon) beside(cfg *config.Config, p config.Policy, s config.Source, run policies.Run) uint64 {
	if s.Engine != config.Files {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range p.Sources {
		other, _ := cfg.Source(name)
		last := d.source(name).last
		if other.Engine != config.Files && last != nil && last.Snapshot.Due != nil && last.Snapshot.Due.Equal(run.Due) {
			return last.Seq
		}
	}
	return 0
}

func (d *Daemon) backupFailed(ctx context.Context, p config.Policy, name string, err error) {
	if ctx.Err() != nil {
		d.Log.Warn("backup abandoned", "source", name)
		return
	}
	d.metrics.backups.WithLabelValues(name, "failed").Inc()
	d.mu.Lock()
	s := d.source(name)
	s.failures.failed(d.Now(), err)
	count, again := s.failures.Count, s.failures.again
	d.mu.Unlock()
	d.keep()
	d.Log.Error("backup failed", "source", name, "error", err, "failures", count, "again", again.UTC().Format(time.RFC3339))
	d.tell(notify.Event{Key: backupKey(name), Kind: notify.BackupFailed, Severity: notify.Critical, Policy: p.Name, Source: name,
		Title: fmt.Sprintf("the backup of %s failed", name), Detail: err.Error()})
}

func (d *Daemon) backedUp(p config.Policy, name string, run policies.Run, done *repository.Done, took time.Duration, missed []string) {
	d.metrics.backups.WithLabelValues(name, "committed").Inc()
	d.metrics.duration.WithLabelValues(name, done.Snapshot.Kind).Observe(took.Seconds())
	d.mu.Lock()
	s := d.source(name)
	s.failures = trouble{}
	if done.Snapshot.Kind == "full" {
		s.full = ""
	}
	s.missed += run.Missed
	d.mu.Unlock()
	d.keep()
	id := restore.FormatID(done.Seq)
	d.Log.Info("backed up", "source", name, "snapshot", id, "kind", done.Snapshot.Kind, "due", run.Due.UTC().Format(time.RFC3339), "why", run.Why, "read", done.Snapshot.Read,
		"stored", done.Snapshot.Stored, "took", took.Round(time.Millisecond), "missed_runs", run.Missed, "missed_targets", strings.Join(missed, " "))
	for _, w := range done.Warnings {
		d.Log.Warn("backup", "source", name, "snapshot", id, "warning", w)
	}
	if done.Snapshot.Kind == "full" {
		d.tell(notify.Event{Key: "gap/" + name, Kind: notify.Recovered, Severity: notify.Info, Policy: p.Name, Source: name, Recovered: true,
			Title: fmt.Sprintf("%s can be restored to every point again", name), Detail: "from " + id + " on"})
	}
	d.tell(notify.Event{Key: backupKey(name), Kind: notify.Recovered, Severity: notify.Info, Policy: p.Name, Source: name, Recovered: true,
		Title: fmt.Sprintf("the backup of %s works again", name), Detail: id})
	d.found(p, name, id, done.Damaged)
}

// found tells of what a snapshot found wrong in its source. The findings themselves are in the log alone: they can be names of people's files.
func (d *Daemon) found(p config.Policy, name, id string, what []string) {
	for _, one := range what {
		d.Log.Warn("backup", "source", name, "snapshot", id, "found", one)
	}
	e := notify.Event{Key: "source/" + name, Kind: notify.CopyDamaged, Severity: notify.Critical, Policy: p.Name, Source: name}
	s, _ := d.config().Source(name)
	switch {
	case len(what) == 0:
		e.Recovered, e.Title = true, fmt.Sprintf("no damage is found in %s any more", name)
	case s.Engine == config.Files:
		e.Title = fmt.Sprintf("files of %s are not in the backup", name)
		e.Detail = fmt.Sprintf("%s is committed without what could not be read, %d in all: `lifeboat doctor %s` names it", id, len(what), name)
	default:
		e.Title = fmt.Sprintf("the database of %s is damaged", name)
		e.Detail = fmt.Sprintf("%s holds it as it is; %d findings: restore an older snapshot beside it and compare", id, len(what))
	}
	d.tell(e)
}

// anyFailing reports whether the newest run of one of a policy's sources failed, or there was none.
func (d *Daemon) anyFailing(p config.Policy) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range p.Sources {
		if s := d.source(name); s.failures.Count > 0 || s.last == nil {
			return true
		}
	}
	return false
}

// heartbeat calls a policy's dead man's switch.
func (d *Daemon) heartbeat(ctx context.Context, p config.Policy) {
	if p.Heartbeat == "" {
		return
	}
	d.wait.Go(func() { // nothing waits for it
		if err := notify.Heartbeat(ctx, p.Heartbeat); err != nil && ctx.Err() == nil {
			d.Log.Warn("the heartbeat was not heard", "policy", p.Name, "error", err)
		}
	})
}

// answered tells that somebody has released what an alarm had held.
func (d *Daemon) answered() {
	for _, s := range d.config().Sources {
		d.mu.Lock()
		held := d.source(s.Name).held
		d.mu.Unlock()
		if held == 0 {
			d.tell(notify.Event{Key: "anomaly/" + s.Name, Kind: notify.Recovered, Severity: notify.Info, Source: s.Name, Recovered: true, Title: fmt.Sprintf("the alarm about %s was answered", s.Name)})
		}
	}
}

// targetsSeen tells of targets that were away, or are back.
func (d *Daemon) targetsSeen(h *repository.Host) {
	for _, c := range h.Copies {
		e := notify.Event{Key: "target/" + c.Name, Kind: notify.TargetUnreachable, Severity: notify.Warning, Target: c.Name, Title: fmt.Sprintf("target %s was missed", c.Name)}
		if c.Err != nil {
			e.Detail = c.Err.Error()
		} else if c.Position == h.Chain().Len() {
			e.Recovered, e.Kind, e.Severity, e.Title = true, notify.Recovered, notify.Info, fmt.Sprintf("target %s is complete again", c.Name)
		} else {
			continue
		}
		d.tell(e)
	}
}

func (d *Daemon) enqueueCopy() {
	progress := &progress{}
	d.queue.add(&job{key: copyKey, what: "bringing copies up to date", claim: writer, progress: progress.read, do: func(ctx context.Context) {
		err := d.withHost(ctx, progress.sum(), func(h *repository.Host) error { return h.Replicate(ctx) })
		d.mu.Lock()
		for _, t := range d.targets {
			t.again = d.Now().Add(copyEvery)
		}
		d.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			d.Log.Error("copies were not brought up to date", "error", err)
		}
	}})
}

// enqueueRecord records the policies in use, before anything is done by them where a target takes records.
func (d *Daemon) enqueueRecord() {
	d.queue.add(&job{key: recordKey, what: "recording the policies", claim: writer, do: func(ctx context.Context) {
		cfg := d.config()
		err := d.withHost(ctx, nil, func(h *repository.Host) error { return RecordPolicies(ctx, h, cfg) })
		d.mu.Lock()
		d.record = d.Now().Add(copyEvery)
		if err == nil {
			d.recorded = cfg
		}
		d.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			d.Log.Warn("the policies are not in the audit log yet", "error", err)
		}
	}})
}

func (d *Daemon) enqueuePrune() {
	d.queue.add(&job{key: pruneKey, what: "retention", claim: writer, do: func(ctx context.Context) {
		var got repository.Collected
		var dropped int
		err := d.withHost(ctx, nil, func(h *repository.Host) error {
			cfg := d.config()
			plan, err := h.Prunable(KeepOf(cfg, d.Now()))
			if err == nil {
				err = RecordPolicies(ctx, h, cfg)
			}
			if err != nil {
				return err
			}
			for _, p := range plan {
				for _, decision := range p.Decisions {
					if !decision.Keep {
						dropped++
					}
				}
			}
			got, err = h.Prune(ctx, plan)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		d.pruned = d.Now()
		d.mu.Unlock()
		d.keep()
		e := notify.Event{Key: pruneKey, Kind: notify.PruneRefused, Severity: notify.Warning, Title: "retention was not applied"}
		if err != nil {
			e.Detail = err.Error()
		} else {
			e.Kind, e.Severity, e.Recovered, e.Title = notify.Recovered, notify.Info, true, "retention is applied again"
			d.Log.Info("retention applied", "dropped", dropped, "condemned", got.Condemned, "logs", got.Logs, "swept", got.Swept)
		}
		d.tell(e)
	}})
}

func (d *Daemon) enqueueCheck(target string) {
	d.queue.add(&job{key: checkKey(target), what: "check of " + target, claim: checker, do: func(ctx context.Context) {
		damaged, err := d.Wiring.Check(ctx, d.config(), target)
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		t := d.target(target)
		if err != nil {
			t.checking.failed(d.Now(), err)
		} else {
			t.checking = trouble{}
		}
		d.mu.Unlock()
		if err != nil {
			d.tell(notify.Event{Key: "unchecked/" + target, Kind: notify.TargetUnreachable, Severity: notify.Warning, Target: target, Title: fmt.Sprintf("the copy on %s could not be checked", target), Detail: err.Error()})
			if damaged == 0 {
				return // nobody knows whether it is whole
			}
		} else {
			d.Log.Info("checked", "target", target, "damaged", damaged)
			d.tell(notify.Event{Key: "unchecked/" + target, Kind: notify.Recovered, Severity: notify.Info, Target: target, Recovered: true, Title: fmt.Sprintf("the copy on %s was checked", target)})
		}
		e := notify.Event{Key: checkKey(target), Kind: notify.CopyDamaged, Severity: notify.Critical, Target: target, Title: fmt.Sprintf("the copy on %s is damaged", target),
			Detail: fmt.Sprintf("%d things are missing or damaged: `lifeboat check --from %s` names them, `lifeboat heal` repairs them from a copy that is whole", damaged, target)}
		if damaged == 0 {
			e.Kind, e.Severity, e.Recovered, e.Title, e.Detail = notify.Recovered, notify.Info, true, fmt.Sprintf("the copy on %s is whole", target), ""
		}
		d.tell(e)
	}})
}

// RecordPolicies records how the policies read that are in use.
func RecordPolicies(ctx context.Context, h interface {
	RecordPolicies(context.Context, map[string][]byte) error
}, cfg *config.Config) error {
	texts, err := config.PolicyTexts(cfg)
	if err != nil {
		return err
	}
	return h.RecordPolicies(ctx, texts)
}
