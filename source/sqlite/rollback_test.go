package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lifeboat/internal/crm"
)

// rollbackDatabase is a generated database in a rollback-journal mode.
func rollbackDatabase(t testing.TB, n int64, mode string) string {
	t.Helper()
	path := database(t, n, 4096)
	db, err := crm.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := firstRow(db, "PRAGMA journal_mode="+mode); got != mode {
		t.Fatalf("journal mode %q, want %q", got, mode)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRollbackModes(t *testing.T) {
	for _, mode := range []string{"delete", "truncate", "persist"} {
		path := rollbackDatabase(t, 400<<10, mode)
		db := connect(t, path, "journal_mode("+mode+")")
		churn(t, db, 50)
		v := open(t, New(path, Options{}))
		check(t, v, true)
		if v.how != "copy" || v.pos.Line != 0 || v.pos.Offset == 0 {
			t.Errorf("read by %s at %v", v.how, v.pos)
		}
		copied, err := save(t, v, false)
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, copied, path)
		run(t, db, "UPDATE account SET notes='newer'") // an open view blocks nobody
		if later := open(t, New(path, Options{})); later.pos.Offset <= v.pos.Offset {
			t.Errorf("position %v after %v", later.pos, v.pos)
		}
		if again, err := save(t, v, false); err != nil {
			t.Error(err)
		} else {
			sameFiles(t, copied, again)
		}
	}
}

// TestRollbackLive copies several steps' worth while another process commits without pause.
func TestRollbackLive(t *testing.T) {
	path := rollbackDatabase(t, 400<<10, "delete")
	w := startWriter(t, path, "", "synchronous(0)", "busy_timeout(20000)")
	s := New(path, Options{MaxLock: time.Minute})
	s.step = 256 << 10
	for range 6 {
		before := w.seq.Load()
		v := open(t, s)
		if got := check(t, v, false); got < before {
			t.Errorf("the snapshot is at %d, and %d was committed before it", got, before)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	last := w.stop(t)
	if got := check(t, open(t, New(path, Options{})), false); got != last {
		t.Errorf("the last snapshot is at %d, the writer ended at %d", got, last)
	}
}

// TestCopyNoticesCommits changes the database between two steps, by hand.
func TestCopyNoticesCommits(t *testing.T) {
	path := rollbackDatabase(t, 400<<10, "delete")
	ses, err := openSession(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ses.close(); err != nil {
			t.Error(err)
		}
	}()
	c := copier{ses: ses, dir: t.TempDir()}
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	if got := query(t, path, "UPDATE account SET notes='x'"); got == "" {
		t.Error("a commit went through while the copier held the lock")
	}
	if err := ses.stop(); err != nil {
		t.Fatal(err)
	}
	query(t, path, "UPDATE account SET notes='y'")
	h, err := c.lock()
	if err != nil {
		t.Fatal(err)
	}
	if h.raw == c.head.raw {
		t.Error("a commit between two steps left the header as it was")
	}
}

// TestMaxLock has no time at all for the copy under one lock.
func TestMaxLock(t *testing.T) {
	path := rollbackDatabase(t, 400<<10, "delete")
	ses, err := openSession(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ses.close(); err != nil {
			t.Error(err)
		}
	}()
	tmp, err := tempFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 0, ErrMaxLock)
	defer cancel()
	c := copier{ses: ses, to: tmp, dir: os.TempDir(), buf: make([]byte, 64<<10)}
	wantError(t, describe("snapshot", path, c.atOnce(ctx)), ErrMaxLock)
	if ses.reading {
		t.Error("the lock is still held")
	}
}

func TestHotJournal(t *testing.T) {
	path := rollbackDatabase(t, 400<<10, "delete")
	journal := filepath.Join(t.TempDir(), "journal")
	db := connect(t, path, "cache_size(10)") // so small that the transaction reaches the file before its end
	run(t, db, "BEGIN IMMEDIATE", "UPDATE activity SET body=body||'x'")
	copyFile(t, path+"-journal", journal)
	crashed := filepath.Join(filepath.Dir(journal), "crm.db")
	copyFile(t, path, crashed)
	copyFile(t, journal, crashed+"-journal")
	run(t, db, "ROLLBACK")
	_, err := New(crashed, Options{}).Open(t.Context(), nil)
	wantError(t, err, ErrHotJournal)
	query(t, crashed, "SELECT 1 FROM sqlite_schema") // what the hint says
	check(t, open(t, New(crashed, Options{})), false)
}

func TestNoSpace(t *testing.T) {
	path := rollbackDatabase(t, 400<<10, "delete")
	wantError(t, checkSpace(t.TempDir(), 1<<62), ErrNoSpace)
	_, err := New(path, Options{TempDir: filepath.Join(t.TempDir(), "missing")}).Open(t.Context(), nil)
	wantError(t, err, os.ErrNotExist)
	full := copier{to: devFull(t), dir: "/dev"}
	wantError(t, full.write(make([]byte, 1), 0), ErrNoSpace)
}

// devFull is the device on which every write finds the disk full.
func devFull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestTempFileIsGone looks for what is left of a copy while it is in use.
func TestTempFileIsGone(t *testing.T) {
	path, dir := rollbackDatabase(t, 400<<10, "delete"), t.TempDir()
	v := open(t, New(path, Options{TempDir: dir}))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%d files in the temporary directory, %v", len(entries), err)
	}
	check(t, v, false)
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
