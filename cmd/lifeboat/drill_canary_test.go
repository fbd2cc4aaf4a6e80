package main

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lifeboat/evidence"
	"lifeboat/internal/crm"
	"lifeboat/internal/testenv"
)

// untested reports whether a drill says that it looked for no canary, and makes sure that it did not.
func untested(r evidence.Report) bool {
	return slices.ContainsFunc(r.NotTested, func(l evidence.Limit) bool { return l.Code == "canary" && l.Text != "canary" }) &&
		!slices.ContainsFunc(r.Checks, func(c evidence.Check) bool { return c.ID == "canary" })
}

// TestDrillCanary looks for the row of a snapshot where one was written, behind all that can happen to it later.
func TestDrillCanary(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresVersion(t, "15"))
	policy := func(canary string) {
		t.Helper()
		x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], logs: continuous, drill: {scratch: %s%s}}\n", x.path("scratch"), canary))
	}
	schemas := func() string {
		return pg.Query("postgres", "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'lifeboat'")[0][0]
	}
	expect := func(r evidence.Report, v evidence.Verdict, observed, why string) {
		t.Helper()
		if c := checkOf(t, r, "canary"); c.Verdict != v || c.Observed != observed || !strings.Contains(c.Why, why) || r.Result != v {
			t.Errorf("%s: %+v, want %s: %s, %s", r.Result, c, v, observed, why)
		}
	}
	policy("")
	if s := x.want(0, "backup", "crm"); schemas() != "0" || strings.Contains(s.err, "canary") {
		t.Errorf("nobody asked for a canary: %s", s)
	}
	if r := x.drilledAs(0); !untested(r) {
		t.Errorf("%+v %+v", r.NotTested, r.Checks)
	}

	policy(", canary: accepted")
	if s := x.want(0, "backup", "crm"); schemas() != "0" || !strings.Contains(s.err, "warning: no canary was written: the role may not make the schema lifeboat_canary") {
		t.Errorf("without the right to: %s", s)
	}
	if r := x.drilledAs(0); !untested(r) {
		t.Errorf("%+v %+v", r.NotTested, r.Checks)
	}
	_, grant, _ := strings.Cut(x.want(0, "doctor", "crm").out, "fix: CREATE SCHEMA")
	grant, _, _ = strings.Cut("CREATE SCHEMA"+grant, "\n")
	pg.Query("postgres", grant)

	if s := x.want(0, "backup", "crm"); strings.Contains(s.err, "canary") {
		t.Errorf("with it: %s", s)
	}
	end := x.stream()
	x.caught(pg)
	x.want(0, "backup", "crm")
	pg.Query("postgres", "UPDATE ledger SET note = note")
	x.caught(pg)
	r := x.drilledAs(0)
	expect(r, evidence.Pass, "the row", "")
	if c := checkOf(t, r, "canary"); untested(r) || !strings.HasPrefix(c.What, "row 2 of lifeboat_crm_crm in lifeboat_canary") {
		t.Errorf("%+v", c)
	}
	if c := checkOf(t, r, "counts"); strings.Contains(fmt.Sprint(c.Tables), "canary") {
		t.Errorf("it was counted: %+v", c)
	}
	second := r.Backup.Snapshot

	// The snapshot after it is forgotten: the log leads over its row.
	x.want(0, "backup", "crm")
	pg.Query("postgres", "UPDATE ledger SET note = note")
	x.caught(pg)
	at := pg.Query("postgres", "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[0][0]
	pg.Query("postgres", "UPDATE ledger SET note = note") // the log leads over that time
	x.caught(pg)
	forget := x.drilledAs(0).Backup.Snapshot
	x.want(0, "backup", "crm")
	x.want(0, "forget", forget, "--reason", "a test", "--yes")
	r = x.drilledAs(0, "--at", at)
	expect(r, evidence.Pass, "the row", "")
	if c := checkOf(t, r, "canary"); r.Backup.Snapshot != second || !strings.HasPrefix(c.What, "row 2 ") {
		t.Errorf("it was restored from %s, not %s: %+v", r.Backup.Snapshot, second, c)
	}
	pg.Query("postgres", "UPDATE ledger SET note = note")
	x.caught(pg)
	r = x.drilledAs(0)
	expect(r, evidence.Pass, "the row", "")
	newest := "snapshot:" + r.Backup.Snapshot

	// Somebody changes the row, and empties the table, behind the snapshot.
	pg.Query("postgres", "UPDATE lifeboat_canary.canary SET value = 'x' || value")
	x.caught(pg)
	expect(x.drilledAs(3), evidence.Fail, "another value", "was changed")
	pg.Query("postgres", "TRUNCATE lifeboat_canary.canary")
	x.caught(pg)
	expect(x.drilledAs(3), evidence.Fail, "no such row, and no other", "somebody removed the row")
	// As if so many attempts at a snapshot had failed that the row was deleted by us.
	pg.Query("postgres", "INSERT INTO lifeboat_canary.canary (writer, number, value, written) SELECT 'lifeboat_crm_crm', g, 'x', now() FROM generate_series(9, 68) g")
	x.caught(pg)
	expect(x.drilledAs(3), evidence.Inconclusive, "", "only 64 are kept")
	expect(x.drilledAs(0, "--at", newest), evidence.Pass, "the row", "")
	end(syscall.SIGTERM)
}

// TestDrillCanarySQLite looks for the row of a snapshot of a database file, which somebody may make vanish before it is taken.
func TestDrillCanarySQLite(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	db, err := crm.Open(x.path("crm.db"))
	x.must(err)
	defer db.Close()
	tables := func(db *sql.DB) (n int) {
		x.must(db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%canary%'").Scan(&n))
		return n
	}
	policy := "policies:\n  crm: {sources: [crm], drill: {scratch: " + x.path("scratch") + "%s}}\n"
	x.policy(fmt.Sprintf(policy, ""))
	x.want(0, "backup", "crm")
	if r := x.drilledAs(0); !untested(r) || tables(db) != 0 {
		t.Errorf("nobody asked for a canary: %+v %+v", r.NotTested, r.Checks)
	}
	x.policy(fmt.Sprintf(policy, ", canary: accepted"))
	if s := x.want(0, "backup", "crm"); strings.Contains(s.err, "canary") || tables(db) != 1 {
		t.Error(s)
	}
	if r := x.drilledAs(0); untested(r) || checkOf(t, r, "canary").Verdict != evidence.Pass {
		t.Errorf("%+v", r.Checks)
	}
	if !strings.Contains(string(x.restored()), "lifeboat_crm_crm") {
		t.Error("what was restored has no row")
	}
	_, err = db.Exec("CREATE TRIGGER mine AFTER INSERT ON lifeboat_canary BEGIN DELETE FROM lifeboat_canary WHERE number = new.number; END")
	x.must(err)
	x.want(0, "backup", "crm")
	if c := checkOf(t, x.drilledAs(3), "canary"); c.Verdict != evidence.Fail || c.Observed != "no such row; the newest is 1" {
		t.Errorf("a row vanished: %+v", c)
	}
	_, err = db.Exec("DROP TRIGGER mine; BEGIN IMMEDIATE")
	x.must(err)
	if s := x.want(0, "backup", "crm"); !strings.Contains(s.err, "warning: no canary was written: another process keeps the database locked") {
		t.Errorf("somebody writes: %s", s)
	}
	if r := x.drilledAs(0); !untested(r) {
		t.Errorf("%+v %+v", r.NotTested, r.Checks)
	}
	if s := x.want(0, "doctor", "crm"); !strings.Contains(s.out, "can be written to the table lifeboat_canary") {
		t.Error(s)
	}
}
