package config

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// statement decodes one statement of SQL. What it does is the database's to say: a check runs where it can only read.
func (d *decoder) statement(dst *string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		if filled(d, &s)(n); s == "" {
			return
		}
		switch {
		case len(s) > maxSQL:
			d.problem(n, fmt.Sprintf("a statement of more than %d bytes", maxSQL), "put it into a view or a function of the database")
		case statements(s, false) == 0:
			d.problem(n, "no statement", "write one that selects a single value, such as select count(*) from customer")
		case statements(s, false) > 1 && statements(s, true) > 1: // of either kind of quotes
			d.problem(n, "several statements", "write one that selects a single value, and a check for each")
		default:
			*dst = s
		}
	}
}

// statements counts the statements of a text, up to 2: those that something other than spaces and comments is left of, between semicolons. backslash
// says that one takes the meaning from a quote behind it, as in MySQL.
func statements(sql string, backslash bool) (n int) {
	fresh := true // nothing of the statement was seen yet
	for sql != "" && n < 2 {
		skip := skipped(sql, backslash)
		switch c := sql[0]; {
		case c == ';':
			fresh = true
		case unicode.IsSpace(rune(c)), strings.HasPrefix(sql, "--"), strings.HasPrefix(sql, "/*"):
		case fresh:
			fresh = false
			n++
		}
		sql = sql[skip:]
	}
	return n
}

// skipped is the length of what a statement begins with: a comment, something in quotes, or a byte. What does not end goes on to the end.
func skipped(sql string, backslash bool) int {
	switch c := sql[0]; {
	case strings.HasPrefix(sql, "--"):
		return until(sql, 2, "\n")
	case strings.HasPrefix(sql, "/*"):
		return until(sql, 2, "*/")
	case c == '\'' || c == '"' || c == '`':
		for i := 1; i < len(sql); i++ {
			if sql[i] == '\\' && backslash {
				i++
			} else if sql[i] == c {
				return i + 1 // a quote that is doubled begins the next part of the same text
			}
		}
		return len(sql)
	case c == '$': // PostgreSQL: $$ ... $$ or $word$ ... $word$
		word := strings.IndexByte(sql[1:], '$')
		if word >= 0 && !strings.ContainsFunc(sql[1:1+word], func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return until(sql, word+2, sql[:word+2])
		}
	}
	return 1
}

// until is the length of sql up to and with the first end from a place on.
func until(sql string, from int, end string) int {
	if i := strings.Index(sql[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(sql)
}
