package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

const (
	maxProblems = 100     // a person fixes some and looks again
	maxVisits   = 200_000 // of nodes, with aliases followed: more than any file without them can have
)

// decoder turns a tree into values and keeps what was wrong. It goes on after a problem, to find the next.
type decoder struct {
	file     string
	lookup   func(string) (string, bool)
	target   map[*ast.AliasNode]ast.Node
	visits   int
	problems Problems
	inlined  Problems // secrets that stand in the file itself
}

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	at    ast.Node // the key
	value ast.Node
}

// field says what one key of a section is for. A nil set accepts the key and leaves it to its section.
type field struct {
	key      string
	required bool
	set      func(ast.Node)
}

func (d *decoder) problem(at ast.Node, what, hint string) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, problemAt(d.file, at.GetToken(), what, hint))
	}
}

// resolve is the node that n stands for: what an anchor is put on, what an alias leads to. ok is false, with a problem,
// where there is nothing to decode.
func (d *decoder) resolve(n ast.Node) (_ ast.Node, ok bool) {
	for {
		if d.visits++; d.visits == maxVisits {
			d.problem(n, "too large once its aliases are followed", "write fewer of them")
		}
		if d.visits >= maxVisits {
			return nil, false
		}
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			n = d.target[v]
		case *ast.TagNode:
			d.problem(n, "a tag", "write the value without "+nodeText(v))
			return nil, false
		case nil:
			return nil, false
		default:
			return n, true
		}
	}
}

// entries are the keys of a mapping, each once.
func (d *decoder) entries(n ast.Node) (_ []entry, ok bool) {
	n, ok = d.resolve(n)
	if !ok {
		return nil, false
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.wrongType(n, "keys with values", "write KEY: VALUE, one a line")
		return nil, false
	}
	var out []entry
	seen := map[string]int{}
	for _, v := range m.Values {
		key, ok := d.key(v.Key)
		if !ok {
			continue
		}
		if line, twice := seen[key]; twice {
			d.problem(v.Key, fmt.Sprintf("key %q for the second time", key), fmt.Sprintf("the first is on line %d", line))
			continue
		}
		seen[key] = v.Key.GetToken().Position.Line
		out = append(out, entry{key, v.Key, v.Value})
	}
	return out, true
}

func (d *decoder) key(n ast.MapKeyNode) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return nodeText(n), true
	case *ast.MergeKeyNode:
		d.problem(n, "a merge key", "write the keys out, or use an alias for the whole value")
	default:
		d.problem(n, "a key that is not a word", "write KEY: VALUE")
	}
	return "", false
}

// section decodes a mapping of known keys. what names it in problems: "of a sqlite source", say.
func (d *decoder) section(n ast.Node, what string, fields ...field) {
	entries, ok := d.entries(n)
	if !ok {
		return
	}
	d.fields(n, what, entries, fields)
}

func (d *decoder) fields(n ast.Node, what string, entries []entry, fields []field) {
	known := map[string]field{}
	for _, f := range fields {
		known[f.key] = f
	}
	for _, e := range entries {
		f, ok := known[e.key]
		if !ok {
			d.problem(e.at, fmt.Sprintf("unknown key %q %s", clip(e.key), what), suggest(e.key, slices.Sorted(maps.Keys(known))))
			continue
		}
		if f.set != nil {
			f.set(e.value)
		}
	}
	for _, f := range fields {
		if f.required && !slices.ContainsFunc(entries, func(e entry) bool { return e.key == f.key }) {
			d.problem(start(n), fmt.Sprintf("no %q %s", f.key, what), "it is required")
		}
	}
}

// named decodes a mapping whose keys are names that the user chose.
func named[T any](d *decoder, dst *[]T, one func(name string, n ast.Node) T) func(ast.Node) {
	return func(n ast.Node) {
		entries, ok := d.entries(n)
		if ok && len(entries) == 0 {
			d.problem(n, "nothing in it", "name something, or leave the key out")
		}
		for _, e := range entries {
			if !validName(e.key) {
				d.problem(e.at, fmt.Sprintf("name %q", clip(e.key)), nameHint)
			}
			*dst = append(*dst, one(e.key, e.value))
		}
	}
}

// start is the first thing written of n: a block mapping's own token is the colon behind its first key.
func start(n ast.Node) ast.Node {
	switch v := n.(type) {
	case *ast.AnchorNode:
		return start(v.Value)
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return v.Values[0].Key
		}
	}
	return n
}

func (d *decoder) wrongType(n ast.Node, want, hint string) {
	if _, null := n.(*ast.NullNode); null {
		d.problem(n, "no value", "want "+want+", or leave the key out")
		return
	}
	d.problem(start(n), "wrong type: want "+want, hint)
}

const (
	maxName  = 64
	nameHint = "a name is lower-case letters, digits and dashes, begins with a letter or a digit and has at most 64 of them"
)

// validName is [a-z0-9][a-z0-9-]*, at most maxName long.
func validName(s string) bool {
	ok := s != "" && len(s) <= maxName && s[0] != '-'
	return ok && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// clip bounds what a message repeats of the file.
func clip(s string) string {
	if r := []rune(s); len(r) > maxName {
		return string(r[:maxName]) + "…"
	}
	return s
}
