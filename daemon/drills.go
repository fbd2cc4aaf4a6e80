package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/config"
	"lifeboat/journal"
	"lifeboat/notify"
	"lifeboat/policies"
	"lifeboat/repository"
)

// DrillJob is a drill that is due.
type DrillJob struct {
	Policy config.Policy
	Source string // a database of it
	Queued time.Time
	policies.DrillDue
}

// DrillResult is what a drill came to.
type DrillResult struct {
	ID, Policy, Source, Copy, Mode, Result string
	Detail                                 string // why it did not pass
}

const drillsKey = "drills"

func drillKey(policy string) string { return "drill/" + policy }

// policyDrills is what the daemon knows of the drills of a policy.
type policyDrills struct {
	runs    []policies.DrilledRun
	failing []string // "crm from disk", of which the last drill that came to a verdict failed
	last    *repository.Drilled
	since   time.Time // when there first was something to drill; zero: there is nothing
	trouble trouble   // of drills that did not even come to a report
}

// drillsOf takes from the journal what was drilled, by policy.
func drillsOf(stateDir string, chain *journal.Chain, opaque func(string) string, cfg *config.Config) map[string]*policyDrills {
	all := repository.Drills(chain, repository.WaitingDrills(stateDir))
	out := map[string]*policyDrills{}
	for _, p := range cfg.Policies {
		sources := map[string]bool{}
		for _, name := range p.Sources {
			sources[opaque(name)] = true
		}
		known := &policyDrills{since: firstSnapshot(chain, sources)}
		for i, d := range all {
			if d.Policy == opaque(repository.OpaquePolicy+p.Name) {
				known.runs = append(known.runs, RunOf(d, opaque, cfg))
				known.last = &all[i]
				known.judge(known.runs[len(known.runs)-1], d.Mode)
			}
		}
		out[p.Name] = known
	}
	return out
}

// judge takes in what a drill says of the copy that it read. One that restored nothing proves nothing, and may find fault all the same.
func (k *policyDrills) judge(r policies.DrilledRun, mode string) {
	if r.Result == policies.Unknown || r.Copy == "" || r.Result == policies.Passed && mode == string(config.DrillTier1) {
		return
	}
	name := r.Source + " from " + r.Copy
	k.failing = slices.DeleteFunc(k.failing, func(s string) bool { return s == name })
	if r.Result == policies.Failed {
		k.failing = append(k.failing, name)
	}
}

// RunOf is a drill with the names that a configuration has for what stands in its record.
func RunOf(d repository.Drilled, opaque func(string) string, cfg *config.Config) policies.DrilledRun {
	r := policies.DrilledRun{Began: d.Began, Result: d.Result}
	if d.Due != nil {
		r.Due = *d.Due
	}
	for _, s := range cfg.Sources {
		if opaque(s.Name) == d.Source {
			r.Source = s.Name
		}
	}
	for _, t := range cfg.Targets {
		if opaque(repository.OpaqueTarget+t.Name) == d.Copy {
			r.Copy = t.Name
		}
	}
	return r
}

// firstSnapshot is when the first snapshot of some sources was taken, dropped ones too.
func firstSnapshot(c *journal.Chain, sources map[string]bool) time.Time {
	for _, e := range c.Entries() {
		if e.Snapshot != nil && sources[e.Snapshot.Source] {
			return e.Time
		}
	}
	return time.Time{}
}

// Databases are the sources of a policy that can be started.
func Databases(cfg *config.Config, p config.Policy) (out []string) {
	for _, name := range p.Sources {
		if s, _ := cfg.Source(name); s.Engine != config.Files {
			out = append(out, name)
		}
	}
	return out
}

// due says whether a drill is due.
func (k *policyDrills) due(p config.Policy, now time.Time) (policies.DrillDue, bool) {
	if k == nil || k.since.IsZero() || p.Drill.Schedule == nil {
		return policies.DrillDue{}, false
	}
	return policies.DrillSchedule{Cron: p.Drill.Schedule, Since: k.since}.Due(now, k.runs)
}

// drillDue says whether a drill of a policy is due.
func (d *Daemon) drillDue(now time.Time, p config.Policy) (policies.DrillDue, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drills[p.Name].due(p, now)
}

