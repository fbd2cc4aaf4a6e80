// Package policies holds the rules by which backups are kept, and judges by them. It is pure: no I/O, no clock.
package policies

import (
	"fmt"
	"slices"
)

// Rule is a 3-2-1 rule: how many copies there must be, on how many media, how many of them elsewhere, how many protected from deletion.
type Rule struct {
	Count, Media, Offsite, Immutable int
}

// Copy is one target with what it holds of a source. Production is none.
type Copy struct {
	Target    string
	Place     string // targets of one place are one copy: a device, a bucket, a host
	Media     string
	Offsite   bool
	Immutable bool
	Against   string // why it does not count; empty: it is complete, checked and whole
}

// Verdict is what a rule says of copies.
type Verdict struct {
	Rule           // what there is
	Unmet []string // what is missing, in words; empty: the rule is kept
}

// Judge counts the copies that count, each place once.
func (r Rule) Judge(copies []Copy) (v Verdict) {
	var media, against []string
	holder := map[string]string{}
	for _, c := range copies {
		if c.Against == "" && holder[c.Place] != "" {
			c.Against = fmt.Sprintf("it is on %s, as %s is: what takes one takes both", c.Place, holder[c.Place])
		}
		if c.Against != "" {
			against = append(against, fmt.Sprintf("%s does not count: %s", c.Target, c.Against))
			continue
		}
		holder[c.Place] = c.Target
		v.Count++
		if !slices.Contains(media, c.Media) {
			media = append(media, c.Media)
		}
		if c.Offsite {
			v.Offsite++
		}
		if c.Immutable {
			v.Immutable++
		}
	}
	v.Media = len(media)
	need := func(have, want int, what string) {
		if have < want {
			v.Unmet = append(v.Unmet, fmt.Sprintf("%d of %d %s", have, want, what))
		}
	}
	need(v.Count, r.Count, "copies")
	need(v.Media, r.Media, "kinds of media")
	need(v.Offsite, r.Offsite, "copies offsite")
	need(v.Immutable, r.Immutable, "copies protected from deletion")
	if len(v.Unmet) > 0 {
		v.Unmet = append(v.Unmet, against...)
	}
	return v
}
