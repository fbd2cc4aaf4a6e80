package policies

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/calendar"
)

var shanghai, berlin = zone("Asia/Shanghai"), zone("Europe/Berlin")

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

func dur(s string) calendar.Duration {
	if s == "" {
		return calendar.Duration{}
	}
	d, err := calendar.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

// slowly is Decide as the documentation says it, each point by itself.
func slowly(r Retention, now time.Time, points []Point) []bool {
	own := func(p Point) time.Time {
		if p.Clock.IsZero() {
			return p.At.In(r.Zone)
		}
		return p.Clock.In(r.Zone)
	}
	first := func(i int, same func(a, b time.Time) bool) bool {
		for _, q := range slices.Backward(points[:i]) {
			if !q.Damaged {
				return !same(own(q), own(points[i]))
			}
		}
		return true
	}
	within := func(t time.Time, length calendar.Duration, same func(a, b time.Time) bool) bool {
		begin := length.Before(now).In(r.Zone)
		return !length.IsZero() && (!t.Before(begin) || same(t.In(r.Zone), begin))
	}
	day := func(a, b time.Time) bool { return a.Format(time.DateOnly) == b.Format(time.DateOnly) }
	week := func(a, b time.Time) bool {
		ay, aw := a.ISOWeek()
		by, bw := b.ISOWeek()
		return ay == by && aw == bw
	}
	month := func(a, b time.Time) bool { return a.Format("2006-01") == b.Format("2006-01") }
	year := func(a, b time.Time) bool { return a.Year() == b.Year() }
	floor := dur("90d")
	if r.BelowFloor != "" {
		floor = dur("")
	}
	keep := make([]bool, len(points))
	sound := func(i int) bool { return !points[i].Damaged }
	for i, p := range points {
		newest, base := sound(i), sound(i) && !p.At.After(r.PITR.Before(now)) && !r.PITR.IsZero()
		for j := i + 1; j < len(points); j++ {
			newest = newest && !sound(j)
			base = base && (!sound(j) || points[j].At.After(r.PITR.Before(now)))
		}
		keep[i] = newest || base || len(p.Holds)+len(p.Newest) > 0 ||
			!r.PITR.IsZero() && p.At.After(r.PITR.Before(now)) || !r.Minimum.IsZero() && p.At.After(r.Minimum.Before(now)) ||
			within(p.At, r.Daily, day) && first(i, day) || within(p.At, floor, day) && first(i, day) ||
			within(p.At, r.Weekly, week) && first(i, week) || within(p.At, r.Monthly, month) && first(i, month) || within(p.At, r.Yearly, year) && first(i, year)
	}
	if n := len(points); n > 0 && !slices.ContainsFunc(points, func(p Point) bool { return !p.Damaged }) {
		keep[n-1] = true
	}
	return keep
}

func TestDecideAsDocumented(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	some := func(unit string, most int) calendar.Duration {
		if r.IntN(3) == 0 {
			return dur("")
		}
		return dur(fmt.Sprint(1+r.IntN(most)) + unit)
	}
	dropped, kept := 0, 0
	for range 1500 {
		p := Retention{PITR: some([]string{"h", "d"}[r.IntN(2)], 40), Daily: some("d", 120), Weekly: some("w", 30), Monthly: some("mo", 24), Yearly: some("y", 7),
			Minimum: some("h", 72), Zone: []*time.Location{time.UTC, shanghai, berlin}[r.IntN(3)]}
		if r.IntN(2) == 0 {
			p.BelowFloor = "a test"
		}
		at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(366*24)) * time.Hour)
		var points []Point
		behind := r.IntN(90) // from when on the clock is years behind, and the journal's time stands still for a while
		for range r.IntN(90) {
			step := time.Duration(r.ExpFloat64() * float64([]time.Duration{time.Hour, 10 * time.Hour, 200 * time.Hour}[r.IntN(3)]))
			q := Point{Seq: uint64(len(points) + 1), Damaged: r.IntN(12) == 0}
			if i := len(points); i > behind && i < behind+20 {
				q.Clock = at.AddDate(-3, 0, 0).Add(time.Duration(i) * 7 * time.Hour)
			} else {
				at = at.Add(step)
			}
			q.At = at
			if r.IntN(20) == 0 {
				q.Holds = []string{"a dispute"}
			}
			points = append(points, q)
		}
		now := at.Add(time.Duration(r.IntN(100)) * time.Hour)
		want := slowly(p, now, points)
		for i, d := range p.Decide(now, points) {
			if d.Keep != want[i] || d.Seq != points[i].Seq || len(d.Reasons) == 0 {
				t.Fatalf("%+v at %s: %+v of %s is decided as %+v", p, now, points[i], points[i].At.In(p.Zone), d)
			}
			if d.Keep {
				kept++
			} else {
				dropped++
			}
		}
	}
	if dropped < 1000 || kept < 1000 {
		t.Fatalf("%d dropped and %d kept: the cases are too easy", dropped, kept)
	}
}

// TestFloor goes day by day and looks for a point of each of the last 90 days.
func TestFloor(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)
	for _, below := range []string{"", "a test"} {
		p := Retention{Daily: dur("7d"), Zone: time.UTC, BelowFloor: below}
		var points []Point
		for hour := range 200 * 24 {
			now := begin.Add(time.Duration(hour) * time.Hour)
			points = append(points, Point{Seq: uint64(hour), At: now})
			if hour%24 != 23 {
				continue
			}
			decisions := p.Decide(now, points)
			points = slices.DeleteFunc(points, func(q Point) bool {
				return slices.ContainsFunc(decisions, func(d Decision) bool { return d.Seq == q.Seq && !d.Keep })
			})
			want := min(hour/24, 90) + 1
			if below != "" {
				want = min(hour/24, 7) + 1
			}
			if len(points) != want+1 { // and the newest
				t.Fatalf("day %d: %d points are left, want %d", hour/24, len(points), want+1)
			}
		}
	}
}

// TestLaterNeverEvicts adds a point at the end: no earlier one that was kept may go for it, but the one that was the newest.
func TestLaterNeverEvicts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	p := Retention{PITR: dur("3d"), Daily: dur("20d"), Weekly: dur("8w"), Monthly: dur("6mo"), Zone: shanghai, BelowFloor: "a test"}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var points []Point
	for i := range 300 {
		now = now.Add(time.Duration(r.IntN(20)) * time.Hour)
		points = append(points, Point{Seq: uint64(i), At: now})
	}
	before := p.Decide(now, points)
	after := p.Decide(now, append(points, Point{Seq: 1000, At: now}))
	for i, d := range before[:len(before)-1] {
		if d.Keep != after[i].Keep || strings.Join(d.Reasons, ";") != strings.Join(after[i].Reasons, ";") {
			t.Errorf("another point changes %+v to %+v", d, after[i])
		}
	}
}
