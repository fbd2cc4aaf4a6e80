package bundle

import (
	"regexp"
	"strings"
)

// bySudo is how an actor is written who became another account: "root (bob by sudo)@vm". Neither part is free of "@" where accounts come from a directory.
var bySudo = regexp.MustCompile(`(?is)^(.*?)\s*\((.*) by sudo\)\s*(?:@(.*))?$`)

// actor is who acted, in lower case: an account on a host and, where the account was taken by sudo, the person behind it.
type actor struct{ account, host, person string }

func parseActor(s string) (a actor) {
	s = strings.ToLower(strings.TrimSpace(s))
	if m := bySudo.FindStringSubmatch(s); m != nil {
		a.account, a.person, a.host = name(m[1]), name(m[2]), strings.TrimSpace(m[3])
		return a
	}
	a.account = name(s)
	_, host, _ := strings.Cut(s, "@")
	a.host = strings.TrimSpace(host)
	return a
}

// name is a name without the host behind it.
func name(s string) string {
	s, _, _ = strings.Cut(s, "@")
	return strings.Join(strings.Fields(s), " ")
}

// SamePerson reports whether two names may be of one person, so that neither can vouch for the other: an actor as records have it ("ann@ops", or
// "root (bob by sudo)@vm"), and another or a name as somebody writes it ("Bob", "bob@vm"). Case and the host of a person do not count. Two who took an
// account by sudo are who they were before; where that is known of one only, the same account on the same host, or on none, is the same person, too.
func SamePerson(one, other string) bool {
	a, b := parseActor(one), parseActor(other)
	switch {
	case strings.EqualFold(one, other):
		return true
	case a.person == "" && b.person == "":
		return a.account != "" && a.account == b.account
	case a.person != "" && b.person != "":
		return a.person == b.person
	case b.person != "":
		a, b = b, a
	}
	return a.person == b.account || a.account != "" && a.account == b.account && (a.host == "" || b.host == "" || a.host == b.host)
}
