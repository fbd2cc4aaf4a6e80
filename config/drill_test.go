package config_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lifeboat/config"
	"lifeboat/internal/calendar"
)

// drilled is a configuration with a drill.
func drilled(drill string) string {
	return minimal + `  tape: {type: local, path: /t}
sources:
  crm: {engine: sqlite, path: x}
  other: {engine: sqlite, path: x}
  up: {engine: files, paths: [x]}
policies:
  p:
    sources: [crm, up]
    targets: [disk]
    drill: {` + drill + "}\n"
}

func TestDrillProblems(t *testing.T) {
	check := func(s string) string { return "checks: [{name: n, " + s + "}]" }
	for _, tt := range []struct {
		drill string
		want  []string // without file and line
	}{
		{"mode: fast, select: newest, identity_on_host: yes, from: tape, source: up, scratch: ''", []string{
			`19: unknown value "fast": known are restore, full, tier1`,
			`33: unknown value "newest": known are latest, random, snapshot`,
			`59: unknown value "yes": known are accepted`,
			`70: no target of this policy is called "tape": known are rotate, disk`,
			`84: no database of this policy is called "up": known are crm`,
			`97: empty: give a value`}},
		{"source: other, mode: ful, identity_on_host: acepted", []string{
			`21: no database of this policy is called "other": known are crm`,
			`34: unknown value "ful": did you mean "full"?`,
			`57: unknown value "acepted": did you mean "accepted"?`}},
		{"canary: yes, window: 30d, select: random", []string{`21: unknown value "yes": known are accepted`}},
		{"canary: acepted", []string{`21: unknown value "acepted": did you mean "accepted"?`}},
		{"window: 30d", []string{"21: a window, and nothing is drawn from it: write select: random for any time in it, or select: snapshot for any snapshot; or take window out"}},
		{"select: snapshot, window: 0d", []string{`39: "0d" is not a duration: write a number and a unit of s, m, h, d, w, mo or y, up to 100y`}},
		{"baseline: 30, time_limit: 0, rto: never", []string{
			"23: a duration without a unit: write 30d, or with another of s, m, h, w, mo and y",
			"39: a duration without a unit: write 30d, or with another of s, m, h, w, mo and y",
			`47: "never" is not a duration: write a number and a unit of s, m, h, d, w, mo or y, up to 100y`}},
		{"baseline: 2d, time_limit: 25h", []string{"23: more than a day: write a time like 30s or 5m", "39: more than a day: write a time like 30s or 5m"}},
		{"checks: []", []string{"21: an empty list: leave the key out, or name something"}},
		{check("sql: select 1"), []string{"22: a check that expects nothing: write one of equals, min, max, matches and within, such as min: 1"}},
		{check("sql: select 1, min: 1, within: 5%"), []string{"22: a check that expects several things: keep one of equals, min with max, matches and within; write a check for each"}},
		{check("sql: select 1, min: 3, max: 2"), []string{"22: min is more than max: nothing is between them: exchange them"}},
		{check("min: 1"), []string{`22: no "sql" of a check: it is required`}},
		{check("sql: '', equals: true, severity: fatal"), []string{
			"37: empty: give a value", "49: wrong type: want a text or a number: put it in quotes", `65: unknown value "fatal": known are critical, warning`}},
		{check("sql: ' -- nothing', min: 1"), []string{"37: no statement: write one that selects a single value, such as select count(*) from customer"}},
		{check("sql: select 1; select 2, min: 1"), []string{"37: several statements: write one that selects a single value, and a check for each"}},
		{check("sql: " + strings.Repeat("x", 64<<10+1) + ", min: 1"), []string{"37: a statement of more than 65536 bytes: put it into a view or a function of the database"}},
		{check("sql: select 1, matches: 'a(?=b)'"), []string{
			`56: "a(?=b)" is not a regular expression: write one of RE2, without look-ahead and back-references, such as "^[0-9]+$$"; a dollar is written twice`}},
		{check("sql: select 1, matches: 'a$'"), []string{`56: a lone dollar sign: write $$ for a dollar, ${NAME} for a variable of the environment`}},
		{check("sql: select 1, within: 5"), []string{"55: a number without a percent sign: write a number with a percent sign, above 0% and up to 100%, such as 5%"}},
		{"checks: [{name: a, sql: x, within: 0%}, {name: b, sql: x, within: 101%}, {name: c, sql: x, within: NaN%}, {name: d, sql: x, within: 5 %}]", []string{
			`48: "0%" is not a percentage: write a number with a percent sign, above 0% and up to 100%, such as 5%`,
			`79: "101%" is not a percentage: write a number with a percent sign, above 0% and up to 100%, such as 5%`,
			`112: "NaN%" is not a percentage: write a number with a percent sign, above 0% and up to 100%, such as 5%`,
			`145: "5 %" is not a percentage: write a number with a percent sign, above 0% and up to 100%, such as 5%`}},
		{`checks: [{name: a, sql: x, min: 1}, {name: a, sql: x, min: 1}, {name: " b", sql: x, min: 1}, {name: "a\nb", sql: x, mni: 1}]`, []string{
			`49: check "a" for the second time: the first is on line 15: each needs a name of its own`,
			`83: name " b": the name of a check is at most 64 characters that can be printed, without spaces around them`,
			"106: a check that expects nothing: write one of equals, min, max, matches and within, such as min: 1",
			`113: name "a\nb": the name of a check is at most 64 characters that can be printed, without spaces around them`,
			`129: unknown key "mni" of a check: did you mean "max"?`}},
	} {
		_, err := config.Parse("f", []byte(drilled(tt.drill)), lookup)
		problems, _ := errors.AsType[config.Problems](err)
		var got []string
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.Error(), "f:15:"))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%.80s: got\n%s\nwant\n%s", tt.drill, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// TestDrillOfWhatIsWrong blames nothing on a drill that may be right once the policy's own lists are.
func TestDrillOfWhatIsWrong(t *testing.T) {
	text := strings.Replace(drilled("source: crm, from: disk"), "[crm, up]", "[cmr, up]", 1)
	_, err := config.Parse("f", []byte(text), lookup)
	if err == nil || err.Error() != `f:13:15: no source is called "cmr": did you mean "crm"?` {
		t.Error(err)
	}
	text = strings.Replace(drilled("source: crm"), "[crm, up]", "[up]", 1)
	_, err = config.Parse("f", []byte(text), lookup)
	if err == nil || err.Error() != `f:15:21: no database of this policy is called "crm": it has none` {
		t.Error(err)
	}
}

