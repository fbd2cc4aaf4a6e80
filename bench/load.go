package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"lifeboat/internal/crm"
)

// types are SQLite's words for columns in PostgreSQL's.
var types = strings.NewReplacer("INTEGER", "bigint", "REAL", "double precision", "BLOB", "bytea")

// loadPostgres makes the CRM in an empty cluster: the schema and the rows of the one for SQLite.
func loadPostgres(ctx context.Context, base string, bytes int64, _ int) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(base), "load-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "crm.db")
	if err := crm.Generate(ctx, path, crm.Options{Seed: 1, Bytes: bytes}); err != nil {
		return err
	}
	from, err := crm.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := connect(ctx, base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close(ctx)) }()
	return transfer(ctx, from, to)
}

func transfer(ctx context.Context, from *sql.DB, to *pgx.Conn) error {
	tables, create, err := schema(ctx, from, "table")
	if err != nil {
		return err
	}
	_, index, err := schema(ctx, from, "index")
	if err != nil {
		return err
	}
	// The generator's keys are sound: checking them row by row would take most of the time.
	for _, s := range append(create, "SET session_replication_role = replica") {
		if _, err := to.Exec(ctx, types.Replace(s)); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	for _, table := range tables {
		rows, err := from.QueryContext(ctx, "SELECT * FROM "+table+" ORDER BY 1")
		if err != nil {
			return err
		}
		columns, err := rows.Columns()
		if err == nil {
			_, err = to.CopyFrom(ctx, pgx.Identifier{table}, columns, copied{rows, len(columns)})
		}
		if err := errors.Join(err, rows.Close()); err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	for _, s := range index {
		if _, err := to.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// schema are the names of tables or indexes in the order of their making, and the statements that make them.
func schema(ctx context.Context, db *sql.DB, kind string) (names, statements []string, err error) {
	rows, err := db.QueryContext(ctx, "SELECT name, sql FROM sqlite_schema WHERE type = ? AND sql IS NOT NULL ORDER BY rowid", kind)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, statement string
		if err := rows.Scan(&name, &statement); err != nil {
			return nil, nil, err
		}
		names, statements = append(names, name), append(statements, statement)
	}
	return names, statements, rows.Err()
}

// copied are rows on their way from one database to the other.
type copied struct {
	*sql.Rows
	columns int
}

func (c copied) Values() ([]any, error) {
	values, to := make([]any, c.columns), make([]any, c.columns)
	for i := range values {
		to[i] = &values[i]
	}
	return values, c.Scan(to...)
}

// perBatch is how many updates churnPostgres puts into one transaction.
const perBatch = 100

// updates change one row by its number: a text of the CRM becomes that of another row.
var updates = []struct{ table, key, update string }{
	{"account", "id", "UPDATE account SET notes = (SELECT notes FROM account WHERE id = $2) WHERE id = $1"},
	{"contact", "id", "UPDATE contact SET title = (SELECT title FROM contact WHERE id = $2) WHERE id = $1"},
	{"deal", "id", "UPDATE deal SET description = (SELECT description FROM deal WHERE id = $2) WHERE id = $1"},
	{"activity", "id", "UPDATE activity SET body = (SELECT body FROM activity WHERE id = $2) WHERE id = $1"},
	{"pgbench_accounts", "aid", "UPDATE pgbench_accounts SET abalance = abalance + $2 WHERE aid = $1"},
}

// churnPostgres makes n updates of single rows, spread uniformly over the tables and their rows, and brings them to disk.
func churnPostgres(ctx context.Context, base string, seed int64, n int) (err error) {
	conn, err := connect(ctx, base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	rows := make([]int64, len(updates))
	for i, u := range updates {
		if err := conn.QueryRow(ctx, "SELECT max("+u.key+") FROM "+u.table).Scan(&rows[i]); err != nil {
			return fmt.Errorf("count rows of %s: %w", u.table, err)
		}
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	for some := range slices.Chunk(make([]struct{}, n), perBatch) {
		batch := &pgx.Batch{}
		for range some {
			i := rng.IntN(len(updates))
			batch.Queue(updates[i].update, 1+rng.Int64N(rows[i]), 1+rng.Int64N(rows[i]))
		}
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("update rows: %w", err)
		}
	}
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return err
}
