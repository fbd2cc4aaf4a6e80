// Package mysql takes snapshots of live MariaDB servers and puts them back.
//
// A physical snapshot is what mariadb-backup streams: the server's own files, and the redo log with which it makes them consistent when they
// are restored. It runs beside the server. A logical snapshot is what mariadb-dump writes, from anywhere: one stream of SQL.
//
// Formats: https://mariadb.com/docs/server/server-usage/backup-and-restore/mariadb-backup (files and their names).
package mysql

import (
	"context"
	"errors"
	"fmt"

	"lifeboat/snapshot"
)

// Mode is how snapshots are taken.
type Mode string

// The modes. Auto is physical where that is possible, else logical.
const (
	Auto     Mode = "auto"
	Physical Mode = "physical"
	Logical  Mode = "logical"
)

// Source is one server.
type Source struct {
	// Mode is how snapshots are taken; empty is Auto.
	Mode Mode
	// TempDir holds unlinked files for what a server sends beside the file that is being read. Empty means the system's directory for temporary files.
	TempDir string

	dsn, password string
}

var _ snapshot.Source = (*Source)(nil)

// New prepares a source. The password is used instead of the DSN's where it is not empty. Nothing is opened yet.
func New(dsn, password string) *Source { return &Source{dsn: dsn, password: password} }

// Open begins a snapshot, which holds everything, whatever the prior one has: that must be of the same server. Errors are *Error.
func (s *Source) Open(ctx context.Context, prior *snapshot.Prior) (snapshot.View, error) {
	at, err := parse(s.dsn, s.password)
	if err != nil {
		return nil, &Error{Op: "snapshot", Server: "the source", Err: err, Hint: dsnHint}
	}
	v, err := s.open(ctx, at, prior)
	if err != nil {
		return nil, describe("snapshot", at, err)
	}
	return v, nil
}

func (s *Source) open(ctx context.Context, at *server, prior *snapshot.Prior) (_ snapshot.View, err error) {
	ses, err := dial(ctx, at)
	if err != nil {
		return nil, err
	}
	defer ses.close()
	line, anew, err := ses.line(ctx, prior)
	if err != nil {
		return nil, err
	}
	how, err := s.choose(ctx, ses)
	if err != nil {
		return nil, err
	}
	if how.mode == Logical {
		return s.openLogical(ctx, ses, how, lineage{line, anew})
	}
	return s.openPhysical(ctx, ses, how, lineage{line, anew})
}

// lineage is what a snapshot's end is in the log, beside its position.
type lineage struct {
	line uint64
	anew bool // no log leads there from the prior snapshot
}

// line is that in which the server's log stands, which is the one so far as far as it can be told; anew reports that it is another server, and may be.
func (s *session) line(ctx context.Context, prior *snapshot.Prior) (line uint64, anew bool, err error) {
	if prior == nil || prior.Log.IsZero() {
		return firstLine, false, nil
	}
	l, err := s.binaryLog()
	if errors.Is(err, errNoBinlog) {
		return firstLine, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	so := prior.Log
	so.Manifest = prior.Manifest
	_, turn, err := s.goesOnFrom(ctx, l, so)
	switch {
	case errors.Is(err, snapshot.ErrLogGone): // nobody can know
		return so.Line, false, nil
	case errors.Is(err, snapshot.ErrOther) && prior.Anew:
		return firstLine, true, nil
	case turn != nil:
		return so.Line + 1, false, err
	}
	return so.Line, false, err
}

// choice is how a snapshot is taken, and why.
type choice struct {
	mode  Mode
	tool  string // the program
	local *local // nil for a logical one
	why   string // it is not a physical one although it might have been
}

// choose decides between the modes.
func (s *Source) choose(ctx context.Context, ses *session) (c choice, err error) {
	if s.Mode != Logical {
		c.mode = Physical
		if c.tool, err = findTool(ctx, backupPrograms, ses.version); err == nil {
			c.local, err = ses.beside(ctx)
		}
		if err == nil {
			err = ses.movable()
		}
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		if s.Mode == Physical {
			return c, fmt.Errorf("mode physical is not possible: %w", err)
		}
		c.why = oneLine(err.Error())
	}
	c.mode = Logical
	c.tool, err = findTool(ctx, dumpPrograms, ses.version)
	return c, err
}

// Manifest is what a snapshot's tree says about its server.
type Manifest struct {
	Mode     Mode              `json:"mode"`
	Version  string            `json:"version"`        // as the server says it
	Tool     string            `json:"tool"`           // its version, as it says it
	File     string            `json:"file,omitempty"` // of the binary log, and the position in it at which the snapshot is consistent; empty where there is none
	Position uint64            `json:"position,omitempty"`
	GTID     string            `json:"gtid,omitempty"`   // of the last transaction in it, per domain
	Header   []byte            `json:"header,omitempty"` // the format description that holds there: with it the log can be read from there on
	Zone     []shift           `json:"zone,omitempty"`   // of the host's clocks
	Settings map[string]string `json:"settings"`         // without which it would not start, or the log not do what it did
	User     string            `json:"user"`             // who took the snapshot
}
