package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"lifeboat/config"
	"lifeboat/internal/crm"
	"lifeboat/source/sqlite"
)

// demoStage is the database engine that the story is played on.
type demoStage interface {
	// build makes the CRM's database.
	build(ctx context.Context) (setting, error)
	// begin begins what goes on beside the backups.
	begin(ctx context.Context) error
	// point finds out how `restore` is told where to go: before the mistake.
	point(ctx context.Context) (args []string, err error)
	// inspect has the engine check what was restored, and opens it.
	inspect(ctx context.Context) (db *sql.DB, verdict string, err error)
	// end stops what was started, also where the story broke off.
	end() error
}

// setting is a stage in words.
type setting struct {
	engine, name, about string
	source              string // in the configuration
	database            string // as the writer opens it
	prompt              string // of the engine's shell
	number              string // SQL for the number of the transaction it runs in; empty where transactions have none
	logged              bool   // the log is captured: nothing that was committed may be lost
}

// newStage chooses the stage for a story.
func newStage(ctx context.Context, e config.Engine, s *story) (demoStage, error) {
	switch e {
	case config.SQLite:
		return sqliteStage{s}, nil
	case config.Postgres:
		return newPostgresStage(ctx, s)
	case config.MySQL, config.Files:
	}
	return nil, usagef("--engine %q: expected sqlite or postgres", e)
}

// sqliteStage is one file.
type sqliteStage struct{ *story }

func (s sqliteStage) build(ctx context.Context) (setting, error) {
	if err := crm.Generate(ctx, "crm.db", s.options); err != nil {
		return setting{}, err
	}
	info, err := os.Stat("crm.db")
	if err != nil {
		return setting{}, err
	}
	return setting{engine: "SQLite", name: "crm.db", about: "SQLite, " + bytesText(info.Size()), source: "{engine: sqlite, path: crm.db}", database: "crm.db", prompt: "sqlite>"}, nil
}

func (sqliteStage) begin(context.Context) error { return nil }
func (sqliteStage) end() error                  { return nil }

// point is the time of the mistake: what is restored is the last snapshot before it.
func (s sqliteStage) point(context.Context) ([]string, error) {
	s.page.say("The moment of the mistake finds the snapshot before it. The database in use stays as it is.")
	return []string{"--at", s.after.At.UTC().Format(clockText)}, nil
}

func (sqliteStage) inspect(ctx context.Context) (*sql.DB, string, error) {
	path := filepath.Join(restored, "crm.db")
	if err := sqlite.Verify(ctx, path); err != nil {
		return nil, "", err
	}
	db, err := crm.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("open what was restored: %w", err)
	}
	return db, "integrity_check and foreign_key_check find no fault", nil
}
