package crm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the database/sql driver "pgx"
)

// OpenPostgres opens a CRM database of a PostgreSQL server, for a Writer, Churn or VerifyLedger.
func OpenPostgres(dsn string) (*sql.DB, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, fmt.Errorf("open the CRM database: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// GeneratePostgres makes in an empty database the tables and rows that Generate would make; the size is that of the tables.
func GeneratePostgres(ctx context.Context, dsn string, opts Options) error {
	db, err := OpenPostgres(dsn)
	if err != nil {
		return err
	}
	var own []string
	for _, t := range tables {
		own = append(own, strings.ReplaceAll(t, "BLOB", "BYTEA"))
	}
	const size = "SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
	if err := errors.Join(fill(ctx, db, own, size, opts), db.Close()); err != nil {
		return fmt.Errorf("generate the CRM database: %w", err)
	}
	return nil
}
