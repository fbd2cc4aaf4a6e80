package policies

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/calendar"
)

var (
	drillNow   = time.Date(2026, 11, 21, 12, 0, 0, 500_000, time.UTC)
	drillDay30 = calendar.Duration{N: 30, Unit: "d"}
)

// reachOf has two stretches of log with a gap between them, each of a day, that overlap the window of 30 days and now.
func reachOf(t *testing.T) DrillReach {
	interval := func(from, to string) Interval { return Interval{when(t, from), when(t, to)} }
	return DrillReach{
		Intervals: []Interval{interval("2026-11-10 00:00", "2026-11-11 00:00"), interval("2026-10-01 00:00", "2026-10-23 12:00"), interval("2026-11-21 00:00", "2026-11-22 00:00")},
		Gaps:      []Gap{{interval("2026-10-23 12:00", "2026-11-10 00:00"), "the server lost log"}, {interval("2026-01-01 00:00", "2026-01-02 00:00"), "long ago"}},
		Snapshots: []DrillSnapshot{{"c", when(t, "2026-11-03 00:00"), ""}, {"b", when(t, "2026-11-01 00:00"), ""}, {"a", when(t, "2026-11-03 00:00"), ""},
			{"d", when(t, "2026-11-05 00:00"), "it is damaged"}, {"e", when(t, "2026-09-05 00:00"), ""}, {"f", when(t, "2026-12-05 00:00"), ""}},
	}
}

func seedOf(t *testing.T, text string) (seed [16]byte) {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil || copy(seed[:], b) != len(seed) {
		t.Fatalf("seed %q: %v", text, err)
	}
	return seed
}

// TestDrillPointIsRepeated has what Python says of the same: auditors repeat draws of years ago, so these never change.
//
//	n = 2*86400*1000 + 43200*1000 + 3
//	int.from_bytes(hashlib.sha256(bytes.fromhex("000102030405060708090a0b0c0d0e0f")).digest(), "big") % n
func TestDrillPointIsRepeated(t *testing.T) {
	const seed = "000102030405060708090a0b0c0d0e0f"
	p, err := PickPoint(SelectRandom, seedOf(t, seed), drillNow, drillDay30, reachOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.At.Format(time.RFC3339Nano), "2026-11-10T12:05:43.214Z"; got != want || !p.Drawn || p.Snapshot != "" {
		t.Errorf("it is %s, want %s", got, want)
	}
	if want := "216000003 milliseconds (60h0m0.003s) in 3 intervals: 2026-10-22T12:00:00.000Z to 2026-10-23T12:00:00.000Z, " +
		"2026-11-10T00:00:00.000Z to 2026-11-11T00:00:00.000Z, 2026-11-21T00:00:00.000Z to 2026-11-21T12:00:00.000Z; number 129943215 was drawn"; p.Population != want {
		t.Errorf("population: %s", p.Population)
	}
	if got, want := fmt.Sprint(p.Excluded), "[{2026-10-23T12:00:00.000Z to 2026-11-10T00:00:00.000Z the server lost log} "+
		"{1857600000 milliseconds of 2026-10-01T00:00:00.000Z to 2026-10-22T11:59:59.999Z outside of the window of 30 days} "+
		"{43200000 milliseconds of 2026-11-21T12:00:00.001Z to 2026-11-22T00:00:00.000Z it is not yet that time}]"; got != want {
		t.Errorf("excluded: %s", got)
	}
	p, err = PickPoint(SelectSnapshot, seedOf(t, seed), drillNow, drillDay30, reachOf(t))
	if err != nil || p.Snapshot != "b" || !p.At.IsZero() || p.Population != "3 snapshots: b, a, c; number 0 was drawn" {
		t.Errorf("%+v, %v", p, err)
	}
	if got, want := fmt.Sprint(p.Excluded), "[{snapshot d it is damaged} {1 snapshot before 2026-10-22T12:00:00.000Z outside of the window of 30 days} "+
		"{1 snapshot after 2026-11-21T12:00:00.000Z it is not yet that time}]"; got != want {
		t.Errorf("excluded: %s", got)
	}
	log := reachOf(t)
	log.Intervals = log.Intervals[1:2] // before the window
	fallen, err := PickPoint(SelectRandom, seedOf(t, seed), drillNow, calendar.Duration{N: 28, Unit: "d"}, log)
	if err != nil || fallen.Snapshot != p.Snapshot || fallen.Population != p.Population {
		t.Errorf("without log it is %+v, %v", fallen, err)
	}
}

func TestDrillPointOfNothing(t *testing.T) {
	for _, sel := range []Select{SelectRandom, SelectSnapshot} {
		p, err := PickPoint(sel, [16]byte{}, drillNow, calendar.Duration{N: 1, Unit: "h"}, DrillReach{Snapshots: reachOf(t).Snapshots})
		if !errors.Is(err, ErrNoPoint) || p.Drawn || len(p.Excluded) != 2 {
			t.Errorf("%s: %+v, %v", sel, p, err)
		}
	}
	if p, err := PickPoint(SelectLatest, [16]byte{}, drillNow, calendar.Duration{}, DrillReach{}); err != nil || p.Drawn || p.Population == "" || !p.At.IsZero() || p.Snapshot != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestDrillPointIsEven draws often: every point can be restored, and each stretch comes as often as it is long, one of a single moment too.
func TestDrillPointIsEven(t *testing.T) {
	base := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	of := func(from, to int) Interval {
		return Interval{base.Add(time.Duration(from) * time.Millisecond), base.Add(time.Duration(to) * time.Millisecond)}
	}
	sub := Interval{base.Add(30*time.Millisecond + 100), base.Add(30*time.Millisecond + 200)} // no whole millisecond
	reach := DrillReach{Intervals: []Interval{of(5, 5), of(12, 14), of(0, 3), of(13, 15), of(16, 16), sub}}
	const draws = 20_000
	count := map[int64]int{}
	for i := range draws {
		var seed [16]byte
		seed[0], seed[15] = byte(i), byte(i>>8)
		p, err := PickPoint(SelectRandom, seed, drillNow, calendar.Duration{}, reach)
		if err != nil {
			t.Fatal(err)
		}
		count[p.At.Sub(base).Milliseconds()]++
	}
	for _, ms := range []int64{0, 1, 2, 3, 5, 12, 13, 14, 15, 16} {
		if off := math.Abs(float64(count[ms]) - draws/10); off > 5*math.Sqrt(draws/10) {
			t.Errorf("millisecond %d came %d times", ms, count[ms])
		}
		delete(count, ms)
	}
	if len(count) > 0 {
		t.Error("points that cannot be restored: ", count)
	}
}

// TestDrillPopulationIsBounded has more than a report should hold.
func TestDrillPopulationIsBounded(t *testing.T) {
	var reach DrillReach
	base := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5000 {
		from := base.Add(time.Duration(i) * time.Minute)
		reach.Intervals = append(reach.Intervals, Interval{from, from.Add(time.Second)})
		reach.Gaps = append(reach.Gaps, Gap{Interval{from.Add(time.Second), from.Add(time.Minute)}, "away"})
		reach.Snapshots = append(reach.Snapshots, DrillSnapshot{fmt.Sprint(i), from, strings.Repeat("x", i%2)})
	}
	for _, sel := range []Select{SelectRandom, SelectSnapshot} {
		p, err := PickPoint(sel, [16]byte{}, drillNow, drillDay30, reach)
		if err != nil || len(p.Population) > 300 || len(p.Excluded) != maxExcluded+1 {
			t.Errorf("%s: %s, %d excluded, %v", sel, p.Population, len(p.Excluded), err)
		}
	}
}
