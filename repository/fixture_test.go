package repository_test

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/repository"
	"lifeboat/snapshot"
	"lifeboat/source/sqlite"
	"lifeboat/target/local"
)

// What must not be found. The marker stands in every row and file, the names in trees alone.
const (
	marker     = "Frau Weber aus Ulm, Konto 4711-0815, zahlt nicht"
	sourceName = "quarterly-payroll"
	fileName   = "employees-of-ulm.db"
	noteName   = "letters/weber.txt"
)

// secrecy is a repository with two copies, and everything that its host holds.
type secrecy struct {
	dir, state string
	copies     []string // directories
	master     age.Identity
	classic    age.Identity
}

func newSecrecy(t *testing.T) *secrecy {
	t.Helper()
	s := &secrecy{dir: t.TempDir()}
	s.state, s.copies = filepath.Join(s.dir, "state"), []string{filepath.Join(s.dir, "disk"), filepath.Join(s.dir, "usb")}
	master, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	s.master, s.classic = master, classic
	recipients, err := crypto.ParseRecipients([]string{master.Recipient().String(), classic.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := repository.Init(t.Context(), s.config(t), recipients)
	if err != nil {
		t.Fatal(err)
	}
	db, source := s.database(t), letters(strings.Repeat(marker+"\n", 5000))
	back := func(b repository.Backup) {
		if _, err := h.Backup(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	pages := sqlite.New(filepath.Join(s.dir, fileName), sqlite.Options{TempDir: s.state})
	back(repository.Backup{Name: sourceName, Engine: "sqlite", Source: pages})
	execute(t, db, "UPDATE employee SET note = note || ' still' WHERE id % 50 = 7")
	back(repository.Backup{Name: sourceName, Engine: "sqlite", Source: pages})
	back(repository.Backup{Name: sourceName + "-letters", Engine: "files", Source: source})
	execute(t, db, "DELETE FROM employee WHERE id % 3 = 1")
	back(repository.Backup{Name: sourceName, Engine: "sqlite", Source: pages, Full: true})
	if err := h.Rotate(t.Context(), []age.Identity{master}, recipients, "a test"); err != nil {
		t.Fatal(err)
	}
	execute(t, db, "UPDATE employee SET note = note || ' in a new epoch'")
	back(repository.Backup{Name: sourceName, Engine: "sqlite", Source: pages})
	if err := h.Forget(t.Context(), 2, "a test"); err != nil {
		t.Fatal(err)
	}
	for _, c := range h.Copies {
		if c.Err != nil {
			t.Fatal(c.Err)
		}
	}
	if err := errors.Join(h.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *secrecy) config(t *testing.T) repository.Config {
	t.Helper()
	c := repository.Config{StateDir: s.state, Now: clock.System, By: "test@host"}
	for _, dir := range s.copies {
		to, err := local.Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = to.Close() }) // nothing depends on it any more
		c.Copies = append(c.Copies, &repository.Copy{Name: filepath.Base(dir), Target: to})
	}
	return c
}

func (s *secrecy) database(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, fileName)+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, db, "CREATE TABLE employee (id INTEGER PRIMARY KEY, note TEXT, noise BLOB)")
	execute(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 3000) INSERT INTO employee SELECT i, ? || i, randomblob(300) FROM n", marker)
	return db
}

func execute(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// letters is a source of one stream.
type letters string

func (l letters) Open(context.Context, *snapshot.Prior) (snapshot.View, error) { return l, nil }
func (l letters) Summary() (snapshot.Summary, error)                           { return snapshot.Summary{}, nil }
func (l letters) Size() int64                                                  { return int64(len(l)) }
func (l letters) Close() error                                                 { return nil }

func (l letters) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		yield(snapshot.Item{Name: noteName, Kind: snapshot.Stream, Size: -1, Mode: 0o600, ModTime: time.Unix(0, 0), Body: strings.NewReader(string(l))}, nil)
	}
}
