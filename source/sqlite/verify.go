package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// ErrVerify is wrapped when the engine finds fault with a restored database; the text has its own words.
var ErrVerify = errors.New("the engine's check failed")

// maxComplaints bounds how many of the engine's messages an error repeats.
const maxComplaints = 20

// Verify runs SQLite's PRAGMA integrity_check and PRAGMA foreign_key_check on a restored database file that nothing else
// has open. It creates no file and changes nothing. A -wal or -journal with content beside the file is refused: a
// restored snapshot has none, and the check would not see it.
func Verify(ctx context.Context, path string) (err error) {
	abs, _, err := resolve(path)
	if err != nil {
		return describe("verify", path, err)
	}
	for _, suffix := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(abs + suffix); err == nil && info.Size() > 0 {
			return describe("verify", path, fmt.Errorf("%s%s has content: it is in use, and no restored snapshot", abs, suffix))
		}
	}
	db, err := sql.Open("sqlite", dataSource(abs, url.Values{"mode": {"ro"}, "immutable": {"1"}}))
	if err != nil {
		return describe("verify", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	faults, err := complaints(ctx, db, fmt.Sprintf("PRAGMA integrity_check(%d)", maxComplaints))
	if err != nil {
		return describe("verify", path, err)
	}
	if len(faults) != 1 || faults[0] != "ok" {
		return describe("verify", path, fmt.Errorf("%w: integrity_check: %s", ErrVerify, strings.Join(faults, "; ")))
	}
	faults, err = complaints(ctx, db, fmt.Sprintf(`SELECT format('row %%s of %%s refers to a row of %%s that is not there',
		coalesce(rowid, '?'), "table", parent) FROM pragma_foreign_key_check LIMIT %d`, maxComplaints))
	if err != nil {
		return describe("verify", path, err)
	}
	if len(faults) > 0 {
		return describe("verify", path, fmt.Errorf("%w: foreign_key_check: %s", ErrVerify, strings.Join(faults, "; ")))
	}
	return nil
}

// complaints are the results of a query with one text column.
func complaints(ctx context.Context, db *sql.DB, query string) (list []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		list = append(list, strings.ReplaceAll(s, "\n", "; "))
	}
	return list, rows.Err()
}
