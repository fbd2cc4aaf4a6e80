package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lifeboat/snapshot"
	"lifeboat/verify"
)

// sealed is what a view says of its canary.
func sealed(t *testing.T, v *view) (*verify.Canary, []snapshot.Finding) {
	t.Helper()
	s, err := v.Summary()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest(s.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	return m.Canary, s.Findings
}

// TestCanary writes rows before snapshots of a database in use, in each mode, and finds them in what was saved.
func TestCanary(t *testing.T) {
	for _, mode := range []string{"wal", "delete", "truncate", "persist"} {
		t.Run(mode, func(t *testing.T) {
			path := rollbackDatabase(t, 400<<10, mode)
			w := startWriter(t, path, "", "synchronous(0)")
			s := New(path, Options{Canary: "lifeboat_main_crm"})
			for n := int64(1); n <= 3; n++ {
				v := open(t, s)
				c, findings := sealed(t, v)
				if c == nil {
					if mode != "wal" && len(findings) == 1 { // the writer without pause kept its lock
						n--
						continue
					}
					t.Fatal(findings)
				}
				if c.Number != n || c.Writer != "lifeboat_main_crm" || time.Since(c.Written).Abs() > time.Hour || len(findings) > 0 {
					t.Fatalf("%+v %v", c, findings)
				}
				saved, err := save(t, v, false)
				if err != nil {
					t.Fatal(err)
				}
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
				d := restored(t, saved)
				rows, err := d.Canaries(t.Context(), *c)
				if err != nil || int64(len(rows)) != n || rows[n] == "" {
					t.Fatalf("%v %v", rows, err)
				}
				all, err := d.Inventory(t.Context())
				if err != nil || strings.Contains(fmt.Sprint(all), "canary") {
					t.Errorf("the inventory has %v (%v)", all, err)
				}
				if _, faults, err := d.Integrity(t.Context()); err != nil || len(faults) > 0 {
					t.Errorf("%v %v", faults, err)
				}
			}
			w.kill(t)
			if mode != "wal" {
				return
			}
			before, err := os.Stat(path + "-wal")
			if err != nil || before.Size() == 0 {
				t.Fatal("the writer left no log, so nothing is tested")
			}
			v := open(t, s) // nobody else has it open
			if c, findings := sealed(t, v); c == nil || c.Number != 4 {
				t.Errorf("%+v %v", c, findings)
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			if after, err := os.Stat(path + "-wal"); err != nil || after.Size() < before.Size() {
				t.Errorf("the log was copied into the database, and begun anew or removed: %v", err)
			}
		})
	}
}

// TestCanaryRefused cannot write a row: the snapshot goes on with a warning, in little time.
func TestCanaryRefused(t *testing.T) {
	for name, x := range map[string]struct{ statement, why string }{
		"view":    {"CREATE VIEW lifeboat_canary AS SELECT 1 writer", "lifeboat_canary"},
		"columns": {"CREATE TABLE Lifeboat_Canary (writer)", "no column named"},
		"ignored": {"CREATE TABLE lifeboat_canary (writer, number, value, written); CREATE TRIGGER mine BEFORE INSERT ON lifeboat_canary BEGIN SELECT raise(IGNORE); END", "no rows"},
		"locked":  {"BEGIN IMMEDIATE", "keeps the database locked"},
	} {
		t.Run(name, func(t *testing.T) {
			path := database(t, 100<<10, 4096)
			db := connect(t, path)
			db.SetMaxOpenConns(1)
			run(t, db, strings.SplitAfter(x.statement, "written); ")...)
			began := time.Now()
			v := open(t, New(path, Options{Canary: "w"}))
			c, findings := sealed(t, v)
			if c != nil || len(findings) != 1 || findings[0].Level != snapshot.Warn || !strings.Contains(findings[0].Detail, x.why) || time.Since(began) > canaryLimit {
				t.Errorf("after %s: %+v %v", time.Since(began), c, findings)
			}
			check(t, v, false)
		})
	}
}

// TestCanaryTable keeps the newest rows, and writes nothing where nobody asks for it.
func TestCanaryTable(t *testing.T) {
	path := database(t, 100<<10, 4096)
	v := open(t, New(path, Options{}))
	if s, err := v.Summary(); err != nil || s.Manifest != nil || len(s.Findings) > 0 {
		t.Errorf("%+v %v", s, err)
	}
	if got := query(t, path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%canary%'"); strings.TrimSpace(got) != "0" {
		t.Fatalf("a table was made that nobody asked for: %s", got)
	}
	for n := int64(1); n <= verify.CanariesKept+3; n++ {
		for _, writer := range []string{"one", "two"} {
			if c, err := writeCanary(t.Context(), v.ses, true, writer); err != nil || c.Number != n {
				t.Fatalf("%+v %v", c, err)
			}
		}
	}
	if got := query(t, path, "SELECT group_concat(n) FROM (SELECT count(*) || '-' || min(number) AS n FROM lifeboat_canary GROUP BY writer)"); strings.TrimSpace(got) != "64-4,64-4" {
		t.Error(got)
	}
	for _, f := range New(path, Options{Canary: "w"}).Doctor(t.Context()) {
		if f.Name == "canary" && f.Level == snapshot.OK {
			return
		}
	}
	t.Error("doctor does not say that it can be written")
}

// TestCanaryStale lets an application end before a snapshot, and another file take the place of its database behind it: nothing of the canary is taken for a part of that.
func TestCanaryStale(t *testing.T) {
	path := database(t, 100<<10, 4096)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := New(path, Options{Canary: "w"})
	for n := int64(1); n <= 3; n++ {
		v := open(t, s)
		c, findings := sealed(t, v)
		if c == nil || c.Number != n {
			t.Fatalf("%+v %v", c, findings)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
			t.Fatalf("%d bytes of log are left", log.Size())
		}
	}
	if err := os.WriteFile(path, before, 0o600); err != nil { // as cp does
		t.Fatal(err)
	}
	v := open(t, New(path, Options{}))
	saved, err := save(t, v, false)
	if err := errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(saved); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file that was put in place is another (%v)", err)
	}
}

// TestCanaryUnfit refuses to write where that would harm: to pages that end with checksums, against the mode of the file, and to a table that somebody changed.
func TestCanaryUnfit(t *testing.T) {
	for why, spoil := range map[error]func(path string) error{
		ErrReserved: func(path string) error {
			b, err := os.ReadFile(path)
			b[20] = 8
			return errors.Join(err, os.WriteFile(path, b, 0o600))
		},
		ErrSealed: func(path string) error { return os.Chmod(path, 0o444) },
		ErrTable: func(path string) error {
			return exec.Command("sqlite3", path, "CREATE TABLE lifeboat_canary (writer, number, value, written); INSERT INTO lifeboat_canary VALUES ('w', 9223372036854775807, 'x', 'x')").Run()
		},
	} {
		t.Run(why.Error(), func(t *testing.T) {
			path := database(t, 100<<10, 4096)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := New(path, Options{Canary: "w"})
			ses, err := openSession(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			c, findings := s.canary(t.Context(), ses, true)
			if err := ses.close(); err != nil {
				t.Fatal(err)
			}
			if c != nil || len(findings) != 1 || !strings.Contains(findings[0].Detail, why.Error()) || findings[0].Fix == "" {
				t.Errorf("%+v %+v", c, findings)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the database has changed (%v)", err)
			}
		})
	}
}
