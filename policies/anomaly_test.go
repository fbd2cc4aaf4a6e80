package policies_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/policies"
)

const gib = 1 << 30

// steady is a source of 10 GiB of which 1 % changes in each hour; every eighth hour 2 %.
func steady(n int) (all []policies.Sample) {
	for i := range n {
		s := policies.Sample{At: time.Date(2026, 11, 1, i, 0, 0, 0, time.UTC), Since: time.Hour, Size: 10 * gib, Changed: gib / 10, New: gib / 8, Stored: gib / 25, Log: gib / 5}
		if i%8 == 0 {
			s.Changed *= 2
		}
		if i == 0 {
			s.Since, s.Changed = 0, 0
		}
		all = append(all, s)
	}
	return all
}

func TestUnusual(t *testing.T) {
	for _, tt := range []struct {
		name   string
		past   int // hours
		change func(*policies.Sample)
		want   []string // measures and words of each
	}{
		{"as ever", 1000, func(*policies.Sample) {}, nil},
		{"overwritten", 1000, func(s *policies.Sample) { s.Changed = 41 * gib / 10 }, []string{"changed: 41% of the content was overwritten since the previous snapshot; of the last 999 comparable snapshots the usual was 1.0% to 2.0%, and above 7.0% is told"}},
		{"added", 1000, func(s *policies.Sample) { s.Size, s.Changed = 14*gib, 41*gib/10 }, nil},
		{"encrypted", 1000, func(s *policies.Sample) { s.Changed, s.New, s.Stored = gib, gib, gib*102/100 }, []string{"changed: 10%", "incompressible: 1.0 GiB of new content took 102% of that compressed, as what is encrypted does; of the last 999 stretches of new content the usual was 32% to 32%, and above 51% is told"}},
		{"encrypted before a full", 1000, func(s *policies.Sample) { s.Full, s.New, s.Stored = true, gib, gib }, nil},
		{"one file", 1000, func(s *policies.Sample) { s.New, s.Stored = gib/40, gib/40 }, nil},
		{"truncated", 1000, func(s *policies.Sample) { s.Size = 6 * gib }, []string{"shrunk: the source shrank by 40%, from 10 GiB to 6.0 GiB; of the last 999 snapshots the usual was 0% to 0%, and above 20% is told"}},
		{"emptied", 1000, func(s *policies.Sample) { *s = policies.Sample{At: s.At, Since: s.Since, Log: -1} }, []string{"shrunk: the source shrank by 100%, from 10 GiB to 0 B"}},
		{"replaced", 1000, func(s *policies.Sample) { s.Size, s.Changed = gib, gib }, []string{"changed: 10%", "shrunk: the source shrank by 90%"}},
		{"logged", 1000, func(s *policies.Sample) { s.Log = 30 * gib }, []string{"log: 30 GiB of log came since the previous snapshot, 300% of the source's size"}},
		{"log not known", 1000, func(s *policies.Sample) { s.Log = -1 }, nil},
		{"a tenth in an hour", 1000, func(s *policies.Sample) { s.Changed = gib }, []string{"changed: 10%"}},
		{"a third after three days", 1000, func(s *policies.Sample) { s.Changed, s.Since = 35*gib/10, 72*time.Hour }, nil},
		{"a tenth in a minute", 1000, func(s *policies.Sample) { s.Changed, s.Since = gib, time.Minute }, []string{"changed: 10%"}},
		{"the usual in a minute", 1000, func(s *policies.Sample) { s.Since = time.Minute }, nil},
		{"a third, of a young source", 100, func(s *policies.Sample) { s.Changed = 35 * gib / 10 }, nil},
		{"more than half, of a young source", 2, func(s *policies.Sample) { s.Changed = 6 * gib }, []string{"changed: 60% of the content was overwritten since the previous snapshot; above 50% is told while too little is known"}},
		{"less than half is left of a young source", 2, func(s *policies.Sample) { s.Size = 4 * gib }, []string{"shrunk: the source shrank by 60%"}},
		{"the first", 0, func(s *policies.Sample) { s.Since = 0 }, nil},
		{"the previous one is not known", 1000, func(s *policies.Sample) { s.Since, s.Size = 0, gib }, nil},
	} {
		all := steady(tt.past + 1)
		newest := all[tt.past]
		tt.change(&newest)
		found := policies.Unusual(all[:tt.past], newest)
		if len(found) != len(tt.want) || slices.ContainsFunc(found, func(a policies.Anomaly) bool {
			return !slices.ContainsFunc(tt.want, func(w string) bool { return strings.HasPrefix(a.Measure+": "+a.Text, w) })
		}) {
			t.Errorf("%s: %+v", tt.name, found)
		}
	}
}

// TestUnusualOnce lets what happened twice in three months not become usual.
func TestUnusualOnce(t *testing.T) {
	all := steady(2000)
	newest := all[1999]
	newest.Changed = 4 * gib
	for _, i := range []int{900, 1200, 1500} {
		all[i].Changed = 3 * gib
	}
	if found := policies.Unusual(all[:1999], newest); len(found) != 0 {
		t.Errorf("what happened three times: %+v", found)
	}
	all[1500].Changed = gib / 10
	if found := policies.Unusual(all[:1999], newest); len(found) != 1 || found[0].Limit != 0.07 {
		t.Errorf("what happened twice: %+v", found)
	}
}

// TestUnusualTiny leaves alone what is next to empty.
func TestUnusualTiny(t *testing.T) {
	all := steady(1000)
	for i := range all {
		all[i].Size, all[i].Changed = 500<<10, 5<<10
	}
	newest := all[999]
	newest.Size, newest.Changed = 8<<10, 8<<10
	if found := policies.Unusual(all[:999], newest); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

func BenchmarkUnusual(b *testing.B) {
	_, _, all := year(3, 1)
	s := all[2000]
	s.Full, s.Changed, s.New, s.Stored, s.Log = false, s.Size, s.Size, s.Size*2, 30*s.Size
	for b.Loop() {
		if found := policies.Unusual(all[:2000], s); len(found) != 3 {
			b.Fatal(found)
		}
	}
}
