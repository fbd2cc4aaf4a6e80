// Package crm makes customer databases to test with: seeded, of any size, realistic in shape and in how well they
// compress, with a writer whose every transaction can be recognised afterwards. A file that a restore produced proves by
// itself which transaction it is at (VerifyChain). No product code imports this package.
package crm

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// tables is the schema of a small CRM. revision is the number of the ledger transaction that last wrote a row, 0 for the
// generator; ledger chains those transactions by hash.
var tables = []string{
	`CREATE TABLE account(
		id INTEGER PRIMARY KEY, name TEXT NOT NULL, industry TEXT NOT NULL, city TEXT NOT NULL, website TEXT NOT NULL,
		phone TEXT NOT NULL, notes TEXT NOT NULL, created TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0)`,
	`CREATE TABLE contact(
		id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES account(id), first_name TEXT NOT NULL,
		last_name TEXT NOT NULL, email TEXT NOT NULL, phone TEXT NOT NULL, title TEXT NOT NULL, created TEXT NOT NULL)`,
	`CREATE TABLE deal(
		id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES account(id), title TEXT NOT NULL,
		stage TEXT NOT NULL, amount_cents INTEGER NOT NULL, probability REAL NOT NULL, closes TEXT NOT NULL,
		description TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0)`,
	`CREATE TABLE activity(
		id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES account(id),
		deal_id INTEGER REFERENCES deal(id), kind TEXT NOT NULL, happened TEXT NOT NULL, subject TEXT NOT NULL,
		body TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0)`,
	`CREATE TABLE attachment(
		id INTEGER PRIMARY KEY, activity_id INTEGER NOT NULL REFERENCES activity(id), name TEXT NOT NULL,
		media_type TEXT NOT NULL, content BLOB NOT NULL)`,
	`CREATE TABLE ledger(
		seq INTEGER PRIMARY KEY, prev BLOB NOT NULL, payload TEXT NOT NULL, hash BLOB NOT NULL)`,
}

// indexes are built after the rows, which is several times faster.
var indexes = []string{
	`CREATE INDEX account_name ON account(name)`,
	`CREATE INDEX contact_account ON contact(account_id)`,
	`CREATE INDEX contact_email ON contact(email)`,
	`CREATE INDEX deal_account ON deal(account_id, stage)`,
	`CREATE INDEX activity_account ON activity(account_id, happened)`,
	`CREATE INDEX activity_deal ON activity(deal_id)`,
	`CREATE INDEX attachment_activity ON attachment(activity_id)`,
}

// Open opens a CRM database for reading and writing, with foreign keys enforced and ten seconds of patience with locks.
// pragmas are added to the connection, for example "wal_autocheckpoint(50)"; a "busy_timeout(0)" replaces the patience.
func Open(path string, pragmas ...string) (*sql.DB, error) {
	own := []string{"foreign_keys(1)", "synchronous(1)"}
	if !slices.ContainsFunc(pragmas, func(p string) bool { return strings.HasPrefix(p, "busy_timeout") }) {
		own = append(own, "busy_timeout(10000)") // of two, the driver does not promise which one wins
	}
	return open(path, url.Values{"mode": {"rw"}, "_pragma": append(own, pragmas...)})
}

func open(path string, query url.Values) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open CRM database %s: %w", path, err)
	}
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: abs, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open CRM database %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func execAll(ctx context.Context, db *sql.DB, statements []string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("run %.40q: %w", s, err)
		}
	}
	return nil
}
