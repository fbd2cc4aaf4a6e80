package policies_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"lifeboat/policies"
)

// For the figures of doc/anomalies.md: go test ./policies -run Rates -v -args -sources 300
var sources = flag.Uint64("sources", 40, "how many sources of each kind the rates are measured on, over a year each")

const (
	months = 12
	memory = 2000 // snapshots that a source is judged by
)

// year simulates a year of a source.
func year(seed uint64, every int) (*load, []taken, []policies.Sample) {
	l := newLoad(seed, every)
	all := l.months(months)
	samples := make([]policies.Sample, len(all))
	for i, s := range all {
		samples[i] = s.Sample
	}
	return l, all, samples
}

// judge compares a snapshot with those before the n-th.
func judge(samples []policies.Sample, n int, s policies.Sample) []policies.Anomaly {
	return policies.Unusual(samples[max(0, n-memory):n], s)
}

// TestRatesFalse counts what is told of sources that nobody attacks.
func TestRatesFalse(t *testing.T) {
	for _, every := range []int{1, 4, 24} {
		t.Run(fmt.Sprintf("every %dh", every), func(t *testing.T) {
			t.Parallel()
			alarms, maintenance, told, measures := 0, 0, 0, map[string]int{}
			for seed := range *sources {
				_, all, samples := year(seed, every)
				for n := 1; n < len(all); n++ {
					found := judge(samples, n, samples[n])
					if all[n].maintenance {
						if maintenance++; len(found) > 0 {
							told++
						}
						continue
					}
					if len(found) > 0 {
						alarms++
					}
					for _, a := range found {
						measures[a.Measure]++
					}
				}
			}
			rate := float64(alarms) / float64(*sources*months)
			t.Logf("%d false alarms in %d source-months, %.3f a month: %v; %d of %d times maintenance was told", alarms, *sources*months, rate, measures, told, maintenance)
			if rate > 0.1 {
				t.Errorf("%.3f false alarms in a source-month", rate)
			}
		})
	}
}

// TestRatesDetection attacks at random moments once a source is known.
func TestRatesDetection(t *testing.T) {
	for every, want := range map[int]float64{1: 0.99, 4: 0.985, 24: 0.95} {
		t.Run(fmt.Sprintf("every %dh", every), func(t *testing.T) {
			t.Parallel()
			tried, found := 0, map[string]int{}
			for seed := range *sources {
				l, _, samples := year(seed+1<<20, every)
				first := 14*24/every + 24
				for range 10 {
					tried++
					for _, name := range slices.Sorted(maps.Keys(attacks)) {
						n := first + l.IntN(len(samples)-first)
						s := samples[n]
						attacks[name](l, &s, float64(samples[n-1].Size))
						if len(judge(samples, n, s)) > 0 {
							found[name]++
						}
					}
				}
			}
			for _, name := range slices.Sorted(maps.Keys(attacks)) {
				rate := float64(found[name]) / float64(tried)
				t.Logf("%s: %.1f%% of %d", name, 100*rate, tried)
				if rate < want {
					t.Errorf("of %d times %s was found %d times", tried, name, found[name])
				}
			}
		})
	}
}

// TestRatesSlow encrypts 2 % of the pages in each hour of two days.
func TestRatesSlow(t *testing.T) {
	tried, found := map[bool]int{}, map[bool]int{}
	for seed := range *sources {
		l, _, samples := year(seed+2<<20, 1)
		first := 14*24 + 24
		for range 5 {
			n := first + l.IntN(len(samples)-first-48)
			history := slices.Clone(samples[max(0, n-memory):n])
			tried[l.files > 0]++
			for hour := range 48 {
				s := samples[n+hour]
				l.attack(&s, float64(history[len(history)-1].Size), 0.02, 1.02)
				if len(policies.Unusual(history, s)) > 0 {
					found[l.files > 0]++
					break
				}
				history = append(history, s)
			}
		}
	}
	for files, n := range tried {
		t.Logf("attachments %v: %d of %d found", files, found[files], n)
	}
	if 10*found[false] < 7*tried[false] {
		t.Errorf("%d of %d found", found[false], tried[false])
	}
}
