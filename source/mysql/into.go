package mysql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"lifeboat/restore"
)

// ErrNotEmpty is wrapped where a running server has something that a restore into it could mix with.
var ErrNotEmpty = errors.New("the server is not empty")

// Running is a server that a logical snapshot is loaded into.
type Running struct {
	at       *server
	manifest Manifest
	client   runner
}

// FindRunning makes sure that a running server can take a logical snapshot: one of its series, which has no database. Nothing is changed. Errors wrap restore.ErrRefused.
func FindRunning(ctx context.Context, m Manifest, p Programs, dsn, password string) (*Running, error) {
	at, err := parse(dsn, password)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", restore.ErrRefused, &Error{Op: "restore into", Server: "the server", Err: err, Hint: dsnHint})
	}
	at.database = ""
	r := &Running{at: at, manifest: m, client: runner{program: p.client, binlog: p.binlog, password: at.password}}
	if err := r.suits(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", restore.ErrRefused, describe("restore into", at, err))
	}
	return r, nil
}

// suits looks whether the server can take the snapshot, and learns how to reach it.
func (r *Running) suits(ctx context.Context) error {
	if r.manifest.Mode != Logical {
		return hinted{errors.New("the snapshot is a physical one, of files, which no running server can take"), "restore it into a directory with --to, and start it with --start"}
	}
	ses, err := dial(ctx, r.at)
	if err != nil {
		return err
	}
	defer ses.close()
	was, err := parseVersion(r.manifest.Version)
	if err != nil {
		return err
	}
	if ses.version.series() != was.series() {
		return hinted{fmt.Errorf("%w: it is %s, and the snapshot is of %s", ErrVersion, ses.version.text, was.text), "load the SQL by hand, where that is meant: restore without --into"}
	}
	rows, err := ses.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN (" + systemList + ") ORDER BY 1")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return hinted{fmt.Errorf("%w: it has the database %q", ErrNotEmpty, rows[0][0]), "restore into a new server"}
	}
	names, err := ses.value("SELECT @@lower_case_table_names")
	if err != nil {
		return err
	}
	if have, ok := r.manifest.Settings["lower_case_table_names"]; ok && have != names {
		return hinted{fmt.Errorf("its lower_case_table_names is %s, and that of the snapshot %s", names, have), "make a new server with the setting of the snapshot"}
	}
	r.client.args = append(ses.arguments(), "--user="+r.at.user)
	return nil
}

// Load loads the SQL that was restored to dir, and replays the log. The server keeps its own accounts: those of the original stay in dir.
func (r *Running) Load(ctx context.Context, dir string, replay *restore.Replay) error {
	if err := r.suits(ctx); err != nil { // again: it took time to get here
		return describe("restore into", r.at, err)
	}
	r.client.dir = dir
	partly := "what was loaded stays in the server: drop its databases, then repeat"
	f, err := os.Open(filepath.Join(dir, dataFile))
	switch {
	case errors.Is(err, os.ErrNotExist): // there was no database
	case err != nil:
		return err
	default:
		defer f.Close()
		if err := r.client.run(ctx, f); err != nil {
			return describe("restore into", r.at, hinted{fmt.Errorf("load %s: %w", dataFile, err), partly})
		}
	}
	if len(replay.Log) > 0 {
		if _, err := r.client.replay(ctx, r.manifest, replay); err != nil {
			return describe("restore into", r.at, hinted{err, partly})
		}
	}
	return nil
}

// String names the server.
func (r *Running) String() string { return r.at.String() }
