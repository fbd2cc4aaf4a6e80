package policies

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"lifeboat/internal/calendar"
)

func cron(s string, zone *time.Location) *calendar.Cron {
	if s == "" {
		return nil
	}
	c, err := calendar.ParseCron(s)
	if err != nil {
		panic(err)
	}
	return c.In(zone)
}

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestDue(t *testing.T) {
	hourly := Schedule{Full: cron("0 2 * * 0", time.UTC), Incremental: cron("15 * * * *", time.UTC), Zone: time.UTC}
	fulls := Schedule{Full: cron("@daily", time.UTC), Zone: time.UTC}
	office := hourly
	office.Blackout = []calendar.Window{{Days: calendar.EveryDay, From: 9 * 60, To: 17 * 60}}
	done := func(due string, full bool) Done { return Done{Due: at(due), Full: full} }
	old := []Done{done("2026-11-15 02:00:00", true), done("2026-11-18 10:15:00", false)} // 15 November is a Sunday
	for _, tt := range []struct {
		name   string
		s      Schedule
		now    string
		done   []Done
		due    string // empty: nothing is due
		full   bool
		missed int
	}{
		{"nothing yet", hourly, "2026-11-18 10:20:00", nil, "2026-11-18 10:15:00", true, 0},
		{"somebody took one by hand", fulls, "2026-11-18 10:20:00", []Done{{}}, "2026-11-18 00:00:00", true, 0},
		{"served", hourly, "2026-11-18 11:14:59", old, "", false, 0},
		{"on the dot", hourly, "2026-11-18 11:15:00", old, "2026-11-18 11:15:00", false, 0},
		{"after three days of downtime one run", hourly, "2026-11-21 11:20:00", old, "2026-11-21 11:15:00", false, 72},
		{"a full and many incrementals missed", hourly, "2026-11-22 11:20:00", old, "2026-11-22 11:15:00", true, 97},
		{"a full that failed is due until there is one", hourly, "2026-11-22 03:15:00", append(old, done("2026-11-22 02:15:00", false)), "2026-11-22 03:15:00", true, 0},
		{"the clock was a year ahead", hourly, "2026-11-18 11:15:00", append(old, done("2027-11-18 10:15:00", true)), "2026-11-18 11:15:00", false, 0},
		{"the clock went back a second behind the run", hourly, "2026-11-18 11:14:59", append(old, done("2026-11-18 11:15:00", false)), "", false, 0},
		{"and reaches it again", hourly, "2026-11-18 11:15:00", append(old, done("2026-11-18 11:15:00", false)), "", false, 0},
		{"blackout", office, "2026-11-18 12:15:00", old, "", false, 0},
		{"its end", office, "2026-11-18 17:00:00", old, "2026-11-18 16:15:00", false, 5},
		{"nothing to build on", hourly, "2026-11-18 11:15:00", append(old, Done{Broken: "it is damaged"}), "2026-11-18 11:15:00", true, 0},
	} {
		run, ok := tt.s.Due(at(tt.now), "crm", tt.done)
		if ok != (tt.due != "") || ok && (!run.Due.Equal(at(tt.due)) || run.Full != tt.full || run.Missed != tt.missed || run.Why == "") {
			t.Errorf("%s: %+v, %v; want %q, full %v, missed %d", tt.name, run, ok, tt.due, tt.full, tt.missed)
		}
	}
}

func TestJitterIsSteadyAndSpreads(t *testing.T) {
	s := Schedule{Incremental: cron("0 * * * *", time.UTC), Zone: time.UTC, Jitter: 10 * time.Minute}
	seen := map[time.Duration]bool{}
	for i := range 50 {
		name := fmt.Sprint("source-", i)
		next := s.Next(at("2026-11-22 10:59:59"), name)
		spread := next.Sub(at("2026-11-22 11:00:00"))
		if again := s.Next(at("2026-11-22 10:59:59"), name); again != next || spread < 0 || spread >= 10*time.Minute {
			t.Fatalf("%s comes at %s, then at %s", name, next, again)
		}
		seen[spread.Truncate(time.Minute)] = true
		if _, early := s.Due(next.Add(-time.Second), name, []Done{{Due: at("2026-11-22 10:00:00")}}); early {
			t.Errorf("%s is due before its time", name)
		}
		if run, ok := s.Due(next, name, []Done{{Due: at("2026-11-22 10:00:00")}}); !ok || !run.Due.Equal(at("2026-11-22 11:00:00")) {
			t.Errorf("%s is not due at its time: %+v", name, run)
		}
	}
	if len(seen) < 8 {
		t.Errorf("50 sources begin within %d of 10 minutes", len(seen))
	}
}

