package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"path/filepath"

	engine "modernc.org/sqlite/lib"

	"lifeboat/evidence"
	"lifeboat/internal/phrase"
	"lifeboat/restore"
	"lifeboat/verify"
)

// Lab restores a database file for a drill and reads it there.
type Lab struct {
	Canary *verify.Canary // of the snapshot; nil: it has none
}

var _ verify.Engine = Lab{}

// Version implements verify.Engine: that of the library which reads, because a database file has none.
func (Lab) Version() string { return "SQLite " + engine.SQLITE_VERSION }

// Sink implements verify.Engine.
func (Lab) Sink(dir string, size int64) (verify.Sink, error) {
	d, err := restore.NewDirectory(dir, size)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Start implements verify.Engine: the file in dir is opened as one that nobody changes. There is one, as every snapshot has.
func (l Lab) Start(ctx context.Context, dir string) (verify.Database, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the restored database: %w", err)
	}
	if len(entries) != 1 {
		return nil, fmt.Errorf("open the restored database: %s holds %d files, not one", dir, len(entries))
	}
	path, _, err := resolve(filepath.Join(dir, entries[0].Name()))
	if err != nil {
		return nil, describe("open", filepath.Join(dir, entries[0].Name()), err)
	}
	pragmas := []string{"query_only(1)", "trusted_schema(0)", "cell_size_check(1)"}
	db, err := sql.Open("sqlite", dataSource(path, url.Values{"mode": {"ro"}, "immutable": {"1"}, "_pragma": pragmas}))
	if err != nil {
		return nil, describe("open", path, err)
	}
	d := &Restored{path: path, db: db, canary: l.Canary}
	var objects int64 // opening a file does not read it
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&objects); err != nil {
		return nil, errors.Join(d.say("open", err), db.Close())
	}
	return d, nil
}

// Restored is a restored database. It has no process of its own, and nothing of it is left when this one ends.
type Restored struct {
	path   string
	db     *sql.DB
	canary *verify.Canary
}

var _ verify.Database = (*Restored)(nil)

// Isolation implements verify.Database.
func (d *Restored) Isolation() evidence.Isolation {
	name := fmt.Sprint(os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return evidence.Isolation{Separate: true, Network: phrase.SQLiteNetwork.Say(), Listening: phrase.SQLiteListening.Say(), Archiving: phrase.SQLiteArchiving.Say(), User: name,
		Limitation: phrase.SQLiteLimitation.Say()}
}

// Reached implements verify.Database: a database file has no log.
func (d *Restored) Reached(context.Context) (verify.Reached, error) { return verify.Reached{}, nil }

// Stop implements verify.Database.
func (d *Restored) Stop(context.Context) (int, error) {
	if err := d.db.Close(); err != nil {
		return 0, describe("close", d.path, err)
	}
	return 0, nil
}

// Integrity implements verify.Database.
func (d *Restored) Integrity(ctx context.Context) (how string, faults []string, err error) {
	const most = 200
	how = phrase.SQLiteIntegrity.Say(engine.SQLITE_VERSION)
	faults, err = complaints(ctx, d.db, fmt.Sprintf("PRAGMA integrity_check(%d)", most))
	if err = d.say("check", err); errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotDatabase) {
		return how, append(faults, err.Error()), nil // too much to look on
	}
	if len(faults) == 1 && faults[0] == "ok" {
		faults = nil
	}
	return how, faults, err
}

// References implements verify.Database.
func (d *Restored) References(ctx context.Context) (how string, faults []string, err error) {
	const most = 200
	faults, err = complaints(ctx, d.db, fmt.Sprintf(`SELECT format('%s', coalesce(rowid, '?'), "table", parent)
		FROM pragma_foreign_key_check LIMIT %d`, phrase.SQLiteOrphan, most))
	return phrase.SQLiteReferences.Say(engine.SQLITE_VERSION), faults, d.say("check the references of", err)
}

// say makes an *Error of an error.
func (d *Restored) say(op string, err error) error {
	if err == nil {
		return nil
	}
	return describe(op, d.path, err)
}
