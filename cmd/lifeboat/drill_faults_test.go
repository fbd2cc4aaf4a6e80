package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/evidence"
	"lifeboat/internal/testenv"
)

// drilledAs runs a drill that must end with an exit code, and returns its report.
func (x *fixture) drilledAs(code int, args ...string) (r evidence.Report) {
	x.t.Helper()
	s := x.run(append([]string{"drill", "run", "crm", "--identity", x.path("key"), "--json"}, args...)...)
	if err := json.Unmarshal([]byte(s.out), &r); err != nil {
		x.t.Fatalf("%v: %s", err, s)
	}
	if s.code != code {
		x.t.Fatalf("exit code %d, want %d: %s; %q; %+v", s.code, code, s.err, r.Errors, r.Findings)
	}
	speaks(x.t, r)
	return r
}

// checkOf is one check of a report.
func checkOf(t *testing.T, r evidence.Report, id string) evidence.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("the report has no check %s: %+v", id, r)
	return evidence.Check{}
}

// TestDrillProbes asks a restored cluster what is right, wrong, slow and forbidden, and holds it against what was counted in production.
func TestDrillProbes(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresVersion(t, "15"))
	pg.Query("postgres", "CREATE TABLE note AS SELECT g, md5(g::text) t FROM generate_series(1, 1000) g; CREATE TABLE quiet AS SELECT generate_series(1, 500) n")
	pg.Query("postgres", "GRANT pg_read_all_data TO backup")
	policy := func(drill string) {
		t.Helper()
		x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], logs: continuous, drill: {baseline: 1m, scratch: %s%s}}\n", x.path("scratch"), drill))
	}
	policy("")
	x.want(0, "backup", "crm")
	end := x.stream()
	pg.Query("postgres", "UPDATE ledger SET note = note; INSERT INTO note VALUES (1001, 'more')")
	x.caught(pg)
	end(syscall.SIGTERM) // the newest position stays

	r := x.drilledAs(0)
	c := checkOf(t, r, "counts")
	for _, table := range c.Tables {
		switch name := table.Name; {
		case strings.HasSuffix(name, "public.quiet") && (!table.Exact || table.Rows != 500):
			t.Errorf("nobody touched %+v", table)
		case strings.HasSuffix(name, "public.note") && (table.Exact || table.Rows != 1001 || table.Expected == nil || *table.Expected != 1000):
			t.Errorf("one row more than was counted: %+v", table)
		}
	}
	if r.Isolation.Processes != 0 || r.Isolation.Teardown != evidence.Pass || r.RTO.Actual <= 0 || r.Backup.LogSize == 0 {
		t.Errorf("isolation %+v, RTO %+v, backup %+v", r.Isolation, r.RTO, r.Backup)
	}
	again := x.drilledAs(0)
	if c := checkOf(t, again, "digests"); !strings.Contains(c.Expected, r.ID) || c.Verdict != evidence.Pass || strings.Contains(c.Observed, " 0 compared") {
		t.Errorf("two drills of one position were not compared: %+v", c)
	}

	policy(`, time_limit: 2s, checks: [{name: hangs, sql: "select pg_sleep(60)", matches: x}, {name: writes, sql: "insert into note values (1, 'x') returning g", min: 0},
    {name: words, sql: "select 'many'", min: 1}, {name: gone, sql: "select count(*) from nobody", min: 1}, {name: soft, sql: "select 1", equals: 2, severity: warning}]`)
	r = x.drilledAs(3)
	for id, want := range map[string][2]string{"hangs": {"inconclusive", "it did not end within 2s"}, "writes": {"inconclusive", "read-only"}, "words": {"fail", ""}, "gone": {"inconclusive", "42P01"}, "soft": {"fail", ""}} {
		if c := checkOf(t, r, "assertion:"+id); string(c.Verdict) != want[0] || !strings.Contains(c.Why, want[1]) {
			t.Errorf("%s: %+v, want %q", id, c, want)
		}
	}

	// Two tables are swapped, behind what was counted; then back.
	policy("")
	swap := "ALTER TABLE quiet RENAME TO aside; ALTER TABLE note RENAME TO quiet; ALTER TABLE aside RENAME TO note"
	end = x.stream()
	pg.Query("postgres", swap)
	x.caught(pg)
	r = x.drilledAs(0)
	if c := checkOf(t, r, "drift"); c.Verdict != evidence.Fail || !strings.Contains(c.Why, "note has 500 rows, and had 1001") || !strings.Contains(c.Why, "quiet has 1001 rows, and had 500") {
		t.Errorf("tables were swapped: %+v", c)
	}
	if !slices.ContainsFunc(r.Findings, func(f evidence.Finding) bool { return f.ID == "drift" }) {
		t.Errorf("nobody has to see to it: %+v", r.Findings)
	}
	pg.Query("postgres", swap)
	x.caught(pg)
	end(syscall.SIGTERM)

	// A table is emptied, and one is dropped.
	end = x.stream()
	pg.Query("postgres", "DELETE FROM note")
	x.caught(pg)
	if c := checkOf(t, x.drilledAs(3), "counts"); c.Verdict != evidence.Fail || !strings.Contains(c.Why, "note is empty, and had 1000 rows") {
		t.Errorf("a table is empty: %+v", c)
	}
	pg.Query("postgres", "DROP TABLE note; ALTER TABLE quiet RENAME TO aside; CREATE TABLE quiet AS SELECT generate_series(1, 500) n")
	x.caught(pg)
	if c := checkOf(t, x.drilledAs(3), "inventory"); c.Verdict != evidence.Fail || !strings.Contains(c.Why, "note is missing") {
		t.Errorf("a table is missing: %+v", c)
	}
	end(syscall.SIGTERM)
}

