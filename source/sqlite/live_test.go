package sqlite

import (
	"bytes"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"lifeboat/internal/crm"
)

// TestLive takes snapshots while another process commits without pause, with checkpoints and with logs that begin anew.
func TestLive(t *testing.T) {
	for _, c := range []struct {
		name, extra string
		pragmas     []string
		attempts    int
		how         string // empty: whatever succeeds
	}{
		{"small log", "", []string{"wal_autocheckpoint(20)"}, pinAttempts, ""},
		{"default log", "", nil, pinAttempts, ""},
		{"log begun anew", "PRAGMA wal_checkpoint(TRUNCATE)", []string{"wal_autocheckpoint(0)", "busy_timeout(1)"}, pinAttempts, ""},
		{"log restarted", "PRAGMA wal_checkpoint(RESTART)", []string{"wal_autocheckpoint(0)", "busy_timeout(1)"}, pinAttempts, ""},
		{"through the pager", "", []string{"wal_autocheckpoint(20)"}, 0, "pager"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := database(t, 400<<10, 4096)
			w := startWriter(t, path, c.extra, append([]string{"synchronous(0)"}, c.pragmas...)...)
			s := New(path, Options{})
			s.attempts = c.attempts
			used, tries := map[string]int{}, 0
			for round := range 6 {
				before := w.seq.Load()
				v := open(t, s)
				got := check(t, v, round%4 == 0)
				if got < before {
					t.Fatalf("the snapshot is at %d, and %d was committed before it", got, before)
				}
				if c.how != "" && v.how != c.how {
					t.Fatalf("read by %s, want %s", v.how, c.how)
				}
				if s, err := v.Summary(); err != nil || s.From != s.To || v.how == "files" && s.From.IsZero() {
					t.Errorf("range %v to %v (%v)", s.From, s.To, err)
				}
				used[v.how]++
				tries = max(tries, v.tries)
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
			}
			last := w.stop(t)
			t.Logf("%v, at most %d tries, writer at %d", used, tries, last)
			if got := check(t, open(t, s), false); got != last {
				t.Errorf("the last snapshot is at %d, the writer ended at %d", got, last)
			}
		})
	}
}

// TestViewStays reads a view twice, long after it was pinned.
func TestViewStays(t *testing.T) {
	path := database(t, 400<<10, 4096)
	w := startWriter(t, path, "", "synchronous(0)", "wal_autocheckpoint(20)")
	v := open(t, New(path, Options{}))
	first := check(t, v, false)
	for w.seq.Load() < first+300 {
		query(t, path, "PRAGMA wal_checkpoint(PASSIVE)")
	}
	if again := check(t, v, false); again != first {
		t.Errorf("the view was at %d and is at %d", first, again)
	}
	w.stop(t)
}

// TestAllInFile pins when everything is checkpointed: then the log may begin anew under the view.
func TestAllInFile(t *testing.T) {
	path := database(t, 400<<10, 4096)
	db := connect(t, path)
	churn(t, db, 50)
	run(t, db, "PRAGMA wal_checkpoint(PASSIVE)")
	v := open(t, New(path, Options{}))
	want := check(t, v, false)
	salts := v.pos.Line
	query(t, path, "UPDATE account SET notes='newer'", "PRAGMA wal_checkpoint(PASSIVE)", "UPDATE account SET notes='newest'")
	if got := check(t, v, false); got != want {
		t.Errorf("at %d, want %d", got, want)
	}
	later := open(t, New(path, Options{}))
	if later.pos.Line == salts {
		t.Error("the log did not begin anew, so nothing was tested")
	}
	a, err := save(t, v, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("newest")) {
		t.Error("the view shows a later commit")
	}
}

// TestSecondUserKeepsLocks closes other users of the same file while a view is open: the view's locks must survive.
func TestSecondUserKeepsLocks(t *testing.T) {
	path := database(t, 400<<10, 4096)
	db := connect(t, path, "wal_autocheckpoint(0)")
	churn(t, db, 50)
	s := New(path, Options{})
	v := open(t, s)
	for range 2 {
		if err := open(t, s).Close(); err != nil {
			t.Fatal(err)
		}
		s.Doctor(t.Context())
	}
	churn(t, db, 50)
	if got := query(t, path, "PRAGMA wal_checkpoint(TRUNCATE)"); got[0] != '1' {
		t.Errorf("the log was begun anew under a view: %s", got)
	}
	if got := query(t, path, "PRAGMA journal_mode=DELETE"); got == "delete" {
		t.Error("an exclusive lock was granted under a view")
	}
	check(t, v, false)
}

// TestLostLocks drops the locks as careless code in the same process would: the view must notice, by itself.
func TestLostLocks(t *testing.T) {
	path := database(t, 400<<10, 4096)
	w := startWriter(t, path, "", "wal_autocheckpoint(0)") // keeps the log in being
	w.stop(t)
	db := connect(t, path, "wal_autocheckpoint(0)")
	churn(t, db, 50)
	v := open(t, New(path, Options{}))
	f, err := os.Open(path + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil { // drops the locks
		t.Fatal(err)
	}
	query(t, path, "UPDATE account SET notes='newer'", "PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE account SET notes='newest'")
	if _, err := save(t, v, false); err == nil {
		t.Error("a view whose state was overwritten read without an error")
	} else if !errors.Is(err, ErrLost) {
		t.Logf("noticed in another way: %v", err)
	}
}

func TestVacuumBetween(t *testing.T) {
	path := database(t, 2<<20, 4096)
	db := connect(t, path, "busy_timeout(0)")
	before := open(t, New(path, Options{}))
	run(t, db, "DELETE FROM attachment", "DELETE FROM activity", "VACUUM")
	after := open(t, New(path, Options{}))
	if after.Size() >= before.Size() {
		t.Errorf("%d bytes before VACUUM, %d after", before.Size(), after.Size())
	}
	check(t, before, false)
	check(t, after, false)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
	check(t, after, false)
}

func TestPageSizesAndAutoVacuum(t *testing.T) {
	for size := 512; size <= 65536; size *= 2 {
		path := database(t, 400<<10, size)
		db := connect(t, path, "wal_autocheckpoint(0)")
		if size == 1024 {
			run(t, db, "PRAGMA journal_mode=DELETE", "PRAGMA auto_vacuum=INCREMENTAL", "VACUUM", "PRAGMA journal_mode=WAL",
				"DELETE FROM attachment", "PRAGMA incremental_vacuum(20)")
		}
		churn(t, db, 100)
		v := open(t, New(path, Options{}))
		if v.pageSize != size || v.how != "files" {
			t.Errorf("page size %d read as %d by %s", size, v.pageSize, v.how)
		}
		check(t, v, true)
		check(t, v, false)
		direct, err := save(t, v, false)
		if err != nil {
			t.Fatal(err)
		}
		s := New(path, Options{})
		s.attempts = 0
		pager, err := save(t, open(t, s), true)
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, direct, pager)
	}
}

func churn(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	if err := crm.Churn(t.Context(), db, rand.New(rand.NewPCG(5, 6)), n); err != nil {
		t.Fatal(err)
	}
}

func sameFiles(t testing.TB, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ: %d and %d bytes", a, b, len(x), len(y))
	}
}
