package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"lifeboat/internal/calendar"
)

// most bounds the counts of the 3-2-1 rule: what is larger is a slip of the finger.
const most = 100

// policy decodes a policy of c, whose sources and targets are decoded already.
func (d *decoder) policy(c *Config) func(string, ast.Node) Policy {
	var sources, targets []string
	for _, s := range c.Sources {
		sources = append(sources, s.Name)
	}
	for _, t := range c.Targets {
		targets = append(targets, t.Name)
	}
	policyOf := map[string]string{} // of a source
	return func(name string, n ast.Node) Policy {
		p := Policy{Name: name, Schedule: Schedule{Zone: hostZone()}, Drill: undrilled}
		var drill ast.Node
		known := true // its sources and targets are: what refers to them can be looked up
		d.section(n, "of a policy",
			field{"sources", true, d.sound(&known, d.owned(&p.Sources, name, policyOf, sources))},
			field{"schedule", false, d.schedule(&p.Schedule)},
			field{"check", false, d.checkSchedule(&p.Check)},
			field{"logs", false, oneOf(d, &p.Logs, "continuous")},
			field{"rpo", false, d.duration(&p.RPO)},
			field{"targets", false, d.sound(&known, d.refs(&p.Targets, "target", targets))},
			field{"retention", false, d.retention(&p.Retention)},
			field{"copies", false, d.copies(&p.Copies)},
			field{"drill", false, func(n ast.Node) { drill = n }}, // last: it refers to the others
			field{"heartbeat", false, d.token(address(d, &p.Heartbeat))},
		)
		if drill != nil {
			d.drill(c, &p, known)(drill)
		}
		for _, c := range []**calendar.Cron{&p.Schedule.Full, &p.Schedule.Incremental, &p.Check, &p.Drill.Schedule} {
			if *c != nil {
				*c = (*c).In(p.Schedule.Zone)
			}
		}
		return p
	}
}

// sound clears ok where set finds a problem.
func (d *decoder) sound(ok *bool, set func(ast.Node)) func(ast.Node) {
	return func(n ast.Node) {
		before := len(d.problems)
		set(n)
		*ok = *ok && len(d.problems) == before
	}
}

// hostZone is the zone of this host, by its name where that can be told: "Local" says nothing to whoever reads the policy elsewhere.
func hostZone() *time.Location {
	if time.Local.String() != "Local" {
		return time.Local
	}
	path, err := os.Readlink("/etc/localtime")
	if _, name, ok := strings.Cut(path, "zoneinfo/"); err == nil && ok {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone
		}
	}
	return time.Local
}

// owned decodes the sources of a policy: each can have one, or which retention counts would be a guess.
func (d *decoder) owned(dst *[]string, policy string, policyOf map[string]string, known []string) func(ast.Node) {
	return func(n ast.Node) {
		d.refs(dst, "source", known)(n)
		for _, s := range *dst {
			if other := policyOf[s]; other != "" && other != policy {
				d.problem(start(n), fmt.Sprintf("source %q is in policy %q already", s, other), "a source has one policy: take it out of one of them")
			}
			policyOf[s] = policy
		}
	}
}

// refs decodes a list of names of things that must be in the file, each once.
func (d *decoder) refs(dst *[]string, kind string, known []string) func(ast.Node) {
	return func(n ast.Node) {
		seen := map[string]bool{}
		for _, v := range d.list(n, "a list of names") {
			var s string
			d.ref(&s, kind, known)(v)
			if seen[s] {
				d.problem(v, fmt.Sprintf("%s %s for the second time", kind, d.quote(v)), "name it once")
			}
			if s != "" {
				seen[s] = true
				*dst = append(*dst, s)
			}
		}
	}
}

func (d *decoder) ref(dst *string, kind string, known []string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		filled(d, &s)(n)
		if s == "" {
			return
		}
		if !slices.Contains(known, s) {
			d.problem(n, fmt.Sprintf("no %s is called %s", kind, d.quote(n)), suggest(s, known))
			return
		}
		*dst = s
	}
}

