package policies

import (
	"slices"
	"testing"
	"time"
)

func when(t *testing.T, s string) time.Time {
	t.Helper()
	if s == "" {
		return time.Time{}
	}
	out, err := time.Parse("2006-01-02 15:04", s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDrillDue(t *testing.T) {
	const weekly, hourly = "0 4 * * 6", "0 * * * *" // Saturdays: 2026-11-07, 14, 21, 28
	for _, tt := range []struct {
		name, cron, since, now string
		served                 []string
		due, overdue           string // empty: not
		missed                 []string
	}{
		{name: "never, and always was asked for", cron: weekly, now: "2026-11-21 05:00", due: "2026-11-21 04:00"},
		{name: "never, overdue", cron: weekly, now: "2026-11-26 05:00", due: "2026-11-21 04:00", overdue: "2026-11-22 04:00"},
		{name: "new", cron: weekly, since: "2026-11-21 04:00", now: "2026-11-26 05:00"},
		{name: "new, for the first time", cron: weekly, since: "2026-11-20 04:00", now: "2026-11-21 04:00", due: "2026-11-21 04:00"},
		{name: "not yet", cron: weekly, since: "2026-11-22 04:00", now: "2026-11-21 04:00"},
		{name: "served", cron: weekly, served: []string{"2026-11-21 04:00"}, now: "2026-11-28 03:59"},
		{name: "served, and due", cron: weekly, served: []string{"2026-11-21 04:00", "2026-11-14 04:00"}, now: "2026-11-28 04:00", due: "2026-11-28 04:00"},
		{name: "grace", cron: weekly, served: []string{"2026-11-21 04:00"}, now: "2026-11-29 04:00", due: "2026-11-28 04:00"},
		{name: "over", cron: weekly, served: []string{"2026-11-21 04:00"}, now: "2026-11-29 04:01", due: "2026-11-28 04:00", overdue: "2026-11-29 04:00"},
		{name: "several", cron: weekly, served: []string{"2026-11-07 04:00"}, now: "2026-11-28 04:00", due: "2026-11-28 04:00", overdue: "2026-11-15 04:00",
			missed: []string{"2026-11-14 04:00", "2026-11-21 04:00"}},
		{name: "a manual one serves nothing", cron: weekly, served: []string{""}, now: "2026-11-21 05:00", due: "2026-11-21 04:00"},
		{name: "a clock that was wrong", cron: weekly, served: []string{"2026-11-14 04:00", "2027-11-20 04:00"}, now: "2026-11-21 05:00", due: "2026-11-21 04:00"},
		{name: "grace of a period", cron: hourly, served: []string{"2026-11-21 04:00"}, now: "2026-11-21 06:30", due: "2026-11-21 06:00", overdue: "2026-11-21 06:00",
			missed: []string{"2026-11-21 05:00"}},
		{name: "no schedule", now: "2026-11-21 05:00"},
	} {
		s := DrillSchedule{Cron: cron(tt.cron, time.UTC), Since: when(t, tt.since)}
		var runs []DrilledRun
		for _, d := range tt.served {
			runs = append(runs, DrilledRun{Due: when(t, d), Began: when(t, d), Result: Unknown})
		}
		var missed []time.Time
		for _, m := range tt.missed {
			missed = append(missed, when(t, m))
		}
		got, ok := s.Due(when(t, tt.now), runs)
		if ok != (tt.due != "") || !got.Due.Equal(when(t, tt.due)) || !got.Overdue.Equal(when(t, tt.overdue)) || !slices.EqualFunc(got.Missed, missed, time.Time.Equal) {
			t.Errorf("%s: %+v %v", tt.name, got, ok)
		}
	}
	s := DrillSchedule{Cron: cron(weekly, time.UTC), Since: when(t, "2026-11-21 04:00")}
	if got := s.Next(when(t, "2026-01-01 00:00")); !got.Equal(when(t, "2026-11-28 04:00")) || !(DrillSchedule{}).Next(got).IsZero() {
		t.Error("the next is", got)
	}
}

// TestDrillMissedIsBounded has a schedule that was not served for decades.
func TestDrillMissedIsBounded(t *testing.T) {
	now := when(t, "2026-11-21 05:00")
	for _, text := range []string{"* * * * *", "0 4 29 2 *", "*/10 3 * * 0"} {
		s := DrillSchedule{Cron: cron(text, time.UTC)}
		due, ok := s.Due(now, []DrilledRun{{Due: when(t, "1990-01-01 00:00")}, {Due: time.Unix(-1<<35, 0)}})
		if !ok || len(due.Missed) > maxMissed || len(due.Missed) == 0 {
			t.Fatalf("%s: %d missed", text, len(due.Missed))
		}
		if last := due.Missed[len(due.Missed)-1]; !s.Cron.Next(last).Equal(due.Due) || !slices.IsSortedFunc(due.Missed, time.Time.Compare) {
			t.Errorf("%s: due %v, the last that was missed %v", text, due.Due, last)
		}
	}
	if _, ok := (DrillSchedule{Cron: cron("0 4 * * 6", time.UTC)}).Due(now, []DrilledRun{{Due: time.Time{}.Add(time.Hour)}}); !ok {
		t.Error("not due")
	}
}

func TestPickCopy(t *testing.T) {
	day := func(n int) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return time.Date(2026, 11, n, 4, 0, 0, 0, time.UTC)
	}
	for _, tt := range []struct {
		name, from string
		copies     []DrillCopy
		want       string // or the error
		excluded   int
	}{
		{"in order", "rotate", []DrillCopy{{Target: "a"}, {Target: "b"}}, "a", 0},
		{"never first", "rotate", []DrillCopy{{Target: "a", Last: day(1)}, {Target: "b"}}, "b", 0},
		{"the oldest", "rotate", []DrillCopy{{Target: "a", Last: day(3)}, {Target: "b", Last: day(2)}, {Target: "c", Last: day(4)}}, "b", 0},
		{"not usable", "rotate", []DrillCopy{{Target: "a", Against: "away"}, {Target: "b", Last: day(2)}}, "b", 1},
		{"behind one without verdict", "rotate", []DrillCopy{{Target: "a", Tried: day(5)}, {Target: "b", Last: day(4)}, {Target: "c", Last: day(3)}}, "c", 0},
		{"again without verdict", "rotate", []DrillCopy{{Target: "a", Tried: day(5)}, {Target: "b", Last: day(6)}}, "a", 0},
		{"only one", "rotate", []DrillCopy{{Target: "a", Last: day(1), Tried: day(5)}, {Target: "b", Against: "away"}}, "a", 1},
		{"all without verdict", "rotate", []DrillCopy{{Target: "a", Tried: day(5)}, {Target: "b", Tried: day(4)}}, "b", 0},
		{"none", "rotate", nil, "no copy can be drilled: there is none", 0},
		{"none usable", "rotate", []DrillCopy{{Target: "a", Against: "away"}, {Target: "b", Against: "behind"}}, "no copy can be drilled: a: away; b: behind", 2},
		{"named", "b", []DrillCopy{{Target: "a"}, {Target: "b", Last: day(4)}}, "b", 0},
		{"named, not usable", "a", []DrillCopy{{Target: "a", Against: "away"}, {Target: "b"}}, "no copy can be drilled: the policy drills a alone: away", 0},
		{"named, not there", "c", []DrillCopy{{Target: "a"}}, "no copy can be drilled: the policy drills c alone, and there is no such copy", 0},
	} {
		got, excluded, err := PickCopy(tt.from, tt.copies)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || len(excluded) != tt.excluded {
			t.Errorf("%s: %q, without %v", tt.name, got, excluded)
		}
	}
}

// TestRotation drills for a year: no copy waits for ever, whichever of them never come to a verdict.
func TestRotation(t *testing.T) {
	targets := []string{"a", "b", "c", "d"}
	for never := range 1 << len(targets) { // a bit for each that comes to none
		var runs []DrilledRun
		count := map[string]int{}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		runs = append(runs, DrilledRun{Copy: "b", Began: now.AddDate(9, 0, 0), Result: Passed}) // a clock that was wrong
		for range 60 {
			now = now.Add(7 * 24 * time.Hour)
			pick, _, err := PickCopy(FromRotate, DrillCopies(now, targets, runs))
			if err != nil {
				t.Fatal(err)
			}
			count[pick]++
			result := Passed
			if never>>slices.Index(targets, pick)&1 == 1 {
				result = Unknown
			}
			runs = append(runs, DrilledRun{Copy: pick, Began: now, Result: result})
		}
		for _, target := range targets {
			if count[target] < 60/8 || never == 0 && count[target] != 15 {
				t.Errorf("without verdict %04b: %v", never, count)
				break
			}
		}
	}
}

func TestPickSource(t *testing.T) {
	now := when(t, "2026-11-21 05:00")
	scheduled := func(source string, days int) DrilledRun {
		began := now.AddDate(0, 0, -days)
		return DrilledRun{Source: source, Due: began, Began: began}
	}
	runs := []DrilledRun{scheduled("crm", 3), scheduled("shop", 2), scheduled("shop", -9), {Source: "crm", Began: now}}
	for want, sources := range map[string][]string{"": nil, "new": {"crm", "new", "newer"}, "crm": {"shop", "crm"}, "shop": {"shop"}} {
		if got := PickSource(now, sources, runs); got != want {
			t.Errorf("of %q it picks %q", sources, got)
		}
	}
}
