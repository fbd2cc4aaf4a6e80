package config

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
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
	return func(name string, n ast.Node) Policy {
		p := Policy{Name: name}
		d.section(n, "of a policy",
			field{"sources", true, d.refs(&p.Sources, "source", sources)},
			field{"schedule", false, d.schedule(&p.Schedule)},
			field{"logs", false, oneOf(d, &p.Logs, "continuous")},
			field{"rpo", false, d.duration(&p.RPO)},
			field{"targets", false, d.refs(&p.Targets, "target", targets)},
			field{"retention", false, d.retention(&p.Retention)},
			field{"copies", false, d.copies(&p.Copies)},
			field{"drill", false, d.drill(&p.Drill, append([]string{"rotate"}, targets...))},
		)
		return p
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
		d.section(n, "of a schedule",
			field{"full", false, filled(d, &dst.Full)},
			field{"incremental", false, filled(d, &dst.Incremental)},
			field{"timezone", false, filled(d, &dst.Timezone)})
	}
}

func (d *decoder) retention(dst *Retention) func(ast.Node) {
	return func(n ast.Node) {
		d.section(n, "of retention",
			field{"pitr", false, d.duration(&dst.PITR)},
			field{"daily", false, d.duration(&dst.Daily)},
			field{"weekly", false, d.duration(&dst.Weekly)},
			field{"monthly", false, d.duration(&dst.Monthly)},
			field{"yearly", false, d.duration(&dst.Yearly)})
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

func (d *decoder) drill(dst *Drill, from []string) func(ast.Node) {
	return func(n ast.Node) {
		d.section(n, "of a drill",
			field{"schedule", false, filled(d, &dst.Schedule)},
			field{"rto", false, d.duration(&dst.RTO)},
			field{"select", false, filled(d, &dst.Select)},
			field{"window", false, d.duration(&dst.Window)},
			field{"from", false, d.ref(&dst.From, "target", from)},
			field{"checks", false, d.checks(&dst.Checks)})
	}
}

func (d *decoder) checks(dst *[]Check) func(ast.Node) {
	return func(n ast.Node) {
		for _, v := range d.list(n, "a list of checks") {
			var c Check
			d.section(v, "of a check",
				field{"name", true, filled(d, &c.Name)},
				field{"sql", true, filled(d, &c.SQL)},
				field{"min", false, d.number(&c.Min)})
			*dst = append(*dst, c)
		}
	}
}
