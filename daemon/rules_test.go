package daemon

import (
	"testing"
	"time"

	"lifeboat/internal/calendar"
	"lifeboat/journal"
	"lifeboat/policies"
)

// TestFullIsRemembered has a full a month, and a snapshot every quarter of an hour: no other full is due within the month.
func TestFullIsRemembered(t *testing.T) {
	cron := func(text string) *calendar.Cron {
		c, err := calendar.ParseCron(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s := policies.Schedule{Full: cron("@monthly"), Incremental: cron("*/15 * * * *"), Zone: time.UTC}
	begin := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	var entries []journal.Entry
	for due, kind := begin, "full"; due.Month() == begin.Month(); due, kind = due.Add(15*time.Minute), "incremental" {
		if len(entries)%50 == 0 {
			if run, ok := s.Due(due, "crm", DoneOf(entries, nil)["crm"]); !ok || run.Full != (kind == "full") {
				t.Fatalf("at %s behind %d snapshots: %+v, %v", due, len(entries), run, ok)
			}
		}
		entries = append(entries, journal.Entry{Record: journal.Record{Snapshot: &journal.SnapshotBody{Source: "crm", Kind: kind, Due: &due}}},
			journal.Entry{Record: journal.Record{Snapshot: &journal.SnapshotBody{Source: "other", Kind: "full", Due: &due}}})
	}
	if run, ok := s.Due(begin.AddDate(0, 1, 0), "crm", DoneOf(entries, nil)["crm"]); !ok || !run.Full {
		t.Errorf("the next month begins with %+v, %v", run, ok)
	}
}
