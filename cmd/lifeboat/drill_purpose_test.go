package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/crm"
	"lifeboat/journal"
	"lifeboat/repository"
)

// TestDrillOnPurpose drops a table: drills fail until somebody else reviews a report, and none forgets the table before.
func TestDrillOnPurpose(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	db, err := crm.Open(x.path("crm.db"))
	x.must(err)
	exec := func(sql string) {
		t.Helper()
		_, err := db.Exec(sql)
		x.must(err)
	}
	exec("CREATE TABLE old_import (a); INSERT INTO old_import VALUES (1)")
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", x.path("scratch")))
	x.want(0, "backup", "crm")
	x.drilledAs(0)
	exec("DROP TABLE old_import")
	x.must(db.Close())
	x.want(0, "backup", "crm")
	var failed evidence.Report
	for range sameAmong + 2 {
		failed = x.drilledAs(3)
	}
	if c := checkOf(t, failed, "inventory"); c.Verdict != evidence.Fail || !strings.Contains(c.Why, "old_import") {
		t.Errorf("%+v", c)
	}
	if s := x.want(3, "drill", "run", "crm", "--identity", x.path("key")); !strings.Contains(s.err, "If that was done on purpose") {
		t.Error(s)
	}
	chain, err := repository.KnownChain(x.path("state"))
	x.must(err)
	drills := repository.Drills(chain, nil)
	at := time.Now().UTC()
	x.must(repository.Note(x.path("state"), repository.Noted{Record: journal.Record{Type: journal.Review, By: "jane@desk", Happened: &at, Reason: "migration 42",
		Review: &journal.ReviewBody{Report: drills[len(drills)-1].Report, As: "Jane"}}}))
	x.want(0, "copy")
	x.drilledAs(0)
}

// TestDrillTurnOf takes the database that has the snapshot which is asked for, and lets no drill of a clock that was ahead hold up the others.
func TestDrillTurnOf(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	b, err := smallCRM()
	x.must(err)
	x.must(os.WriteFile(x.path("b.db"), b, 0o600))
	conf := strings.Replace(string(x.read("lifeboat.yaml")), "targets:", "  shop: {engine: sqlite, path: "+x.path("b.db")+"}\ntargets:", 1)
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(conf), 0o600))
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm, shop], drill: {scratch: %s}}\n", x.path("scratch")))
	x.want(0, "backup", "crm")
	x.want(0, "backup", "shop")
	first := x.drilledAs(0)
	x.shift = 48 * time.Hour
	second := x.drilledAs(0)
	x.shift = 0
	if first.Policy.Source != "crm" || second.Policy.Source != "shop" {
		t.Fatalf("%s, %s", first.Policy.Source, second.Policy.Source)
	}
	var turns []string
	for range 3 {
		turns = append(turns, x.drilledAs(0).Policy.Source)
	}
	if got := strings.Join(turns, " "); got != "shop crm shop" {
		t.Errorf("the turns are %s", got)
	}
	if r := x.drilledAs(0, "--at", "snapshot:"+first.Backup.Snapshot); r.Policy.Source != "crm" {
		t.Errorf("a snapshot of crm was looked for in %s", r.Policy.Source)
	}
	if r := x.drilledAs(0, "--at", "snapshot:"+second.Backup.Snapshot); r.Policy.Source != "shop" {
		t.Errorf("a snapshot of shop was looked for in %s", r.Policy.Source)
	}
}
