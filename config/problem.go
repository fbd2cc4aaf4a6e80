package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Problem is one thing wrong with a configuration file. Neither What nor Hint holds a value from the environment.
type Problem struct {
	File      string
	Line, Col int // from 1; zero where the whole file is meant
	What      string
	Hint      string // what to do about it; may be empty
}

// Error is "file:line:col: what: hint".
func (p Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
	s += ": " + p.What
	if p.Hint != "" {
		s += ": " + p.Hint
	}
	return s
}

// Problems is everything wrong with a file, in its order, and never empty as an error.
type Problems []Problem

// Error has a line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Problem.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, one := range p {
		errs[i] = one
	}
	return errs
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}

// suggest is a hint at what was meant by got: the nearest of known, or all of them where none is near.
func suggest(got string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	distance := func(s string) int { return levenshtein.ComputeDistance(got, s) }
	if len(got) <= 2*maxName { // the distance costs the product of the lengths
		best := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(a), distance(b)) })
		if distance(best) <= max(2, len(best)/3) {
			return fmt.Sprintf("did you mean %q?", best)
		}
	}
	const most = 12
	if len(known) > most {
		return "known are " + strings.Join(known[:most], ", ") + " and more"
	}
	return "known are " + strings.Join(known, ", ")
}
