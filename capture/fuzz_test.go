package capture

import (
	"strings"
	"testing"

	"lifeboat/snapshot"
)

func FuzzParseName(f *testing.F) {
	n := Name{Source: "0123456789abcdef", From: snapshot.Pos{Line: 1, Offset: 5}, To: snapshot.Pos{Line: 1, Offset: 9}, Kind: Tail, Digest: strings.Repeat("ab", 32)}
	f.Add(n.String())
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := ParseName(s); ok && n.String() != s {
			t.Errorf("%q is read as %q", s, n)
		}
	})
}

func FuzzHeader(f *testing.F) {
	h := Header{Name: Name{Source: "0123456789abcdef", Kind: Segment}, System: "7", index: 1, frames: []int{5, 6}}
	f.Add(h.text())
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := parseHeader(s); err == nil && h.text() != s {
			t.Errorf("%q is read as %q", s, h.text())
		}
		_, _, _ = headLine([]byte(s)) // it must not panic
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(encodeIndex([]snapshot.LogEvent{{Kind: snapshot.Mark, Start: 1, End: 2, ID: "before %\n"}, {Kind: snapshot.Commit, Start: 2, End: 2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := decodeIndex(b)
		if err != nil {
			return
		}
		again, err := decodeIndex(encodeIndex(events))
		if err != nil || len(again) != len(events) {
			t.Fatalf("%d events are %d when they are written again: %v", len(events), len(again), err)
		}
		for i := range events {
			if again[i] != events[i] {
				t.Errorf("%v becomes %v", events[i], again[i])
			}
		}
	})
}
