package policies_test

import (
	"slices"
	"strings"
	"testing"

	"lifeboat/policies"
)

func TestJudge(t *testing.T) {
	disk := policies.Copy{Target: "disk", Place: "device 1", Media: "disk"}
	cloud := policies.Copy{Target: "cloud", Place: "bucket a", Media: "object", Immutable: true}
	tape := policies.Copy{Target: "tape", Place: "host b", Media: "tape", Offsite: true}
	rule := policies.Rule{Count: 3, Media: 2, Offsite: 1, Immutable: 1}
	with := func(c policies.Copy, change func(*policies.Copy)) policies.Copy { change(&c); return c }
	for _, tt := range []struct {
		name   string
		copies []policies.Copy
		unmet  []string // words of each
	}{
		{"kept", []policies.Copy{disk, cloud, tape}, nil},
		{"none", nil, []string{"0 of 3 copies", "0 of 2 kinds", "0 of 1 copies offsite", "0 of 1 copies protected"}},
		{"behind", []policies.Copy{disk, cloud, with(tape, func(c *policies.Copy) { c.Against = "it is behind" })}, []string{"2 of 3 copies", "0 of 1 copies offsite", "tape does not count: it is behind"}},
		{"one device", []policies.Copy{disk, with(disk, func(c *policies.Copy) { c.Target = "usb" }), cloud, tape}, nil},
		{"one bucket", []policies.Copy{disk, with(tape, func(c *policies.Copy) { c.Place = "bucket a" }), cloud}, []string{"2 of 3 copies", "0 of 1 copies protected", "cloud does not count: it is on bucket a, as tape is"}},
		{"one kind", []policies.Copy{disk, with(cloud, func(c *policies.Copy) { c.Media = "disk" }), with(tape, func(c *policies.Copy) { c.Media = "disk" })}, []string{"1 of 2 kinds of media"}},
		// What does not count takes no place from what does.
		{"damaged first", []policies.Copy{with(disk, func(c *policies.Copy) { c.Against = "it is damaged" }), with(disk, func(c *policies.Copy) { c.Target = "usb" }), cloud, tape}, nil},
	} {
		v := rule.Judge(tt.copies)
		if len(v.Unmet) != len(tt.unmet) || slices.ContainsFunc(tt.unmet, func(word string) bool {
			return !slices.ContainsFunc(v.Unmet, func(s string) bool { return strings.Contains(s, word) })
		}) {
			t.Errorf("%s: %q", tt.name, v.Unmet)
		}
	}
	if v := rule.Judge([]policies.Copy{disk, cloud, tape}); v.Rule != (policies.Rule{Count: 3, Media: 3, Offsite: 1, Immutable: 1}) {
		t.Errorf("there are %+v", v.Rule)
	}
}