func (d *decoder) schedule(dst *Schedule) func(ast.Node) {
	return func(n ast.Node) {
		before := len(d.problems)
		d.section(n, "of a schedule",
			field{"full", false, d.cron(&dst.Full)},
			field{"incremental", false, d.cron(&dst.Incremental)},
			field{"timezone", false, d.zone(&dst.Zone)},
			field{"jitter", false, d.duration(&dst.Jitter)},
			field{"blackout", false, d.blackout(&dst.Blackout)})
		if len(d.problems) > before {
			return
		}
		if dst.Full == nil && dst.Incremental == nil {
			d.problem(start(n), "neither full nor incremental", `say when snapshots are taken, such as incremental: "15 * * * *"`)
		}
		if dst.Jitter.Length() > maxJitter {
			d.problem(start(n), "jitter of more than a day", "an hour is enough to spread what runs every hour")
		}
	}
}

// maxJitter keeps what runs every day on its day.
const maxJitter = 24 * time.Hour

func (d *decoder) checkSchedule(dst **calendar.Cron) func(ast.Node) {
	return func(n ast.Node) { d.section(n, "of check", field{"schedule", true, d.cron(dst)}) }
}

// cron decodes a schedule of five fields.
func (d *decoder) cron(dst **calendar.Cron) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		if filled(d, &s)(n); s == "" {
			return
		}
		c, err := calendar.ParseCron(s)
		switch {
		case errors.Is(err, calendar.ErrNever):
			d.problem(n, d.quote(n)+" never comes", "look at the day and the month")
		case err != nil:
			d.problem(n, d.quote(n)+" is not a schedule", `write five fields, minute hour day month weekday, such as "15 * * * *", or @hourly, @daily, @weekly, @monthly, @yearly`)
		default:
			*dst = c
		}
	}
}

// blackout decodes windows in which nothing is begun. Some time of the week must be left.
func (d *decoder) blackout(dst *[]calendar.Window) func(ast.Node) {
	return func(n ast.Node) {
		before := len(d.problems)
		for _, v := range d.list(n, "a list of windows") {
			w := calendar.Always
			d.section(v, "of a window of blackout", d.window(&w)...)
			d.empty(v, w)
			*dst = append(*dst, w)
		}
		if len(d.problems) == before && calendar.Covers(*dst) {
			d.problem(start(n), "a blackout that never ends", `write windows such as {from: "08:00", to: "18:00", days: mon-fri}`)
		}
	}
}

func (d *decoder) retention(dst *Retention) func(ast.Node) {
	return func(n ast.Node) {
		before := len(d.problems)
		d.section(n, "of retention",
			field{"pitr", false, d.duration(&dst.PITR)},
			field{"daily", false, d.duration(&dst.Daily)},
			field{"weekly", false, d.duration(&dst.Weekly)},
			field{"monthly", false, d.duration(&dst.Monthly)},
			field{"yearly", false, d.duration(&dst.Yearly)},
			field{"minimum", false, d.duration(&dst.Minimum)},
			field{"allow_below_90d", false, filled(d, &dst.AllowBelow90d)})
		if len(d.problems) == before && *dst == (Retention{AllowBelow90d: dst.AllowBelow90d}) {
			d.problem(start(n), "retention that keeps nothing", "say for how long, such as daily: 90d; without retention everything is kept")
		}
	}
}

func (d *decoder) copies(dst *Copies) func(ast.Node) {
	return func(n ast.Node) {
		d.section(n, "of copies",
			field{"count", false, d.whole(&dst.Count, 1, most)},
			field{"media", false, d.whole(&dst.Media, 0, most)},
			field{"offsite", false, d.whole(&dst.Offsite, 0, most)},
			field{"immutable", false, d.whole(&dst.Immutable, 0, most)})
	}
}
