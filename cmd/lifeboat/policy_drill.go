package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"lifeboat/config"
	"lifeboat/policies"
)

// drillMeaning says how a policy is drilled.
func drillMeaning(cfg *config.Config, p config.Policy, now time.Time) (out []string) {
	d := p.Drill
	if d.Schedule == nil {
		return []string{"drilled by hand only: nothing proves by itself that it can be restored"}
	}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	say("drilled %s, next %s", d.Schedule.Words(), whenText(d.Schedule.Next(now)))
	databases, files := drillable(cfg, p)
	what := fmt.Sprintf("%s as of %s, from %s", turns(databases), selectWords(cfg, p), fromWords(cfg, p))
	switch {
	case d.Mode == config.DrillTier1:
		say("each drill decrypts and hashes %s, and starts nothing", what)
	case d.Mode == config.DrillFull && len(files) > 0:
		say("each drill restores and starts %s, with %s beside it", what, english.WordSeries(files, "and"))
	default:
		say("each drill restores and starts %s", what)
	}
	if d.RTO.IsZero() {
		say("a restore may take %s, as the policy says nothing else", policies.DefaultRTO.Words())
	} else {
		say("a restore may take %s", d.RTO.Words())
	}
	if n := len(d.Checks); n > 0 && d.Mode != config.DrillTier1 {
		say("the restored database is asked %s of the policy's own, each for up to %s", english.Plural(n, "check", ""), d.TimeLimit.Words())
	}
	if !d.Baseline.IsZero() {
		say("with each snapshot tables are counted in production, for up to %s, to compare with", d.Baseline.Words())
	}
	if d.IdentityAccepted {
		say("the backup host may have an identity, to drill with")
	}
	return out
}

// drillable divides the sources that a policy drills into databases and the files that belong with them.
func drillable(cfg *config.Config, p config.Policy) (databases, files []string) {
	for _, name := range p.Sources {
		switch s, _ := cfg.Source(name); {
		case s.Engine == config.Files:
			files = append(files, name)
		case p.Drill.Source == "" || p.Drill.Source == name:
			databases = append(databases, name)
		}
	}
	return databases, files
}

// turns names what is taken one after the other.
func turns(names []string) string {
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return names[0]
	}
	return english.WordSeries(names, "and") + " in turn"
}

// selectWords say which point is restored.
func selectWords(cfg *config.Config, p config.Policy) string {
	databases, _ := drillable(cfg, p)
	logged, _ := byLog(cfg, p)
	with := slices.ContainsFunc(databases, func(s string) bool { return slices.Contains(logged, s) })
	without := slices.ContainsFunc(databases, func(s string) bool { return !slices.Contains(logged, s) })
	of := ""
	if !p.Drill.Window.IsZero() {
		of = " of the last " + p.Drill.Window.Words()
	}
	switch {
	case p.Drill.Select == config.SelectLatest:
		return "the newest point there is"
	case p.Drill.Select == config.SelectSnapshot || !with:
		return "a random snapshot" + of
	case without:
		return "a random moment" + of + ", or snapshot where no log is captured"
	}
	return "a random moment" + of
}

// fromWords say which copies are read.
func fromWords(cfg *config.Config, p config.Policy) string {
	if p.Drill.From != config.Rotate {
		return p.Drill.From
	}
	var names []string
	for _, t := range targetsOf(cfg, p) {
		names = append(names, t.Name)
	}
	return turns(names)
}

// quarter is the longest of a year, and a change of the clock.
const quarter = 93 * 24 * time.Hour

// nameless is what Go calls the zone of a host that does not tell its name.
const nameless = "Local"

// drill looks at what drills would not show.
func (w *warner) drill() {
	d := w.p.Drill
	if d.Schedule == nil {
		w.warn(`write a schedule, such as drill: {schedule: "0 4 * * 6", select: random}`, "it is never drilled: what was not restored may not be restorable")
		return
	}
	if every := (policies.Schedule{Full: d.Schedule}).Longest(w.now); every > quarter {
		w.warn("drill at least once a quarter", "up to %s pass between drills", plainly(every))
	}
	if w.p.Schedule.Zone.String() == nameless {
		w.warn("write a timezone into the policy's schedule, such as timezone: Asia/Shanghai", "its drills go by the time zone of this host, which has no name: an auditor cannot tell when one was due")
	}
	databases, files := drillable(w.cfg, w.p)
	switch {
	case len(databases) == 0:
		w.warn("put the database that the files belong to into the policy, and restore files by hand", "there is no database to drill")
	case d.Mode == config.DrillTier1:
		w.warn("write mode: restore", "its drills start nothing: what was not restored may not be restorable, and checks are not run")
	case len(d.Checks) == 0:
		w.warn(`write checks, such as checks: [{name: customers, sql: "select count(*) from customer", min: 1}]`, "its drills have no checks: a database that is whole, and empty, would pass")
	}
	if d.Mode == config.DrillFull && len(files) == 0 {
		w.warn("put the files that belong to the database into the policy, or write mode: restore", "mode is full, and there are no files to restore beside the database")
	}
	if d.IdentityAccepted {
		w.warn("drill on another host, with an identity of its own", "identity_on_host is accepted: whoever owns this host can read every backup")
	}
	w.drillWindow(databases)
}

// drillWindow compares from how far back drills draw with how long there is something to draw.
func (w *warner) drillWindow(databases []string) {
	r, window := w.p.Retention, w.p.Drill.Window
	if window.IsZero() || r == (config.Retention{}) {
		return
	}
	logged, _ := byLog(w.cfg, w.p)
	every := func(s string) bool { return slices.Contains(logged, s) }
	switch {
	case w.p.Drill.Select == config.SelectRandom && slices.ContainsFunc(databases, every):
		if !r.PITR.IsZero() && window.Length() > r.PITR.Length() {
			w.warn("make it as long, or write select: snapshot", "drills draw from the last %s, and only in those of pitr, %s, is every second kept", window, r.PITR)
		}
	case window.Length() > longestKept(r):
		w.warn("make it shorter", "drills draw from the last %s, and nothing is kept for so long", window)
	}
}