// TestDrillEngine tries a drill where no program of the server's version is in any of the usual places: what would have come of it stays open.
func TestDrillEngine(t *testing.T) {
	t.Parallel()
	x, _ := newCluster(t, testenv.PostgresVersion(t, "17"))
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", x.path("scratch")))
	x.want(0, "backup", "crm")
	r := x.drilledAs(3)
	if r.Result != evidence.Inconclusive || !strings.Contains(fmt.Sprint(r.Errors), "17 is needed, found: ") || strings.Contains(fmt.Sprint(r.Errors), "engine-bin") || r.Isolation.Teardown != evidence.Pass {
		t.Errorf("%s, %q, %+v", r.Result, r.Errors, r.Isolation)
	}
	if left, err := os.ReadDir(x.path("scratch")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestDrillRefusals tries drills that cannot be made: each is inconclusive, or refused before it begins, and leaves nothing.
func TestDrillRefusals(t *testing.T) {
	x := newFixture(t, "disk")
	x.want(0, "backup", "crm")
	small := x.path("small")
	x.must(os.Mkdir(small, 0o700))
	x.must(unix.Mount("tmpfs", small, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = unix.Unmount(small, 0) })
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", small))
	if r := x.drilledAs(3); r.Result != evidence.Inconclusive || !strings.Contains(fmt.Sprint(r.Errors), "room") {
		t.Errorf("too little disk: %s, %q", r.Result, r.Errors)
	}
	if left, err := os.ReadDir(small); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", x.path("scratch")))
	x.want(0, "keygen", "-o", x.path("other"))
	x.want(4, "drill", "run", "crm", "--identity", x.path("other"))
	if _, err := os.Lstat(x.path("scratch")); err == nil {
		t.Error("something was done with an identity that does not fit")
	}

	// What has no mark of the drill stays, whatever its name is.
	x.must(os.MkdirAll(x.path("scratch", "lifeboat-drill-20260101-000000-00000000", "work"), 0o700))
	note := `{"report": {"schema": "lifeboat/drill-report/1", "id": "20260101-000000-00000000", "trigger": {"by": "root@vm"}}, "body": {}, "scratch": "` + x.path("scratch") + `"}`
	x.must(os.MkdirAll(x.path("state", "drills"), 0o700))
	x.must(os.WriteFile(x.path("state", "drills", "20260101-000000-00000000.json"), []byte(note), 0o600))
	s := x.run("drill", "run", "crm", "--identity", x.path("key"))
	if _, err := os.Lstat(x.path("scratch", "lifeboat-drill-20260101-000000-00000000", "work")); err != nil {
		t.Errorf("a directory that no drill made is gone: %v, %s", err, s)
	}
	entries, err := filepath.Glob(x.path("state", "drills", "*"))
	x.must(err)
	if s.code != 0 || len(entries) != 0 {
		t.Errorf("%s; %q is left", s, entries)
	}
}

// TestDrillFull restores the files that belong with a database, too, and fails where they are damaged.
func TestDrillFull(t *testing.T) {
	x := newFixture(t, "disk")
	x.must(os.Mkdir(x.path("uploads"), 0o700))
	x.must(os.WriteFile(x.path("uploads", "logo"), []byte(strings.Repeat("a picture ", 1000)), 0o600))
	b := strings.Replace(string(x.read("lifeboat.yaml")), "targets:\n", fmt.Sprintf("  crm-files: {engine: files, paths: [%s]}\ntargets:\n", x.path("uploads")), 1)
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(b), 0o600))
	files := fmt.Sprintf("policies:\n  crm: {sources: [crm, crm-files], drill: {mode: full, scratch: %s}}\n", x.path("scratch"))
	x.policy(files)
	x.want(0, "backup", "crm")
	if r := x.drilledAs(3); r.Result != evidence.Inconclusive || !strings.Contains(fmt.Sprint(r.Errors), "no snapshot of crm-files") {
		t.Errorf("without files: %s, %q", r.Result, r.Errors)
	}
	x.want(0, "backup", "crm-files")
	r := x.drilledAs(0)
	if c := r.Backup.Companions; len(c) != 1 || c[0].Source != "crm-files" || c[0].Verdict != evidence.Pass || c[0].Size == 0 || c[0].Files == 0 {
		t.Errorf("companions %+v", c)
	}
	for _, l := range r.NotTested {
		if l.Code == "companions" {
			t.Error("the files were restored, and count as not tested")
		}
	}
	if slices.ContainsFunc(r.Checks, func(c evidence.Check) bool { return c.ID == "companions" }) {
		t.Error("nothing says how near the files must be, and it is judged")
	}
	x.policy(strings.Replace(files, "drill:", "rpo: 1h, drill:", 1))
	companions := func(r evidence.Report) (found evidence.Check) {
		for _, c := range r.Checks {
			if c.ID == "companions" {
				found = c
			}
		}
		return found
	}
	if c := companions(x.drilledAs(0)); c.Verdict != evidence.Pass {
		t.Errorf("files of this hour: %+v", c)
	}
	x.policy(strings.Replace(files, "drill:", "rpo: 1h, drill:", 1))
	x.shift = 5 * time.Hour
	x.want(0, "backup", "crm")
	x.policy(strings.Replace(files, "drill:", "rpo: 1h, drill:", 1))
	if c := companions(x.drilledAs(0)); c.Verdict != evidence.Fail || c.Severity != evidence.Warning || !strings.Contains(c.Why, " is 5h0m") {
		t.Errorf("files of five hours before: %+v", c)
	}
	// The pack of the files alone is damaged.
	packs := map[string]bool{}
	for _, e := range x.records("disk") {
		if e.Snapshot != nil && e.Seq == 2 {
			for _, o := range e.Objects {
				packs[o.Name] = true
			}
		}
	}
	for _, name := range x.objects("disk") {
		if strings.HasPrefix(name, "packs/") && !packs[name] {
			b := x.read("disk", name)
			x.must(os.WriteFile(x.path("disk", name), spoil("random:1", b), 0o600))
		}
	}
	if r := x.drilledAs(3); r.Result != evidence.Fail {
		t.Errorf("damaged files: %s, %q", r.Result, r.Errors)
	}
}

