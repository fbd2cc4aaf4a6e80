package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// chinook finds a real business database, which is not part of the project: in $LIFEBOAT_TESTDATA, or beside the checkout.
func chinook(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LIFEBOAT_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	path := filepath.Join(dir, "chinook", "Chinook_Sqlite.sqlite")
	if _, err := os.Stat(path); err == nil {
		return path
	} else if os.Getenv("CI") != "" || os.Getenv("LIFEBOAT_TESTDATA") != "" {
		t.Fatalf("real data: %v: set LIFEBOAT_TESTDATA to the directory that holds chinook/", err)
	}
	return ""
}

// TestChinook brings a real database back: the same bytes, the same SQL.
func TestChinook(t *testing.T) {
	path := chinook(t)
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

// dump is the database as SQL, by SQLite's own shell.
func dump(t *testing.T, path string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sqlite3", "file:"+path+"?mode=ro&immutable=1", ".dump").Output()
	if err != nil {
		t.Fatalf("sqlite3 .dump: %v (scripts/setup installs it)", err)
	}
	return out
}
