package config_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lifeboat/config"
)

// TestBombsAreRefused feeds what would cost a naive reader its stack, its memory or an afternoon.
func TestBombsAreRefused(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x, x]\n")
	for i := range 20 {
		fmt.Fprintf(&laughs, "a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	var wide strings.Builder
	wide.WriteString("repository: r\nstate_dir: s\nkeys: {recipients_file: r}\ntargets: {d: {type: local, path: p}}\nsources:\n  a0:\n    engine: files\n    paths: &p [" +
		strings.Repeat("x, ", 5000) + "x]\n")
	for i := range 2000 {
		fmt.Fprintf(&wide, "  b%d: {engine: files, paths: *p}\n", i)
	}
	tests := map[string]struct{ text, want string }{
		"size":           {strings.Repeat("# x\n", 1<<18) + "#", "more than 1048576 bytes"},
		"brackets":       {strings.Repeat("[", 20_000), "1:33: nested more than 32 deep"},
		"brackets lines": {strings.Repeat("[\n", 1<<19), ""},
		"dashes":         {strings.Repeat("- ", 10_000), "nested more than 32 deep"},
		"question marks": {strings.Repeat("? ", 10_000), "nested more than 32 deep"},
		"indents":        {indents(100), "nested more than 32 deep"},
		"keys":           {strings.Repeat("a: b\n", 100_000), "more than 40000 words and signs"},
		"same key":       {strings.Repeat("a: b\n", 13_000), "for the second time"},
		"laughs":         {laughs.String(), "leads through more than 8 others"},
		"wide aliases":   {wide.String(), "too large once its aliases are followed"},
		"self":           {"a: &x\n  - *x\n", "inside what it stands for"},
		"binary":         {"a: \xff\n", "not UTF-8"},
		"zero":           {"a: \x00\n", "zero bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := config.Parse("f", []byte(tt.text), lookup)
			problems, ok := errors.AsType[config.Problems](err)
			if !ok || !strings.Contains(err.Error(), tt.want) || len(problems) > 101 {
				t.Errorf("%d problems, %.300s; want %q", len(problems), err, tt.want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// indents is a mapping in a mapping, deep times.
func indents(deep int) string {
	var s strings.Builder
	for i := range deep {
		fmt.Fprintf(&s, "%sa:\n", strings.Repeat(" ", i))
	}
	return s.String()
}

// FuzzParse checks that no file makes the parser panic, hang, or fail otherwise than with Problems that have a place.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(minimal))
	for _, s := range []string{"", "a: &x [*x]\n", "<<: *a\n", "? a\n: b\n", "a: |\n  b\n", "- - - a\n", "a: !!str 5\n", "a: \"${X}$$\"\n", "%YAML 1.2\n---\na: 1\n...\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		start := time.Now()
		c, err := config.Parse("f", text, lookup)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err == nil {
			if c.Repository == "" || c.StateDir == "" || len(c.Targets) == 0 {
				t.Errorf("accepted without what is required: %+v", c)
			}
			return
		}
		problems, ok := errors.AsType[config.Problems](err)
		if !ok || len(problems) == 0 || c != nil {
			t.Fatalf("error is %v with %v", err, c)
		}
		if strings.Contains(err.Error(), "s3cret") && !strings.Contains(string(text), "s3cret") {
			t.Errorf("a value from the environment shows: %v", err)
		}
	})
}
