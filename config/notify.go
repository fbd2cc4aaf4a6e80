package config

import (
	"maps"
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// notify decodes a list of places, each with the key of its kind and those that belong to it.
func (d *decoder) notify(dst *[]Notify) func(ast.Node) {
	return func(n ast.Node) {
		for _, v := range d.list(n, "a list") {
			*dst = append(*dst, d.place(v))
		}
	}
}

func (d *decoder) place(n ast.Node) Notify {
	var p Notify
	entries, ok := d.entries(n)
	if !ok {
		return p
	}
	own := map[string][]field{
		"webhook": {{"webhook", true, d.token(address(d, &p.URL))}},
		"smtp": {
			{"smtp", true, d.inline("a password", passwordHint, holdsPassword, d.mailServer(&p.URL))}, {"from", false, d.mailbox(&p.From)}, {"to", true, d.mailboxes(&p.To)},
			{"password_file", false, filled(d, &p.PasswordFile)},
		},
		"dingtalk": {{"dingtalk", true, d.token(address(d, &p.URL))}, {"secret_file", false, filled(d, &p.SecretFile)}},
		"wecom":    {{"wecom", true, d.token(address(d, &p.URL))}},
	}
	var kinds []string
	for _, e := range entries {
		if _, ok := own[e.key]; ok {
			kinds = append(kinds, e.key)
		}
	}
	what, before := "of notify", len(d.problems)
	if len(kinds) == 1 {
		p.Kind = kinds[0]
		what += " by " + p.Kind
	}
	d.fields(n, what, entries, variant(own, p.Kind))
	switch {
	case len(kinds) > 1:
		d.problem(start(n), strings.Join(kinds, " and ")+" in one", "write a line for each place to notify")
	case len(kinds) == 0 && len(d.problems) == before:
		d.problem(start(n), "no place to notify", "write one of "+strings.Join(slices.Sorted(maps.Keys(own)), ", ")+", with its URL")
	case p.Kind == "smtp":
		d.password(n, p)
	}
	return p
}

// password reports what of a mail server's password does not go together.
func (d *decoder) password(n ast.Node, p Notify) {
	u, err := url.Parse(p.URL.Reveal())
	if err != nil || p.URL == "" || p.PasswordFile == "" {
		return
	}
	if _, inline := u.User.Password(); inline {
		d.problem(start(n), "both password_file and a password in the URL", "keep one of them")
	} else if u.User.Username() == "" {
		d.problem(start(n), "password_file without a user", "write the user into the URL: smtp://USER@HOST:587")
	}
}

// mailServer decodes smtp://USER@HOST:PORT?tls=... or smtps://USER@HOST:PORT.
func (d *decoder) mailServer(dst *Secret) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		filled(d, &s)(n)
		if s == "" {
			return
		}
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "smtp" && u.Scheme != "smtps") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
			d.problem(n, "not an smtp or smtps URL", "write smtp://USER@HOST:587, or smtps://USER@HOST:465")
			return
		}
		q := u.Query()
		for _, key := range slices.Sorted(maps.Keys(q)) {
			if v := q.Get(key); key != "tls" || u.Scheme == "smtps" || (v != "none" && v != "starttls") {
				d.problem(n, "an option that smtp does not have", "smtp:// takes ?tls=none or ?tls=starttls, and smtps:// nothing")
				return
			}
		}
		*dst = Secret(s)
	}
}

func (d *decoder) mailboxes(dst *[]string) func(ast.Node) {
	return func(n ast.Node) {
		for _, v := range d.list(n, "a list of addresses") {
			var s string
			d.mailbox(&s)(v)
			if slices.Contains(*dst, s) {
				d.problem(v, "address "+d.quote(v)+" for the second time", "name it once")
			} else if s != "" {
				*dst = append(*dst, s)
			}
		}
	}
}

// mailbox decodes a mail address without a name.
func (d *decoder) mailbox(dst *string) func(ast.Node) {
	return func(n ast.Node) {
		var s string
		filled(d, &s)(n)
		if s == "" {
			return
		}
		if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
			d.problem(n, "not a mail address", "write it like ops@example.com")
			return
		}
		*dst = s
	}
}
