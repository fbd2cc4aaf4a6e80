package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
	"lifeboat/verify"
)

// Manifest is what a snapshot's tree says about its database; it is absent where there is nothing to say.
type Manifest struct {
	Canary *verify.Canary `json:"canary,omitempty"`
}

// ParseManifest reads that of a tree.
func ParseManifest(b []byte) (m Manifest, err error) {
	if len(b) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read the manifest of the database: %w", err)
	}
	return m, nil
}

// Limits of what is done for a canary, and of the wait for one lock in milliseconds.
const (
	canaryLimit = 2 * time.Second
	canaryWait  = 500
)

// The table is Lifeboat's own: drills do not count it among the others.
const (
	makeCanaries = `CREATE TABLE IF NOT EXISTS lifeboat_canary (writer TEXT NOT NULL, number INTEGER NOT NULL, value TEXT NOT NULL, written TEXT NOT NULL, PRIMARY KEY (writer, number)) WITHOUT ROWID`
	putCanary    = `INSERT INTO lifeboat_canary (writer, number, value, written)
		VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM lifeboat_canary WHERE writer = ?1), ?2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) RETURNING number, +written`
	cutCanaries = `DELETE FROM lifeboat_canary WHERE writer = ? AND number <= ?`
)

// canary writes one row, and deletes those that are too old. The session keeps the log in being, so that closing the writer's connection is no reason for a
// checkpoint. That it cannot be written stops no snapshot: it is a finding.
func (s *Source) canary(ctx context.Context, ses *session, wal bool) (*verify.Canary, []snapshot.Finding) {
	if s.opts.Canary == "" {
		return nil, nil
	}
	c, err := writeCanary(ctx, ses, wal, s.opts.Canary)
	if err == nil {
		return c, nil
	}
	f := snapshot.Finding{Name: "no canary was written", Level: snapshot.Warn, Detail: err.Error()}
	if e := (*Error)(nil); errors.As(describe("write to", ses.path, err), &e) {
		f.Detail, f.Fix = e.Err.Error(), e.Hint
	}
	return nil, []snapshot.Finding{f}
}

func writeCanary(ctx context.Context, ses *session, wal bool, writer string) (_ *verify.Canary, err error) {
	if err := mayWrite(ses, wal); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	rests := false
	if wal {
		log, err := os.Stat(ses.path + "-wal")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		rests = err != nil || log.Size() == 0
	}
	pragmas := []string{fmt.Sprintf("busy_timeout(%d)", canaryWait), "trusted_schema(0)"}
	db, err := sql.Open("sqlite", dataSource(ses.path, url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": pragmas}))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing, behind a commit
	if _, err := tx.ExecContext(ctx, makeCanaries); err != nil {
		return nil, err
	}
	c, value := verify.NewCanary(writer)
	var written string
	if err := tx.QueryRowContext(ctx, putCanary, writer, value).Scan(&c.Number, &written); err != nil {
		if ctx.Err() != nil {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("%w: %w", ErrTable, err)
	}
	if c.Written, err = time.Parse(time.RFC3339, written); err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, cutCanaries, writer, c.Number-verify.CanariesKept); err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	if rests {
		return &c, emptied(ctx, db)
	}
	return &c, nil
}

// emptied brings the row from the log into the database where the log was empty before: an application that has ended left none behind, and whoever puts another file in the
// place of its database need not expect one, which SQLite would take for that file's. Where somebody reads or writes by now the log is theirs.
func emptied(ctx context.Context, db *sql.DB) error {
	var busy, log, moved int64
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved); err != nil {
		return fmt.Errorf("bring the row into the database: %w", err)
	}
	return nil
}

// mayWrite refuses to write where files beside the database would belong to somebody whose the database is not: should this process die, its owner could
// not open them. Nor does it write where the file's mode lets nobody, root is asked not to, either, or where pages end with something that is not SQLite's own, such as
// checksums, which it would not keep right.
func mayWrite(ses *session, wal bool) error {
	if h, err := readHeader(ses.files.db); err != nil || h.raw[20] > 0 {
		return cmp.Or(err, ErrReserved)
	}
	if ses.info.Mode().Perm()&0o222 == 0 {
		return ErrSealed
	}
	if owner := ownerOf(ses.info); !wal && os.Geteuid() != 0 && owner != int64(os.Geteuid()) {
		return fmt.Errorf("%w (user %d, owner %d)", ErrOwnership, os.Geteuid(), owner)
	}
	return unix.Faccessat(unix.AT_FDCWD, ses.path, unix.W_OK, unix.AT_EACCESS)
}

var _ verify.Canaried = (*Restored)(nil)

// Canary implements verify.Canaried.
func (d *Restored) Canary() *verify.Canary { return d.canary }

// Canaries implements verify.Canaried. What is no plain table holds none.
func (d *Restored) Canaries(ctx context.Context, c verify.Canary) (map[int64]string, error) {
	out, err := d.canaries(ctx, c.Writer)
	return out, d.say("look for the row in", err)
}

func (d *Restored) canaries(ctx context.Context, writer string) (out map[int64]string, err error) {
	out = map[int64]string{}
	var tables int
	if err := d.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND lower(name) = 'lifeboat_canary' AND sql NOT LIKE 'create virtual%'").Scan(&tables); err != nil || tables == 0 {
		return out, err
	}
	rows, err := d.db.QueryContext(ctx, "SELECT number, substr(value, 1, 100) FROM lifeboat_canary WHERE writer = ? ORDER BY number DESC LIMIT ?", writer, 4*verify.CanariesKept)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var n int64
		var value string
		if err := rows.Scan(&n, &value); err != nil {
			return nil, err
		}
		out[n] = value
	}
	return out, rows.Err()
}