func TestManyChecks(t *testing.T) {
	var checks []string
	for i := range 1001 {
		checks = append(checks, fmt.Sprintf("{name: c%d, sql: x, min: 1}", i))
	}
	for n, want := range map[int]string{1000: "", 1001: "more than 1000 checks: let one statement look at several things"} {
		_, err := config.Parse("f", []byte(drilled("checks: ["+strings.Join(checks[:n], ", ")+"]")), lookup)
		if got := fmt.Sprint(err); (err == nil) != (want == "") || !strings.HasSuffix(got, want) && err != nil {
			t.Errorf("%d: %.200s", n, got)
		}
	}
}

// TestDrillDefaults are those of a policy that says nothing, too.
func TestDrillDefaults(t *testing.T) {
	want := config.Drill{Mode: config.DrillRestore, Select: config.SelectLatest, From: config.Rotate, TimeLimit: calendar.Duration{N: 1, Unit: "m"}}
	for _, drill := range []string{"", "baseline: 0"} {
		text := drilled(drill)
		if drill == "" {
			text = strings.Replace(text, "    drill: {}\n", "", 1)
		}
		c, err := config.Parse("f", []byte(text), lookup)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c.Policies[0].Drill, want) {
			t.Errorf("%q: %+v", drill, c.Policies[0].Drill)
		}
	}
}

// TestStatements tells one statement from several, by the quotes of any engine.
func TestStatements(t *testing.T) {
	for sql, one := range map[string]bool{
		"select 1":                               true,
		" select 1 ; -- done\n ; /* ; select */": true,
		"select ';', \";\", `;`":                 true,
		"select 'it''s;' ; ":                     true,
		`select 'it\'s; so'`:                     true,
		`select '\'; drop table x; --'`:          true, // in MySQL
		"select $$;$$, $a_1$;$$;$a_1$":           true,
		"select $1; select 1 where a = '$'":      false,
		"select 1; select 2":                     false,
		"select 1;\n-- more\ndelete from x":      false,
		"select 'a'; delete from x where y = ''": false,
		"/* open ; select 1":                     false,
		"select /* ; */ 1":                       true,
		";":                                      false,
	} {
		text := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "$", "$$").Replace(sql)
		_, err := config.Parse("f", []byte(drilled(`checks: [{name: n, sql: "`+text+`", min: 1}]`)), lookup)
		if (err == nil) != one {
			t.Errorf("%q: %v", sql, err)
		}
	}
}
