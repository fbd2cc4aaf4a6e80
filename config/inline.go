package config

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// inline decodes a value and notes a secret that stands in the file itself: holds looks for one in what the file has, without what
// comes from the environment. hint says where the secret belongs.
func (d *decoder) inline(what, hint string, holds func(string) bool, set func(ast.Node)) func(ast.Node) {
	return func(n ast.Node) {
		before := len(d.problems)
		if set(n); len(d.problems) > before {
			return
		}
		r, _ := d.resolve(n)
		if raw, ok := textOf(r); ok && holds(fromEnvironment.ReplaceAllString(strings.ReplaceAll(raw, "$$", "-"), "")) {
			d.inlined = append(d.inlined, problemAt(d.file, n.GetToken(), what+" in the file itself", hint))
		}
	}
}

var fromEnvironment = regexp.MustCompile(`\$\{\w+\}`)

// textOf is a text as the file has it.
func textOf(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	}
	return "", false
}

const passwordHint = "put it into a file of mode 0600 and write password_file, or write ${NAME}"

func anything(s string) bool { return s != "" }

// Passwords in a DSN are that of a URL's user, or of an option in either form.
var passwords = regexp.MustCompile(`(?i)://[^/?#@:]*:[^/@]+@|(^|[\s?&])(ssl)?password\s*=\s*[^\s&]`)

func holdsPassword(dsn string) bool { return passwords.MatchString(dsn) }

// minToken is how long a part of a path is that nobody makes up, with digits or capitals among its letters.
const minToken = 16

// holdsToken reports whether a URL has a user's password, options, or a part that looks like a token.
func holdsToken(s string) bool {
	u, err := url.Parse(s)
	if err != nil || holdsPassword(s) {
		return err == nil
	}
	for _, values := range u.Query() {
		for _, v := range values {
			if v != "" {
				return true
			}
		}
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= minToken && strings.ContainsAny(part, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			return true
		}
	}
	return false
}

// token decodes a URL that lets in whoever knows it.
func (d *decoder) token(set func(ast.Node)) func(ast.Node) {
	return d.inline("a URL with its token", "write the token, or all of the URL, as ${NAME}", holdsToken, set)
}
