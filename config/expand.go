package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} by what lookup says and $$ by a dollar. What comes from the environment is not expanded
// again. The problems name variables, never values; each is a what and a hint.
func expand(s string, lookup func(string) (string, bool)) (string, [][2]string) {
	var out strings.Builder
	var problems [][2]string
	for {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String(), problems
		}
		if rest, ok := strings.CutPrefix(after, "$"); ok {
			out.WriteByte('$')
			s = rest
			continue
		}
		name, rest, ok := variable(after)
		if !ok {
			problems = append(problems, [2]string{
				"a lone dollar sign", "write $$ for a dollar, ${NAME} for a variable of the environment"})
			s = after
			continue
		}
		value, ok := lookup(name)
		if !ok {
			problems = append(problems, [2]string{
				fmt.Sprintf("${%s} is not set", name), "set it in the environment, or write $$ for a dollar"})
		}
		out.WriteString(value)
		s = rest
	}
}

// variable splits "{NAME}rest", where a name is letters, digits and underscores and does not begin with a digit.
func variable(s string) (name, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "{")
	if !ok {
		return "", "", false
	}
	name, rest, ok = strings.Cut(s, "}")
	if !ok || name == "" {
		return "", "", false
	}
	for i, c := range []byte(name) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if digit := '0' <= c && c <= '9'; !letter && (!digit || i == 0) {
			return "", "", false
		}
	}
	return name, rest, true
}
