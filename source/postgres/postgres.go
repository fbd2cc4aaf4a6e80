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
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// Source is one cluster.
type Source struct {
	// Slot is the name of the permanent slot through which the log is captured.
	Slot string

	dsn, password string
}

var _ snapshot.Source = (*Source)(nil)

// New prepares a source. The password is used instead of the DSN's where it is not empty. Nothing is opened yet.
func New(dsn, password string) *Source { return &Source{dsn: dsn, password: password} }

// Open begins a base backup: a checkpoint, then the files as they are, which the log makes consistent. Errors are *Error.
func (s *Source) Open(ctx context.Context, since snapshot.Pos) (snapshot.View, error) {
	cfg, err := parse(s.dsn, s.password)
	if err != nil {
		return nil, &Error{Op: "snapshot", Server: "the source", Err: err, Hint: "write it as postgres://user@host:5432/database"}
	}
	v, err := open(ctx, cfg)
	if err != nil {
		return nil, describe("snapshot", cfg, err)
	}
	return v, nil
}

func open(ctx context.Context, cfg *pgconn.Config) (_ *view, err error) {
	v := &view{}
	defer func() {
		if err != nil {
			_ = v.Close() // nothing is lost with it
		}
	}()
	if v.slot, v.cfg, err = dialAny(ctx, cfg); err != nil {
		return nil, err
	}
	// The slot keeps the log from before the checkpoint on, until it was read; it goes with its session.
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	v.slotName = "lifeboat_" + hex.EncodeToString(random[:])
	if _, err := v.slot.rows(fmt.Sprintf("CREATE_REPLICATION_SLOT %q TEMPORARY PHYSICAL RESERVE_WAL", v.slotName)); err != nil {
		return nil, err
	}
	second, err := dial(ctx, v.cfg)
	if err != nil {
		return nil, err
	}
	v.backup = &baseBackup{session: second}
	if second.system != v.slot.system {
		return nil, fmt.Errorf("%w: two connections reached %d and %d", ErrOther, v.slot.system, second.system)
	}
	if v.settings, err = second.settings(); err != nil {
		return nil, err
	}
	v.backup, err = second.startBackup("lifeboat")
	return v, err
}