// TestDrillsTogether begins drills at the same time: one is made, the other refused, and the evidence stays whole. One that dies behind its report is not
// reported twice.
func TestDrillsTogether(t *testing.T) {
	x := newFixture(t, "disk")
	x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], schedule: {incremental: \"@daily\", timezone: UTC}, drill: {scratch: %s}}\n", x.path("scratch")))
	x.want(0, "backup", "crm")
	codes := make(chan int, 4)
	for range cap(codes) {
		go func() { codes <- x.run("drill", "run", "crm", "--identity", x.path("key")).code }()
	}
	made := 0
	for range cap(codes) {
		switch code := <-codes; code {
		case 0:
			made++
		case 4:
		default:
			t.Errorf("exit code %d", code)
		}
	}
	var rows []drillRow
	x.must(json.Unmarshal([]byte(x.want(0, "drill", "list", "--json").out), &rows))
	if made == 0 || len(rows) != made {
		t.Fatalf("%d drills were made, and %d are recorded", made, len(rows))
	}
	var r evidence.Report
	x.must(json.Unmarshal([]byte(x.want(0, "drill", "show", "latest", "--json").out), &r))
	note, err := json.Marshal(unfinished{Report: &r, Scratch: x.path("scratch")})
	x.must(err)
	x.must(os.WriteFile(x.path("state", "drills", r.ID+".json"), note, 0o600)) // as a kill right behind the report leaves it
	x.want(0, "drill", "run", "crm", "--identity", x.path("key"))
	x.want(0, "drill", "bundle", "-o", x.path("bundle.zip"))
	x.must(json.Unmarshal([]byte(x.want(0, "drill", "list", "--json").out), &rows))
	if len(rows) != made+1 {
		t.Errorf("%d drills are recorded, not %d", len(rows), made+1)
	}
}
