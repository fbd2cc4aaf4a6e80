package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lifeboat/internal/calendar"

	"github.com/goccy/go-yaml/ast"
)

// text decodes a text, expanding variables; it may be empty.
func text[T ~string](d *decoder, dst *T) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := d.text(n, "a text"); ok {
			*dst = T(s)
		}
	}
}

// filled decodes a text that must not be empty.
func filled[T ~string](d *decoder, dst *T) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, "a text")
		if !ok {
			return
		}
		if s == "" {
			d.problem(n, "empty", "give a value")
			return
		}
		*dst = T(s)
	}
}

// text is the value of a text node. A number or a word that YAML takes for something else needs quotes.
func (d *decoder) text(n ast.Node, want string) (string, bool) {
	n, ok := d.resolve(n)
	if !ok {
		return "", false
	}
	raw, ok := textOf(n)
	if !ok {
		hint := "put it in quotes"
		switch n.(type) {
		case *ast.MappingNode, *ast.SequenceNode, *ast.NullNode:
			hint = ""
		}
		d.wrongType(n, want, hint)
		return "", false
	}
	s, problems := expand(raw, d.lookup)
	for _, p := range problems {
		d.problem(n, p[0], p[1])
	}
	return s, len(problems) == 0
}

// oneOf decodes one of a few words.
func oneOf[T ~string](d *decoder, dst *T, words ...T) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.text(n, "a word")
		if !ok {
			return
		}
		if !slices.Contains(words, T(s)) {
			known := make([]string, len(words))
			for i, w := range words {
				known[i] = string(w)
			}
			d.problem(n, fmt.Sprintf("unknown value %s", d.quote(n)), suggest(s, known))
			return
		}
		*dst = T(s)
	}
}

// texts decodes a list of texts, none of them empty, and at least one.
func texts(d *decoder, dst *[]string) func(ast.Node) {
	return func(n ast.Node) {
		for _, v := range d.list(n, "a list of texts") {
			var s string
			filled(d, &s)(v)
			*dst = append(*dst, s)
		}
	}
}

// list is the elements of a sequence; an empty one is a problem.
func (d *decoder) list(n ast.Node, want string) []ast.Node {
	n, ok := d.resolve(n)
	if !ok {
		return nil
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrongType(n, want, "write [A, B], or a line with a dash for each")
		return nil
	}
	if len(seq.Values) == 0 {
		d.problem(n, "an empty list", "leave the key out, or name something")
	}
	return seq.Values
}

// plain is the text of a number or a word like true: as the file has it, or from a variable.
func (d *decoder) plain(n ast.Node, want string) (string, bool) {
	n, ok := d.resolve(n)
	if !ok {
		return "", false
	}
	switch v := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return nodeText(n), true
	case *ast.StringNode:
		if strings.Contains(v.Value, "${") {
			return d.text(n, want)
		}
	}
	d.wrongType(n, want, "")
	return "", false
}

// whole decodes an integer from low to high, in decimal.
func (d *decoder) whole(dst *int, low, high int) func(ast.Node) {
	return func(n ast.Node) {
		want := fmt.Sprintf("a whole number from %d to %d", low, high)
		s, ok := d.plain(n, want)
		if !ok {
			return
		}
		i, err := strconv.Atoi(s)
		if err != nil || i < low || i > high {
			d.problem(n, "not "+want, "")
			return
		}
		*dst = i
	}
}

func (d *decoder) number(dst **float64) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.plain(n, "a number")
		if !ok {
			return
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			d.problem(n, "not a number", "")
			return
		}
		*dst = &f
	}
}

func (d *decoder) flag(dst *bool) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := d.plain(n, "true or false")
		if !ok {
			return
		}
		if s != "true" && s != "false" {
			d.problem(n, "neither true nor false", "")
			return
		}
		*dst = s == "true"
	}
}

func (d *decoder) duration(dst *calendar.Duration) func(ast.Node) {
	return func(n ast.Node) {
		r, ok := d.resolve(n)
		if !ok {
			return
		}
		if _, bare := r.(*ast.IntegerNode); bare {
			d.problem(n, "a duration without a unit", "write 30d, or with another of s, m, h, w, mo and y")
			return
		}
		s, ok := d.text(r, "a duration like 30d")
		if !ok {
			return
		}
		v, err := calendar.ParseDuration(s)
		if err != nil {
			d.problem(n, fmt.Sprintf("%s is not a duration", d.quote(n)), "write a number and a unit of s, m, h, d, w, mo or y, up to 100y")
			return
		}
		*dst = v
	}
}

// address decodes an http or https URL.
func address[T ~string](d *decoder, dst *T) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		filled(d, &s)(n)
		if s == "" {
			return
		}
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			d.problem(n, "not an http or https URL", "write https://HOST/...")
			return
		}
		*dst = T(s)
	}
}

// endpoint decodes the address of a store. What else a URL can hold would be no use, and shows in errors.
func (d *decoder) endpoint(dst *string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		if address(d, &s)(n); s == "" {
			return
		}
		if u, err := url.Parse(s); err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			d.problem(n, "a user or an option in an endpoint", "write https://HOST alone, and the keys as access_key and secret_key_file")
			return
		}
		*dst = s
	}
}

// listen decodes HOST:PORT; without a host it would be open to everybody without anybody having said so.
func (d *decoder) listen(dst *string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		if filled(d, &s)(n); s == "" {
			return
		}
		host, port, err := net.SplitHostPort(s)
		if p, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || p == 0 || host == "" {
			d.problem(n, "not HOST:PORT", "write 127.0.0.1:9464, or 0.0.0.0:9464 for everybody who reaches this host")
			return
		}
		*dst = s
	}
}

// quote is the value of n as the file has it: before variables are expanded, so that no secret shows.
func (d *decoder) quote(n ast.Node) string {
	if r, ok := d.resolve(n); ok {
		n = r
	}
	if lit, ok := n.(*ast.LiteralNode); ok {
		n = lit.Value
	}
	return strconv.Quote(clip(nodeText(n)))
}