// TestNothingLostOrDoubled lets a clock jump and a runner die at random: each time of the schedule is served once at most, and whenever the
// runner lives behind a time that was not served, a run follows.
func TestNothingLostOrDoubled(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	s := Schedule{Full: cron("0 2 * * 0", berlin), Incremental: cron("*/20 * * * *", berlin), Zone: berlin, Jitter: 3 * time.Minute}
	for range 30 {
		now := at("2026-10-20 00:00:00")
		var done []Done
		served := map[time.Time]bool{}
		for range 1000 {
			switch r.IntN(60) {
			case 0:
				now = now.Add(time.Duration(r.IntN(48)) * time.Hour) // down, or a jump forward
			case 1:
				now = now.Add(-time.Duration(r.IntN(240)) * time.Minute) // a jump back
			default:
				now = now.Add(time.Duration(r.IntN(1200)) * time.Second)
			}
			run, ok := s.Due(now, "crm", done)
			if !ok {
				last := s.Incremental.Last(now.Add(-s.spread("crm")))
				if !served[last.UTC()] && !heed(done, now).Any.After(last) {
					t.Fatalf("at %s nothing is due, and %s was not served", now, last)
				}
				continue
			}
			if run.Due.After(now) {
				t.Fatalf("at %s the run of %s begins", now, run.Due)
			}
			if r.IntN(4) == 0 {
				continue // it died before its commit
			}
			if served[run.Due.UTC()] {
				t.Fatalf("at %s the run of %s is done again", now, run.Due)
			}
			served[run.Due.UTC()] = true
			done = append(done, Done{Due: run.Due, Full: run.Full})
			if _, again := s.Due(now, "crm", done); again {
				t.Fatalf("at %s a run is due behind the run", now)
			}
		}
	}
}

// TestYear plans a year of 50 sources that run every hour, and applies retention every day. BenchmarkYear measures it.
func TestYear(t *testing.T) {
	kept := year(2)
	// 30 days of them, the 23 since the last decision, a base, 60 days behind them, 13 weeks and 6 months behind those, some of which are one
	if kept < 820 || kept > 840 {
		t.Errorf("%d snapshots of a source are left after a year", kept)
	}
}

func BenchmarkYear(b *testing.B) {
	for b.Loop() {
		year(50)
	}
}

// year returns how many snapshots are left of the last of n sources.
func year(n int) int {
	s := Schedule{Full: cron("0 2 * * 0", shanghai), Incremental: cron("15 * * * *", shanghai), Zone: shanghai, Jitter: 5 * time.Minute}
	keep := Retention{PITR: dur("30d"), Daily: dur("90d"), Weekly: dur("26w"), Monthly: dur("24mo"), Yearly: dur("7y"), Zone: shanghai}
	var points []Point
	for i := range n {
		name := fmt.Sprint("source-", i)
		var done []Done
		points = points[:0]
		begin := at("2026-01-01 00:00:00")
		for now, day := s.Next(begin, name), 0; now.Sub(begin) < 365*24*time.Hour; now = s.Next(now, name) {
			run, ok := s.Due(now, name, done)
			if !ok {
				continue
			}
			if done = append(done, Done{Due: run.Due, Full: run.Full}); len(done) > 24*7 {
				done = append(done[:0], done[len(done)-24*7-1:]...) // no older one matters
			}
			points = append(points, Point{Seq: uint64(len(points)), At: now})
			if d := int(now.Sub(begin) / (24 * time.Hour)); d > day {
				day = d
				left := points[:0]
				for j, decision := range keep.Decide(now, points) {
					if decision.Keep {
						left = append(left, points[j])
					}
				}
				points = left
			}
		}
	}
	return len(points)
}
