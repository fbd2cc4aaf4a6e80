package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"

	"lifeboat/internal/crm"
)

// sqlite makes the database of that engine: one file, closed while the tools work.
func (b *bench) sqlite(ctx context.Context) error {
	dir := filepath.Join(b.dir, "crm")
	path := filepath.Join(dir, "crm.db")
	b.db = &database{name: "SQLite", source: "{engine: sqlite, path: " + path + "}", dir: dir, files: regexp.MustCompile(`^crm\.db$`), page: 4096,
		churn: func(ctx context.Context, seed int64, n int) error { return self(ctx, "churn sqlite", path, seed, n) },
		close: func() error { return nil }}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return self(ctx, "generate sqlite", path, b.megabytes<<20, 0)
}

func generateSQLite(ctx context.Context, path string, bytes int64, _ int) error {
	return crm.Generate(ctx, path, crm.Options{Seed: 1, Bytes: bytes, PageSize: 4096})
}

func churnSQLite(ctx context.Context, path string, seed int64, n int) error {
	db, err := crm.Open(path)
	if err != nil {
		return err
	}
	err = crm.Churn(ctx, db, rand.New(rand.NewPCG(uint64(seed), 1)), n)
	_, cerr := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return errors.Join(err, cerr, db.Close())
}
