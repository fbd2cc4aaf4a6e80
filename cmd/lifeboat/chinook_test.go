package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"lifeboat/internal/testenv"
)

// chinook finds a real business database, which is not part of the project: in $LIFEBOAT_TESTDATA, or beside the checkout.
func chinook(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("LIFEBOAT_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	path := filepath.Join(dir, "chinook", name)
	if _, err := os.Stat(path); err == nil {
		return path
	} else if os.Getenv("CI") != "" || os.Getenv("LIFEBOAT_TESTDATA") != "" {
		t.Fatalf("real data: %v: set LIFEBOAT_TESTDATA to the directory that holds chinook/", err)
	}
	return ""
}

// TestChinook brings a real database back: the same bytes, the same SQL.
func TestChinook(t *testing.T) {
	path := chinook(t, "Chinook_Sqlite.sqlite")
	if path == "" {
		t.Log("no real data on this machine: nothing was tested")
		return
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x := newFixture(t, "disk")
	x.must(os.WriteFile(x.path("crm.db"), body, 0o644))
	x.want(0, "backup", "crm")
	to := x.path("out")
	x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", to, "--start")
	got := x.read("out", "crm.db")
	if !bytes.Equal(got, body) {
		t.Error("other bytes")
	}
	if a, b := dump(t, path), dump(t, filepath.Join(to, "crm.db")); !bytes.Equal(a, b) || len(a) < len(body)/4 {
		t.Errorf("another dump: %d and %d bytes", len(a), len(b))
	}
}

// TestChinookPostgres brings the same business back from PostgreSQL, and starts it without Lifeboat, an identity or a network.
func TestChinookPostgres(t *testing.T) {
	t.Parallel()
	path := chinook(t, "Chinook_PostgreSql.sql")
	if path == "" {
		t.Log("no real data on this machine: nothing was tested")
		return
	}
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x, pg := newCluster(t, testenv.PostgresBin)
	x.must(os.WriteFile(filepath.Join(pg.Base, "chinook.sql"), script, 0o644))
	pg.Run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", filepath.Join(pg.Base, "chinook.sql"), pg.DSN("postgres", "postgres"))
	want := pg.Run("pg_dump", pg.DSN("postgres", "chinook"))
	x.want(0, "backup", "crm")
	pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "fast")
	to := filepath.Join(pg.Base, "restored")
	x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", to)
	x.must(os.Remove(x.path("key")))
	t.Cleanup(func() { testenv.StopPostgres(t, pg.Bin, to) })
	command := []string{"unshare", "--net", "runuser", "-u", "postgres", "--", filepath.Join(pg.Bin, "pg_ctl"), "start", "-D", to, "-w", "-s", "-l", filepath.Join(pg.Base, "restored.log")}
	if os.Geteuid() != 0 {
		command = command[5:]
	}
	if err := exec.CommandContext(t.Context(), command[0], command[1:]...).Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(pg.Base, "restored.log")) // for the message
		t.Fatalf("start what was restored: %v: %s", err, log)
	}
	if got := pg.Run("pg_dump", "-h", to, "-U", "postgres", "chinook"); withoutKeys(got) != withoutKeys(want) || len(want) < 400_000 {
		t.Errorf("another dump: %d and %d bytes", len(want), len(got))
	}
}

// withoutKeys is a dump without the random key that restricts what psql does with it.
func withoutKeys(dump string) string {
	return regexp.MustCompile(`(?m)^\\(un)?restrict .*$`).ReplaceAllString(dump, "")
}

// dump is the database as SQL, by SQLite's own shell.
func dump(t *testing.T, path string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sqlite3", "file:"+path+"?mode=ro&immutable=1", ".dump").Output()
	if err != nil {
		t.Fatalf("sqlite3 .dump: %v (scripts/setup installs it)", err)
	}
	return out
}
