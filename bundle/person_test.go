package bundle

import "testing"

func TestSamePerson(t *testing.T) {
	const sudo = "root (bob by sudo)@vm"
	for _, c := range []struct {
		one, other string
		want       bool
	}{
		{"ann@ops", "ann@ops", true},
		{"ann@ops", "Ann", true},
		{"ann@ops", " ANN @laptop", true},
		{"ann@ops", "bob@ops", false},
		{"ann@ops", "Anna", false},
		{"ann@ops", "", false},
		{"@ops", "", false},
		{sudo, sudo, true},
		{sudo, "bob", true},
		{sudo, "Bob@vm", true},
		{sudo, "bob@laptop", true},
		{sudo, "ROOT (Bob by sudo)@other", true},
		{sudo, "postgres (bob by sudo)@vm", true},
		{sudo, "root (bob by sudo)", true},
		{sudo, "root@vm", true}, // who that is cannot be told
		{sudo, "Root@VM", true},
		{sudo, "root", true},
		{sudo, "root@other", false},
		{sudo, "ann@vm", false},
		{sudo, "vm", false},
		{sudo, "", false},
		{sudo, "root (ann by sudo)@vm", false},
		{"root (bob@corp.example by sudo)@vm", "bob@vm", true},
		{"root (bob@corp.example by sudo)@vm", "root (bob by sudo)@vm", true},
		{"root ( by sudo)@vm", "", false},
	} {
		if got, back := SamePerson(c.one, c.other), SamePerson(c.other, c.one); got != c.want || back != c.want {
			t.Errorf("%q and %q: %v, and the other way round %v", c.one, c.other, got, back)
		}
	}
}
