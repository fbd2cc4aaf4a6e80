package policies

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"lifeboat/internal/calendar"
)

// anyForecast makes up a source that has a past.
func anyForecast(r *rand.Rand, now time.Time) Forecast {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	z := []*time.Location{time.UTC, shanghai, berlin}[r.IntN(3)]
	f := Forecast{Name: fmt.Sprint("p", r.IntN(100)), Logs: r.IntN(2) == 0, Sizes: Sizes{Full: 1000, Increment: int64(r.IntN(300)), LogPerDay: int64(r.IntN(500))}}
	f.Schedule = Schedule{Full: cron(pick("", "0 2 * * 0", "30 2 * * *", "0 0 1 * *"), z), Incremental: cron(pick("15 * * * *", "*/40 * * * *", "0 3,15 * * *", ""), z), Zone: z, Jitter: time.Duration(r.IntN(3)*r.IntN(2000)) * time.Second}
	if r.IntN(2) == 0 {
		f.Schedule.Blackout = []calendar.Window{{Days: calendar.Days{1: true, 3: true, 6: true}, From: r.IntN(1440), To: r.IntN(1440)}}
	}
	f.Retention = Retention{PITR: dur(pick("", "2d", "36h")), Daily: dur(pick("", "3d", "5d")), Weekly: dur(pick("", "2w")), Monthly: dur(pick("", "2mo")), Yearly: dur(pick("", "", "2y")), Minimum: dur(pick("", "", "10h")), Zone: z, BelowFloor: pick("", "a test", "a test")}
	for at := now.AddDate(0, 0, -r.IntN(30)); at.Before(now); at = at.Add(time.Duration(1+r.IntN(60)) * time.Hour) {
		s := Stored{Point: Point{Seq: uint64(len(f.Points)), At: at, Damaged: r.IntN(9) == 0}, Bytes: int64(r.IntN(1001))}
		if r.IntN(9) == 0 {
			s.Holds = []string{"hold 1 by bob: why"}
		}
		f.Points = append(f.Points, s)
		d := Done{Due: at.Truncate(time.Hour).Add(-45 * time.Minute), Full: r.IntN(4) == 0}
		switch r.IntN(8) {
		case 0:
			d.Due = time.Time{}
		case 1:
			d.Due = now.Add(time.Duration(r.IntN(300)) * time.Hour) // a clock was wrong
		case 2:
			d.Broken = "it is damaged"
		}
		f.Done = append(f.Done, d)
	}
	if n := len(f.Points); n > 0 {
		f.Points[n-1].Newest = []string{"disk"}
		f.Points[r.IntN(n)].Newest = []string{"usb"}
		if r.IntN(2) == 0 {
			f.LogSince = f.Points[r.IntN(n)].At
		}
	}
	f.Logs = f.Logs || !f.LogSince.IsZero()
	return f
}

