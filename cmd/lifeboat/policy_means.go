package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/internal/calendar"
	"lifeboat/policies"
)

// meaning says a policy in plain words.
func meaning(cfg *config.Config, p config.Policy, now time.Time) policyMeaning {
	m := policyMeaning{Name: p.Name, Means: []string{}}
	say := func(format string, args ...any) { m.Means = append(m.Means, fmt.Sprintf(format, args...)) }
	to := "all targets"
	if len(p.Targets) > 0 {
		to = english.WordSeries(p.Targets, "and")
	}
	say("%s to %s", english.WordSeries(p.Sources, "and"), to)
	full, incremental := nextOf(p, p.Schedule.Full, now), nextOf(p, p.Schedule.Incremental, now)
	m.NextFull, m.NextIncremental = utc(full), utc(incremental)
	if p.Schedule.Full != nil {
		say("full snapshots %s, %s, next %s", p.Schedule.Full.Words(), zoneWords(p.Schedule.Zone), whenText(full))
	}
	if p.Schedule.Incremental != nil {
		say("increments %s, %s, next %s", p.Schedule.Incremental.Words(), zoneWords(p.Schedule.Zone), whenText(incremental))
	}
	if p.Schedule.Full == nil && p.Schedule.Incremental == nil {
		say("snapshots only by hand, by `lifeboat backup`")
	}
	if j := p.Schedule.Jitter; !j.IsZero() {
		say("up to %s later than on the dot, always by the same, so that not all policies run at once", j.Words())
	}
	for _, w := range p.Schedule.Blackout {
		say("nothing begins %s", w.Words())
	}
	for _, s := range keeping(cfg, p) {
		say("%s", s)
	}
	if !p.RPO.IsZero() {
		say("at most %s of work may be lost", p.RPO.Words())
	}
	if s := copiesWords(p.Copies); s != "" {
		say("%s", s)
	}
	check := "once a week"
	if p.Check != nil {
		check = fmt.Sprintf("%s, next %s", p.Check.Words(), whenText(p.Check.Next(now)))
	}
	say("its copies are checked %s", check)
	for _, s := range drillMeaning(cfg, p, now) {
		say("%s", s)
	}
	if databases := daemon.Databases(cfg, p); p.Drill.CanaryAccepted && len(databases) > 0 {
		say("right before each snapshot of %s a row is written to it, into lifeboat_canary, for drills to look for: nothing else is ever written there", english.WordSeries(databases, "or"))
	}
	if p.Heartbeat != "" {
		say("a heartbeat is sent after each run that reached all of its targets, while no source of it fails")
	}
	return m
}

// nextOf is when a schedule of a policy comes up; zero for none.
func nextOf(p config.Policy, c *calendar.Cron, now time.Time) time.Time {
	s := daemon.ScheduleOf(p)
	s.Full, s.Incremental = c, nil
	return s.Next(now, p.Name)
}

func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// whenText is a time for people, with its day of the week and its zone.
func whenText(t time.Time) string { return t.Format("Mon 2006-01-02 15:04 -07:00") }

func zoneWords(zone *time.Location) string {
	if zone == time.Local {
		return "this host's time"
	}
	return zone.String()
}

// keeping says what can be restored, and what is kept for how long.
func keeping(cfg *config.Config, p config.Policy) (out []string) {
	r := p.Retention
	logged, _ := byLog(cfg, p)
	of := ""
	if len(logged) < len(p.Sources) {
		of = " of " + english.WordSeries(logged, "and")
	}
	switch {
	case len(logged) > 0 && r == (config.Retention{}):
		out = append(out, "the log"+of+" is captured, so that any second from then on can be restored")
	case len(logged) > 0 && r.PITR.IsZero():
		out = append(out, "the log"+of+" is captured, so that any second since the newest snapshot can be restored")
	case len(logged) > 0:
		out = append(out, fmt.Sprintf("the log%s is captured, so that any second of the last %s can be restored", of, r.PITR.Words()))
	default:
		out = append(out, "no log is captured, so that only snapshots can be restored")
	}
	if r == (config.Retention{}) {
		return append(out, "everything is kept for ever")
	}
	if !r.Minimum.IsZero() {
		out = append(out, fmt.Sprintf("every snapshot is kept for %s at least", r.Minimum.Words()))
	}
	if !r.PITR.IsZero() {
		out = append(out, fmt.Sprintf("every snapshot is kept for %s", r.PITR.Words()))
	}
	after := ""
	if !r.PITR.IsZero() || !r.Minimum.IsZero() {
		after = "after that "
	}
	var tiers []string
	for _, t := range []struct {
		span   string
		length calendar.Duration
	}{{"a day", r.Daily}, {"a week", r.Weekly}, {"a month", r.Monthly}, {"a year", r.Yearly}} {
		if !t.length.IsZero() {
			tiers = append(tiers, fmt.Sprintf("one %s for %s", t.span, t.length.Words()))
		}
	}
	if len(tiers) > 0 {
		tiers[0] = strings.Replace(tiers[0], "one ", "one snapshot ", 1)
		out = append(out, after+english.WordSeries(tiers, "and"))
	}
	switch {
	case !belowFloor(r):
	case r.AllowBelow90d != "":
		out = append(out, fmt.Sprintf("less than one a day for %s is enough, because: %s", policies.Floor.Words(), r.AllowBelow90d))
	default:
		out = append(out, fmt.Sprintf("one a day is kept for %s all the same: that is the floor", policies.Floor.Words()))
	}
	return out
}

// belowFloor reports whether the rules alone keep less than the floor.
func belowFloor(r config.Retention) bool {
	return r != (config.Retention{}) && max(r.Daily.Length(), r.PITR.Length(), r.Minimum.Length()) < policies.Floor.Length()
}

// byLog divides the sources of a policy into those whose log it captures and the others.
func byLog(cfg *config.Config, p config.Policy) (logged, others []string) {
	for _, name := range p.Sources {
		if s, _ := cfg.Source(name); p.Logs != "" && s.Engine.HasLog() {
			logged = append(logged, name)
		} else {
			others = append(others, name)
		}
	}
	return logged, others
}

func copiesWords(c config.Copies) string {
	var parts []string
	if c.Count > 0 {
		parts = append(parts, english.Plural(c.Count, "copy", "copies"))
	}
	if c.Media > 0 {
		parts = append(parts, "on "+english.Plural(c.Media, "medium", "media"))
	}
	out := strings.Join(parts, " ")
	for _, more := range []struct {
		n    int
		what string
	}{{c.Offsite, "offsite"}, {c.Immutable, "protected from deletion"}} {
		if more.n > 0 {
			out = strings.TrimPrefix(fmt.Sprintf("%s, %d %s", out, more.n, more.what), ", ")
		}
	}
	if out == "" {
		return ""
	}
	return "at least " + out
}
