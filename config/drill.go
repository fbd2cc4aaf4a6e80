package config

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"lifeboat/internal/calendar"
)

// Drill is how a policy proves its backups. A policy that says nothing of it has the defaults, for drills that somebody asks for.
type Drill struct {
	Schedule *calendar.Cron    // nil: by hand only
	Mode     DrillMode         // DrillRestore unless set
	RTO      calendar.Duration // how long a restore may take; zero is not said
	Select   Select            // SelectLatest unless set
	Window   calendar.Duration // how far back what is drawn may be; zero: all that can be restored
	From     string            // a target's name, or Rotate, which it is unless set
	Source   string            // a database of the policy; empty: each of them in turn
	Scratch  string            // directory that drills restore into; empty is the program's choice
	// IdentityAccepted is set where the backup host itself may have an identity.
	IdentityAccepted bool
	// CanaryAccepted is set where a row may be written to each database right before each snapshot, for drills to look for. Nothing else is ever written there.
	CanaryAccepted bool
	Baseline       calendar.Duration // how long tables may be counted in production, at a snapshot; zero: they are not
	TimeLimit      calendar.Duration // of each check; a minute unless set
	Checks         []Check
}

// undrilled is what a policy says of drills by saying nothing.
var undrilled = Drill{Mode: DrillRestore, Select: SelectLatest, From: Rotate, TimeLimit: calendar.Duration{N: 1, Unit: "m"}}

// Rotate is the From that takes one copy after the other.
const Rotate = "rotate"

// DrillMode is how much a drill does.
type DrillMode string

// The modes of drills.
const (
	DrillRestore DrillMode = "restore" // the database is restored, started and asked
	DrillFull    DrillMode = "full"    // so, and the files that belong with it
	DrillTier1   DrillMode = "tier1"   // everything is decrypted and hashed, and nothing started
)

// Select is how the point to restore is picked.
type Select string

// The selections.
const (
	SelectLatest   Select = "latest"
	SelectRandom   Select = "random"   // any time that can be restored
	SelectSnapshot Select = "snapshot" // any snapshot
)

// longestLimit bounds what a drill's statements may take.
const longestLimit = 24 * 60 // minutes

// drill decodes the drill of a policy of c. known says that the policy's own sources and targets are right, so that what is not among them is wrong.
func (d *decoder) drill(c *Config, p *Policy, known bool) func(ast.Node) {
	var databases []string
	for _, s := range c.Sources {
		if s.Engine != Files && (!known || slices.Contains(p.Sources, s.Name)) {
			databases = append(databases, s.Name)
		}
	}
	from := []string{Rotate}
	for _, t := range c.Targets {
		if !known || len(p.Targets) == 0 || slices.Contains(p.Targets, t.Name) {
			from = append(from, t.Name)
		}
	}
	return func(n ast.Node) {
		dst, identity, canary := &p.Drill, "", ""
		var window ast.Node
		picked := true // its selection is one
		d.section(n, "of a drill",
			field{"schedule", false, d.cron(&dst.Schedule)},
			field{"mode", false, oneOf(d, &dst.Mode, DrillRestore, DrillFull, DrillTier1)},
			field{"rto", false, d.duration(&dst.RTO)},
			field{"select", false, d.sound(&picked, oneOf(d, &dst.Select, SelectLatest, SelectRandom, SelectSnapshot))},
			field{"window", false, func(n ast.Node) { window = n; d.duration(&dst.Window)(n) }},
			field{"from", false, d.member(&dst.From, "target of this policy", from)},
			field{"source", false, d.member(&dst.Source, "database of this policy", databases)},
			field{"scratch", false, filled(d, &dst.Scratch)},
			field{"identity_on_host", false, oneOf(d, &identity, "accepted")},
			field{"canary", false, oneOf(d, &canary, "accepted")},
			field{"baseline", false, d.limit(&dst.Baseline, true)},
			field{"time_limit", false, d.limit(&dst.TimeLimit, false)},
			field{"checks", false, d.checks(&dst.Checks)})
		dst.IdentityAccepted, dst.CanaryAccepted = identity != "", canary != ""
		if window != nil && picked && dst.Select == SelectLatest {
			d.problem(window, "a window, and nothing is drawn from it", "write select: random for any time in it, or select: snapshot for any snapshot; or take window out")
		}
	}
}

// member decodes the name of one of a few things.
func (d *decoder) member(dst *string, kind string, known []string) func(ast.Node) {
	return func(n ast.Node) {
		if len(known) == 0 {
			d.problem(n, fmt.Sprintf("no %s is called %s", kind, d.quote(n)), "it has none")
			return
		}
		d.ref(dst, kind, known)(n)
	}
}

// limit decodes how long statements may take; none says that 0 is allowed, which is no time at all.
func (d *decoder) limit(dst *calendar.Duration, none bool) func(ast.Node) {
	return func(n ast.Node) {
		if r, ok := d.resolve(n); !ok || none && nodeText(r) == "0" {
			return
		}
		var v calendar.Duration
		if d.duration(&v)(n); v.Length().Minutes() > longestLimit {
			d.problem(n, "more than a day", "write a time like 30s or 5m")
			return
		}
		if !v.IsZero() {
			*dst = v
		}
	}
}
