package sqlite

import (
	"errors"
	"lifeboat/snapshot"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerify(t *testing.T) {
	path, err := save(t, open(t, New(database(t, 400<<10, 4096), Options{})), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("Verify left %d files, %v", len(entries), err)
	}
	broken := filepath.Join(t.TempDir(), "broken.db")
	copyFile(t, path, broken)
	db := connect(t, broken, "journal_mode(DELETE)")
	run(t, db, "PRAGMA foreign_keys=0", "UPDATE contact SET account_id=999999 WHERE id=1")
	err = Verify(t.Context(), broken)
	if !errors.Is(err, ErrVerify) || !strings.Contains(err.Error(), "row 1 of contact refers to a row of account") {
		t.Errorf("broken key: %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 40; at < 60; at++ {
		copy(data[at*4096:], "damage damage damage damage")
	}
	if err := os.WriteFile(broken, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), broken); !errors.Is(err, ErrVerify) && !errors.Is(err, ErrCorrupt) {
		t.Errorf("damaged pages: %v", err)
	} else {
		t.Log(err)
	}
	if err := Verify(t.Context(), filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path+"-wal", []byte("log"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), path); err == nil {
		t.Error("a file with a log beside it was verified without the log")
	}
}

func TestDoctor(t *testing.T) {
	levels := func(path string) string {
		var words []string
		for _, f := range New(path, Options{}).Doctor(t.Context()) {
			words = append(words, f.Name+" "+string(f.Level))
			if f.Level != snapshot.OK && f.Fix == "" || f.Detail == "" || strings.Contains(f.Detail, "\n") {
				t.Errorf("%+v", f)
			}
		}
		return strings.Join(words, ", ")
	}
	path := database(t, 400<<10, 4096)
	if got := levels(path); got != "file ok, header ok, schema ok, journal mode ok, -wal ok, -shm ok" {
		t.Error(got)
	}
	churn(t, connect(t, path), 1)
	if err := os.Truncate(path+"-wal", walLarge+1); err != nil { // sparse
		t.Fatal(err)
	}
	if err := os.Chmod(path+"-shm", 0o666); err != nil {
		t.Fatal(err)
	}
	if got := levels(path); !strings.Contains(got, "-wal warn, -shm warn") {
		t.Error(got)
	}
	if got := levels(rollbackDatabase(t, 400<<10, "delete")); !strings.Contains(got, "journal mode warn, temporary space ok") {
		t.Error(got)
	}
	if got := levels(filepath.Join(t.TempDir(), "missing")); got != "file fail" {
		t.Error(got)
	}
}
