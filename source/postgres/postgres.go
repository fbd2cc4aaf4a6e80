// Package postgres takes snapshots of live PostgreSQL clusters, version 14 and newer, and puts them back. It needs the
// replication protocol and nothing else: no agent beside the database, no file of the server.
//
// A snapshot is a BASE_BACKUP and the log from its start to its end, which a temporary slot keeps on the server meanwhile.
// The files of a tree are those of the data directory, by the same names, with two exceptions: a tablespace's stand below
// pg_tblspc/<oid>/ instead of behind a link, and what would lead a restored cluster to the original's directories stands
// below lifeboat/.
package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// ours is the directory in a tree and in a restored cluster that is not the server's.
const ours = "lifeboat"

// Source is one cluster.
type Source struct {
	// Slot is the name of the permanent slot through which the log is captured.
	Slot string
	// Baseline is how long the tables of the DSN's database may be counted while a snapshot is taken, for drills to compare with; 0: they are not.
	Baseline time.Duration
	// Canary is the name under which a row is written to the DSN's database right before each snapshot, for drills to look for; empty: nothing is written.
	Canary string

	dsn, password string
}

var _ snapshot.Source = (*Source)(nil)

// New prepares a source. The password is used instead of the DSN's where it is not empty. Nothing is opened yet.
func New(dsn, password string) *Source { return &Source{dsn: dsn, password: password} }

// Open begins a base backup: a checkpoint, then the files as they are, which the log makes consistent. Errors are *Error.
//
// Where the server can tell which blocks changed since prior, they are all that it sends.
func (s *Source) Open(ctx context.Context, prior *snapshot.Prior) (snapshot.View, error) {
	cfg, err := parse(s.dsn, s.password)
	if err != nil {
		return nil, &Error{Op: "snapshot", Server: "the source", Err: err, Hint: "write it as postgres://user@host:5432/database"}
	}
	v, err := open(ctx, cfg, prior, s.Canary)
	if err != nil {
		return nil, describe("snapshot", cfg, err)
	}
	v.budget = s.Baseline
	return v, nil
}

func open(ctx context.Context, cfg *pgconn.Config, prior *snapshot.Prior, canary string) (_ *view, err error) {
	v := &view{}
	defer func() {
		if err != nil {
			_ = v.Close() // nothing is lost with it
		}
	}()
	if v.slot, v.cfg, err = dialAny(ctx, cfg); err != nil {
		return nil, err
	}
	if err := v.follows(ctx, prior); err != nil {
		return nil, err
	}
	if v.settings, err = v.slot.settings(); err != nil {
		return nil, err
	}
	if v.config, err = readConfiguration(ctx, v.cfg); err != nil {
		return nil, err
	}
	// The slot keeps the log from before the checkpoint on, until it was read; it goes with its session, and with any error in
	// it.
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	v.slotName = "lifeboat_" + hex.EncodeToString(random[:])
	if _, err := v.slot.rows(fmt.Sprintf("CREATE_REPLICATION_SLOT %q TEMPORARY PHYSICAL RESERVE_WAL", v.slotName)); err != nil {
		return nil, err
	}
	if canary != "" { // behind what finds out that this is the cluster that it was
		if v.canary, v.caged, err = writeCanary(ctx, v.cfg, v.slot.system, canary); err != nil {
			f := uncaged(err)
			if f.Fix != "" {
				f.Detail += "; `lifeboat doctor` says what to do"
			}
			v.findings = append(v.findings, f)
		}
	}
	if v.settings["summarize_wal"] == "on" && prior != nil && prior.Files != nil {
		if !v.proven {
			v.whole("the server no longer has the log at which the previous snapshot, or what was captured since, ends, which would show that it goes on from there: `lifeboat stream`, or a larger wal_keep_size, keeps it")
			return v, v.begin(ctx, nil)
		}
		err := v.begin(ctx, prior)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != notInState {
			return v, err
		}
		v.backup.close()
		v.whole("the server refused: " + e.Message)
	}
	return v, v.begin(ctx, nil)
}

// whole notes why everything is read although the server could tell what changed.
func (v *view) whole(why string) {
	v.findings = append(v.findings, snapshot.Finding{Name: "everything was read, not only what changed", Level: snapshot.Warn, Detail: why})
}

// begin starts the base backup on a connection of its own: of everything, or of what changed since prior.
func (v *view) begin(ctx context.Context, prior *snapshot.Prior) error {
	second, err := dial(ctx, v.cfg)
	if err != nil {
		return err
	}
	v.backup = &baseBackup{session: second}
	if second.system != v.slot.system {
		return fmt.Errorf("%w: two connections reached clusters %d and %d", snapshot.ErrOther, v.slot.system, second.system)
	}
	v.since = nil
	if prior != nil {
		if v.since, err = second.upload(ctx, prior); err != nil {
			return err
		}
	}
	return v.backup.begin("lifeboat", v.since != nil)
}
