package daemon

import (
	"strings"
	"testing"
	"time"

	"lifeboat/config"
	"lifeboat/internal/calendar"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
)

// TestDrillStatus says what is due, overdue and missed, from what was drilled and since when there is something to drill.
func TestDrillStatus(t *testing.T) {
	cron, err := calendar.ParseCron("0 4 * * 6")
	if err != nil {
		t.Fatal(err)
	}
	p := config.Policy{Name: "crm", Drill: config.Drill{Schedule: cron.In(time.UTC)}}
	saturday := time.Date(2026, 11, 7, 4, 0, 0, 0, time.UTC)
	day, week := 24*time.Hour, 7*24*time.Hour
	at := func(d time.Duration) time.Time { return saturday.Add(d) }
	done := func(due time.Time, result string) *policyDrills {
		last := &repository.Drilled{DrillBody: &journal.DrillBody{Due: &due, Result: result}, At: due.Add(time.Hour)}
		return &policyDrills{since: at(-30 * day), last: last, runs: []policies.DrilledRun{{Due: due, Began: due, Result: result, Copy: "disk"}}}
	}
	for _, test := range []struct {
		name    string
		known   *policyDrills
		now     time.Time
		overdue bool
		missed  int
		trouble string
	}{
		{"nothing to drill", &policyDrills{}, at(0), false, 0, ""},
		{"before the first time", &policyDrills{since: at(-day)}, at(-time.Hour), false, 0, ""},
		{"due, and there is time", &policyDrills{since: at(-day)}, at(time.Hour), false, 0, ""},
		{"overdue", &policyDrills{since: at(-day)}, at(2 * day), true, 0, "overdue since"},
		{"served", done(at(0), policies.Passed), at(2 * day), false, 0, ""},
		{"served, and failed", done(at(0), policies.Failed), at(2 * day), false, 0, "ended with the result: fail"},
		{"served, and open", done(at(0), policies.Unknown), at(2 * day), false, 0, "ended with the result: inconclusive"},
		{"three weeks without", done(at(0), policies.Passed), at(3*week + 2*day), true, 2, "overdue since"},
		{"a clock that was ahead", done(at(10*week), policies.Passed), at(2 * day), true, 4, "overdue since"},
	} {
		s, ok := test.known.status(p, test.now)
		if !ok || (s.Overdue != nil) != test.overdue || s.Missed != test.missed {
			t.Errorf("%s: %+v, %t", test.name, s, ok)
		}
		if got := s.Trouble(); (got == "") != (test.trouble == "") || !strings.Contains(got, test.trouble) {
			t.Errorf("%s: trouble %q, want %q", test.name, got, test.trouble)
		}
	}
	if _, ok := (&policyDrills{}).status(config.Policy{Name: "none"}, at(0)); ok {
		t.Error("a policy without drills has a status of them")
	}
}