// walk is Forecast.Days by looking at every minute, and judging each snapshot by itself.
func walk(f Forecast, now time.Time, zone *time.Location, days int) []Day {
	points, raw, kept := []Point{}, []int64{}, []bool{}
	for _, s := range f.Points {
		points, raw, kept = append(points, s.Point), append(raw, s.Bytes), append(kept, true)
	}
	done, since := slices.Clone(f.Done), f.LogSince
	second := f.Schedule.spread(f.Name) % time.Minute
	out := make([]Day, days)
	y, m, first := now.In(zone).Date()
	t := now
	for i := range out {
		d := &out[i]
		d.Begin, d.End, d.Kept = time.Date(y, m, first+i, 0, 0, 0, 0, zone), time.Date(y, m, first+i+1, 0, 0, 0, 0, zone), map[string]int{}
		for ; t.Before(d.End); t = tick(t, second) {
			run, ok := f.Schedule.Due(t, f.Name, done)
			if !ok {
				continue
			}
			for j := range points {
				points[j].Newest = nil
			}
			size := f.Sizes.Increment
			if !slices.Contains(kept, true) {
				size = f.Sizes.Full
			}
			points, raw, kept = append(points, Point{At: t}), append(raw, size), append(kept, true)
			done = append(done, Done{Due: run.Due, Full: run.Full})
			if f.Logs && since.IsZero() {
				since = t
			}
			if run.Full {
				d.Full = append(d.Full, t)
			} else {
				d.Incremental = append(d.Incremental, t)
			}
		}
		var there []Point
		var of []int
		for j := range points {
			if kept[j] {
				there, of = append(there, points[j]), append(of, j)
			}
		}
		if !f.Retention.Zero() {
			for j, k := range slowly(f.Retention, d.End.Add(-time.Second), there) {
				if kept[of[j]] = k; !k {
					d.Dropped++
				}
			}
		}
		sum := int64(0)
		var base time.Time
		for j, p := range points {
			sum += raw[j]
			if !kept[j] {
				continue
			}
			d.Bytes += min(sum, f.Sizes.Full)
			sum = 0
			if d.Total++; d.Total == 1 {
				d.Earliest, base = p.At, p.At
			}
			if !f.Retention.Zero() && !p.At.After(f.Retention.PITR.Before(d.End.Add(-time.Second))) {
				base = p.At
			}
		}
		if !since.IsZero() && d.Total > 0 {
			d.EarliestPoint = latest(base, since)
			d.Bytes += int64(float64(f.Sizes.LogPerDay) * d.End.Sub(d.EarliestPoint).Hours() / 24)
		}
	}
	return out
}

// tick is the next time at which something can become due: the beginning of a minute, or the second in it at which runs are spread to.
func tick(t time.Time, second time.Duration) time.Time {
	minute := t.Truncate(time.Minute)
	if at := minute.Add(second); at.After(t) {
		return at
	}
	return minute.Add(time.Minute)
}

// TestPlanAsWalked compares plans of sources that are made up with what looking at every minute yields.
func TestPlanAsWalked(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	runs, drops, logs := 0, 0, 0
	for range 24 {
		now := time.Date(2026, time.March, 20+r.IntN(10), r.IntN(24), r.IntN(60), 0, 0, time.UTC) // clocks change in Berlin on the 29th
		f := anyForecast(r, now)
		zone := f.Schedule.Zone
		before := reflect.ValueOf(f.Points).Len()
		got, want := f.Days(now, zone, 5), walk(f, now, zone, 5)
		for i, g := range got {
			total := 0
			for rule, n := range g.Kept {
				if total += n; n == 0 || !slices.Contains(Rules, rule) {
					t.Errorf("%d kept by %q", n, rule)
				}
			}
			w := want[i]
			if total != g.Total {
				t.Errorf("%d kept by rules %v, %d in all", total, g.Kept, g.Total)
			}
			g.Kept, w.Kept = nil, nil
			if !sameDay(g, w) {
				t.Fatalf("%+v\nat %s, day %d: %+v\nwant %+v", f, now, i, g, w)
			}
			runs, drops = runs+len(g.Full)+len(g.Incremental), drops+g.Dropped
			if !g.EarliestPoint.IsZero() {
				logs++
			}
		}
		if len(f.Points) != before {
			t.Error("the forecast was changed")
		}
	}
	if runs < 500 || drops < 200 || logs < 30 {
		t.Errorf("%d runs, %d drops, %d days with log: the cases are too easy", runs, drops, logs)
	}
}

func sameDay(a, b Day) bool {
	equal := func(x, y []time.Time) bool { return slices.EqualFunc(x, y, time.Time.Equal) }
	return a.Begin.Equal(b.Begin) && a.End.Equal(b.End) && equal(a.Full, b.Full) && equal(a.Incremental, b.Incremental) && a.Dropped == b.Dropped && a.Total == b.Total &&
		a.Earliest.Equal(b.Earliest) && a.EarliestPoint.Equal(b.EarliestPoint) && a.Bytes == b.Bytes
}

