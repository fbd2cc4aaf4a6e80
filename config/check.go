package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// Check is an assertion about the restored database: what the first column of the only row has to be. Of Equals, Min with Max, Matches and Within one is
// set. A null meets none of them.
type Check struct {
	Name     string
	SQL      string // one statement
	Equals   *Value
	Min, Max *float64 // both included; nil: no such bound
	Matches  string   // a regular expression as package regexp has them, of any part of the text
	Within   float64  // share of the value of the last drill by which it may be more or less: 0.05 for 5%
	Severity Severity // Critical unless set
}

// Value is what something equals.
type Value struct {
	Text   string
	Number bool // compare as numbers: 5 is 5.00
}

// Severity is how much a check counts.
type Severity string

// The severities: a warning does not make a drill fail.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
)

const (
	maxChecks = 1000
	maxSQL    = 64 << 10 // bytes
)

func (d *decoder) checks(dst *[]Check) func(ast.Node) {
	return func(n ast.Node) {
		nodes := d.list(n, "a list of checks")
		if len(nodes) > maxChecks {
			d.problem(nodes[maxChecks], fmt.Sprintf("more than %d checks", maxChecks), "let one statement look at several things")
			return
		}
		line := map[string]int{} // of a name
		for _, v := range nodes {
			c := d.check(v)
			if first, twice := line[c.Name]; twice && c.Name != "" {
				d.problem(start(v), fmt.Sprintf("check %q for the second time", c.Name), fmt.Sprintf("the first is on line %d: each needs a name of its own", first))
			} else {
				line[c.Name] = start(v).GetToken().Position.Line
			}
			*dst = append(*dst, c)
		}
	}
}

// check decodes one check, which expects one thing.
func (d *decoder) check(n ast.Node) Check {
	c := Check{Severity: Critical}
	expects := map[string]bool{}
	expect := func(what string, set func(ast.Node)) func(ast.Node) {
		return func(n ast.Node) { expects[what] = true; set(n) }
	}
	d.section(n, "of a check",
		field{"name", true, d.title(&c.Name)},
		field{"sql", true, d.statement(&c.SQL)},
		field{"equals", false, expect("equals", d.value(&c.Equals))},
		field{"min", false, expect("min or max", d.number(&c.Min))},
		field{"max", false, expect("min or max", d.number(&c.Max))},
		field{"matches", false, expect("matches", d.expression(&c.Matches))},
		field{"within", false, expect("within", d.percentage(&c.Within))},
		field{"severity", false, oneOf(d, &c.Severity, Critical, Warning)})
	switch {
	case len(expects) > 1:
		d.problem(start(n), "a check that expects several things", "keep one of equals, min with max, matches and within; write a check for each")
	case len(expects) == 0:
		if _, ok := d.resolve(n); ok {
			d.problem(start(n), "a check that expects nothing", "write one of equals, min, max, matches and within, such as min: 1")
		}
	case c.Min != nil && c.Max != nil && *c.Min > *c.Max:
		d.problem(start(n), "min is more than max", "nothing is between them: exchange them")
	}
	return c
}

// title decodes the name of a check, which stands in reports.
func (d *decoder) title(dst *string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		if filled(d, &s)(n); s == "" {
			return
		}
		if len([]rune(s)) > maxName || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(s) != s {
			d.problem(n, "name "+d.quote(n), fmt.Sprintf("the name of a check is at most %d characters that can be printed, without spaces around them", maxName))
			return
		}
		*dst = s
	}
}

// value decodes a text or a number.
func (d *decoder) value(dst **Value) func(ast.Node) {
	return func(n ast.Node) {
		r, ok := d.resolve(n)
		if !ok {
			return
		}
		switch r.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			var number *float64
			if d.number(&number)(r); number != nil {
				*dst = &Value{Text: nodeText(r), Number: true}
			}
			return
		}
		if s, ok := d.text(r, "a text or a number"); ok {
			*dst = &Value{Text: s}
		}
	}
}

func (d *decoder) expression(dst *string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		if filled(d, &s)(n); s == "" {
			return
		}
		if _, err := regexp.Compile(s); err != nil {
			d.problem(n, d.quote(n)+" is not a regular expression", "write one of RE2, without look-ahead and back-references, such as \"^[0-9]+$$\"; a dollar is written twice")
			return
		}
		*dst = s
	}
}

// percentage decodes a share of up to 100%.
func (d *decoder) percentage(dst *float64) func(ast.Node) {
	return func(n ast.Node) {
		const form = "write a number with a percent sign, above 0% and up to 100%, such as 5%"
		r, ok := d.resolve(n)
		if !ok {
			return
		}
		switch r.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			d.problem(n, "a number without a percent sign", form)
			return
		}
		s, ok := d.text(r, "a percentage like 5%")
		if !ok {
			return
		}
		digits, cut := strings.CutSuffix(s, "%")
		v, err := strconv.ParseFloat(digits, 64)
		if !cut || err != nil || !(v > 0 && v <= 100) {
			d.problem(n, d.quote(n)+" is not a percentage", form)
			return
		}
		*dst = v / 100
	}
}