// lookForDrills puts drills that are due into the queue, where this host may make them.
func (d *Daemon) lookForDrills(now time.Time, cfg *config.Config) {
	for _, p := range cfg.Policies {
		due, ok := d.drillDue(now, p)
		databases := Databases(cfg, p)
		if !ok || !d.here(p) || len(databases) == 0 {
			continue
		}
		d.mu.Lock()
		known := d.drills[p.Name]
		waits := known.trouble.waits(now)
		source := policies.PickSource(now, databases, known.runs)
		d.mu.Unlock()
		if p.Drill.Source != "" {
			source = p.Drill.Source
		}
		if !waits {
			d.enqueueDrill(DrillJob{Policy: p, Source: source, Queued: now, DrillDue: due})
		}
	}
}

func (d *Daemon) enqueueDrill(j DrillJob) {
	d.queue.add(&job{key: drillKey(j.Policy.Name), what: "drill of " + j.Source, claim: driller, do: func(ctx context.Context) {
		result, err := d.Wiring.Drill(ctx, d.config(), j)
		if ctx.Err() != nil && result == nil {
			return
		}
		if result != nil {
			d.drilled(*result)
			err = d.recordDrill(ctx)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		known := d.drills[j.Policy.Name]
		switch {
		case known == nil:
		case err != nil:
			known.trouble.failed(d.Now(), err)
			d.Log.Error("the drill came to nothing, or is not recorded yet", "policy", j.Policy.Name, "error", err)
		default:
			known.trouble = trouble{}
		}
	}})
}

// recordDrill records a drill, and learns that it was made.
func (d *Daemon) recordDrill(ctx context.Context) error {
	if d.Drills {
		return d.observe(ctx)
	}
	return d.withHost(ctx, nil, func(*repository.Host) error { return nil })
}

// bury reports drills that were killed, which the next start finds.
func (d *Daemon) bury() {
	d.queue.add(&job{key: drillsKey, what: "reporting drills that were killed", claim: driller, do: func(ctx context.Context) {
		dead, err := d.Wiring.Bury(ctx, d.config())
		for _, r := range dead {
			d.drilled(r)
		}
		if err != nil && ctx.Err() == nil {
			d.Log.Error("a drill that was killed cannot be reported", "error", err)
		}
	}})
}

// drilled tells what a drill came to. What one copy does not have, a drill of another does not bring back.
func (d *Daemon) drilled(r DrillResult) {
	if r.Mode == string(config.DrillTier1) && r.Result == policies.Passed {
		d.Log.Info("drilled", "policy", r.Policy, "source", r.Source, "target", r.Copy, "drill", r.ID, "mode", r.Mode, "result", r.Result)
		return // nothing was restored
	}
	d.Log.Info("drilled", "policy", r.Policy, "source", r.Source, "target", r.Copy, "drill", r.ID, "result", r.Result)
	const whichever = "any copy"
	key, from := drillKey(r.Policy)+"/"+r.Source+"/", cmp.Or(r.Copy, whichever)
	if r.Copy != "" {
		d.tell(notify.Event{Key: key + whichever, Kind: notify.Recovered, Severity: notify.Info, Recovered: true, Policy: r.Policy, Source: r.Source, Title: fmt.Sprintf("a copy of %s can be drilled again", r.Source)})
	}
	e := notify.Event{Key: key + from, Kind: notify.Drill, Severity: notify.Critical, Policy: r.Policy, Source: r.Source, Target: r.Copy,
		Title: fmt.Sprintf("the drill of %s from %s failed", r.Source, from), Detail: fmt.Sprintf("`lifeboat drill show %s` has all of it%s", r.ID, r.Detail)}
	switch r.Result {
	case policies.Passed:
		e.Kind, e.Severity, e.Recovered, e.Title, e.Detail = notify.Recovered, notify.Info, true, fmt.Sprintf("a drill of %s from %s passed", r.Source, from), "drill "+r.ID
	case policies.Unknown:
		e.Severity, e.Title = notify.Warning, fmt.Sprintf("the drill of %s from %s stayed inconclusive", r.Source, from)
	}
	d.tell(e)
}

// overdue tells of drills that should have been made and were not, here or on the host that makes them.
func (d *Daemon) overdue(now time.Time, cfg *config.Config) {
	for _, p := range cfg.Policies {
		if p.Drill.Schedule == nil {
			continue
		}
		due, _ := d.drillDue(now, p)
		e := notify.Event{Key: "overdue/" + p.Name, Kind: notify.Drill, Severity: notify.Critical, Policy: p.Name, Title: fmt.Sprintf("the drill of policy %s is overdue", p.Name),
			Detail: fmt.Sprintf("since %s; it was due at %s, and %d times before that were missed: %s", due.Overdue.UTC().Format(time.RFC3339), due.Due.UTC().Format(time.RFC3339), len(due.Missed), d.whyNoDrill(p))}
		if due.Overdue.IsZero() {
			e.Kind, e.Severity, e.Recovered, e.Title, e.Detail = notify.Recovered, notify.Info, true, fmt.Sprintf("policy %s is drilled in time again", p.Name), ""
		}
		d.tell(e)
	}
}

// whyNoDrill says what hinders drills of a policy here.
func (d *Daemon) whyNoDrill(p config.Policy) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.drills[p.Name]
	switch {
	case !d.here(p) && d.hosts:
		return "a drill host makes it: look at its daemon, and whether a target lets it write below hosts/"
	case !d.Identity:
		return "this daemon has no identity: start one with --identity where drills shall run, or make one by hand with `lifeboat drill run " + p.Name + " --identity FILE`"
	case !d.here(p):
		return "the policy does not accept an identity on the backup host (drill.identity_on_host)"
	case known != nil && known.trouble.Count > 0:
		return known.trouble.Why
	}
	return "it waits for its turn"
}