// TestPlanCounts plays a policy through whose numbers can be told by heart.
func TestPlanCounts(t *testing.T) {
	f := Forecast{Name: "crm", Logs: true, Schedule: Schedule{Full: cron("0 2 * * 0", time.UTC), Incremental: cron("0 * * * *", time.UTC), Zone: time.UTC},
		Retention: Retention{PITR: dur("3d"), Daily: dur("90d"), Weekly: dur("26w"), Zone: time.UTC}, Sizes: Sizes{Full: 1000, Increment: 10, LogPerDay: 100}}
	now := at("2026-11-22 00:30:00") // a Sunday
	days := f.Days(now, time.UTC, 30)
	// What was missed is taken at once, and is the first one ever; then come 23 hours, of which 02:00 is for the full.
	if d := days[0]; len(d.Full) != 2 || !d.Full[0].Equal(now) || !d.Full[1].Equal(at("2026-11-22 02:00:00")) || len(d.Incremental) != 22 || d.Total != 24 || d.Bytes != 1000+23*10+100*47/48 {
		t.Errorf("the first day: %+v", d)
	}
	last := days[29] // at its end 3 days are kept whole, with the one that they begin with, and 27 days by one each
	if want := map[string]int{"pitr": 1 + 72, "daily": 27}; last.Total != 100 || !maps.Equal(last.Kept, want) {
		t.Errorf("the last day: %d, %v, want %v", last.Total, last.Kept, want)
	}
	if !last.Earliest.Equal(now) || !last.EarliestPoint.Equal(at("2026-12-18 23:00:00")) || len(last.Incremental) != 24 || len(days[28].Full) != 1 {
		t.Errorf("the last day: %+v", last)
	}
	// The first one, 26 with a day's changes each, the one before the window, in it 72 with an hour's each, and log from there on.
	if want := int64(1000 + 26*240 + 230 + 72*10 + 304); last.Bytes != want {
		t.Errorf("%d bytes, want %d", last.Bytes, want)
	}
	f.Retention = Retention{}
	if d := f.Days(now, time.UTC, 2)[1]; d.Kept[RuleAll] != 48 || d.Dropped != 0 || !d.EarliestPoint.Equal(now) {
		t.Errorf("without retention: %+v", d)
	}
	none := Forecast{Name: "none", Schedule: Schedule{Zone: time.UTC}}
	if d := none.Days(now, time.UTC, 3)[2]; d.Total != 0 || len(d.Kept) != 0 || !d.Earliest.IsZero() {
		t.Errorf("without a schedule: %+v", d)
	}
	sum := Sum(f.Days(now, time.UTC, 2), none.Days(now, time.UTC, 2), f.Days(now, time.UTC, 2))
	if d := sum[0]; len(sum) != 2 || len(d.Full) != 4 || d.Total != 48 || d.Kept[RuleAll] != 48 || !d.Earliest.Equal(now) || !d.End.Equal(at("2026-11-23 00:00:00")) {
		t.Errorf("the sum: %+v", sum)
	}
}

func BenchmarkPlan(b *testing.B) {
	zone := shanghai
	now := at("2026-11-22 00:30:00")
	f := Forecast{Logs: true, Schedule: Schedule{Full: cron("0 2 * * 0", zone), Incremental: cron("15 * * * *", zone), Zone: zone, Jitter: 5 * time.Minute},
		Retention: Retention{PITR: dur("30d"), Daily: dur("90d"), Weekly: dur("26w"), Monthly: dur("24mo"), Yearly: dur("7y"), Zone: zone}}
	for i := range 1000 {
		f.Points = append(f.Points, Stored{Point: Point{Seq: uint64(i), At: now.Add(time.Duration(i-1000) * time.Hour)}})
		f.Done = append(f.Done, Done{Due: now.Add(time.Duration(i-1000) * time.Hour).Truncate(time.Hour).Add(15 * time.Minute), Full: i%168 == 0})
	}
	for b.Loop() {
		for i := range 50 {
			f.Name = fmt.Sprint("source-", i)
			f.Days(now, zone, 60)
		}
	}
}