// DrillStatus is how the drills of a policy stand.
type DrillStatus struct {
	Policy  string     `json:"policy"`
	Here    bool       `json:"here"` // this daemon makes them
	Last    *time.Time `json:"last"`
	Result  string     `json:"last_result"`
	Copy    string     `json:"last_copy"`
	RTO     int64      `json:"last_rto_ms"`
	RPO     int64      `json:"last_rpo_ms"`
	Next    *time.Time `json:"next"`
	Due     *time.Time `json:"due"`     // that waits to be served
	Overdue *time.Time `json:"overdue"` // since when
	Missed  int        `json:"missed"`
	Failing []string   `json:"failing"` // "crm from disk", of which the last drill that came to a verdict failed
	Error   string     `json:"error,omitempty"`
}

// status is how the drills of a policy stand; false where there are none, and none is scheduled.
func (k *policyDrills) status(p config.Policy, now time.Time) (s DrillStatus, ok bool) {
	if p.Drill.Schedule == nil && (k == nil || k.last == nil) {
		return s, false
	}
	due, ok := k.due(p, now)
	s = DrillStatus{Policy: p.Name, Missed: len(due.Missed), Overdue: moment(due.Overdue), Failing: []string{}}
	if ok {
		s.Due = moment(due.Due)
	}
	if p.Drill.Schedule != nil {
		s.Next = moment(p.Drill.Schedule.Next(now))
	}
	if k == nil {
		return s, true
	}
	s.Error, s.Failing = k.trouble.Why, append(s.Failing, k.failing...)
	if k.last != nil {
		s.Last, s.Result, s.Copy, s.RTO, s.RPO = moment(k.last.At), k.last.Result, k.runs[len(k.runs)-1].Copy, k.last.RTO, k.last.RPO
	}
	return s, true
}

// drillStatus is how the drills of all policies that have some stand.
func (d *Daemon) drillStatus(now time.Time, cfg *config.Config) []DrillStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return statuses(d.drills, cfg, now, d.here)
}

func statuses(all map[string]*policyDrills, cfg *config.Config, now time.Time, here func(config.Policy) bool) []DrillStatus {
	out := []DrillStatus{}
	for _, p := range cfg.Policies {
		if s, ok := all[p.Name].status(p, now); ok {
			s.Here = here(p)
			out = append(out, s)
		}
	}
	return out
}

// DrillsOf is how the drills of all policies stand by a journal, where no daemon can be asked.
func DrillsOf(stateDir string, chain *journal.Chain, opaque func(string) string, cfg *config.Config, now time.Time) []DrillStatus {
	return statuses(drillsOf(stateDir, chain, opaque, cfg), cfg, now, func(config.Policy) bool { return false })
}

// Trouble says what is wrong with the drills of a policy; empty where nothing is.
func (s DrillStatus) Trouble() string {
	switch {
	case s.Overdue != nil:
		return fmt.Sprintf("the drill of policy %s is overdue since %s", s.Policy, s.Overdue.Format(time.RFC3339))
	case len(s.Failing) > 0:
		return fmt.Sprintf("the last drill of %s failed: `lifeboat drill list` names its report", strings.Join(s.Failing, ", of "))
	case s.Last != nil && s.Result != policies.Passed:
		return fmt.Sprintf("the last drill of policy %s ended with the result: %s: `lifeboat drill show latest`", s.Policy, s.Result)
	}
	return ""
}
