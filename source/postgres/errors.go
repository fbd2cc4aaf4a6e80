package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// Why a server cannot be backed up. Test with errors.Is.
var (
	ErrDSN        = errors.New("the dsn cannot be read")
	ErrVersion    = errors.New("the server's version is not supported")
	ErrLogRemoved = errors.New("the server removed log that the snapshot needs")
)

// oldest is the oldest server that works, as server_version_num.
const oldest = 140000

// SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	dataCorrupted     = "XX001"
	invalidPassword   = "28P01"
	notAuthorised     = "28000"
	noPrivilege       = "42501"
	noDatabase        = "3D000"
	tooMany           = "53300"
	limitExceeded     = "53400"
	notInState        = "55000"
	starting          = "57P03"
	shutdown          = "57P01"
	crashed           = "57P02"
	undefinedFile     = "58P01"
	slotInUse         = "55006"
	unknownParameter  = "42704"
	duplicateObject   = "42710"
	protocolViolation = "08P01"
)

// hints say what to do next, by SQLSTATE.
var hints = map[string]string{
	invalidPassword: "set password_file, PGPASSWORD or a .pgpass entry for this user",
	notAuthorised:   "as a superuser: CREATE ROLE <user> REPLICATION LOGIN, if it is missing; then a line in pg_hba.conf such as `host replication <user> <this address>/32 scram-sha-256`, and SELECT pg_reload_conf()",
	noPrivilege:     "run on the server, as a superuser: ALTER ROLE <user> REPLICATION",
	noDatabase:      "correct the database in the dsn",
	tooMany:         "raise max_wal_senders on the server (two are used while a backup runs), and restart it",
	limitExceeded:   "raise max_replication_slots on the server, and restart it",
	notInState:      "set wal_level = replica (or logical) and max_replication_slots above 0 on the server, and restart it",
	starting:        "wait until the server has started, and repeat",
	shutdown:        "the server was stopped: start it, and repeat",
	crashed:         "the server crashed: look into its log, and repeat",
	undefinedFile:   "the server dropped log that was still needed: raise max_slot_wal_keep_size or wal_keep_size, and repeat",
}

// Error says what was being done to which server and why it failed; its text ends with what to do next. It holds no secret.
type Error struct {
	Op     string // a verb
	Server string
	Err    error
	Hint   string // empty where there is no advice
}

// Error is one line, or two where there is a hint.
func (e *Error) Error() string {
	text := e.Op + " " + e.Server + ": " + e.Err.Error()
	if e.Hint != "" {
		text += "\nhint: " + e.Hint
	}
	return text
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// describe makes an *Error of err.
func describe(op string, cfg *pgconn.Config, err error) error {
	if done := (*Error)(nil); err == nil || errors.As(err, &done) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &Error{Op: op, Server: where(cfg), Err: err}
	var server *pgconn.PgError
	var network net.Error
	switch {
	case errors.As(err, &server):
		e.Err = reason{strings.TrimSpace(server.Message + " " + server.Detail), err}
		e.Hint = hints[server.Code]
	case errors.Is(err, snapshot.ErrOther):
		e.Hint = "see that the dsn leads to the right server, and that a standby is not behind; if the change is meant, `lifeboat backup <source> --full` begins a new history beside the old one"
	case errors.Is(err, ErrDSN):
		e.Hint = "write it as postgres://user@host:5432/database"
	case errors.Is(err, os.ErrNotExist), errors.As(err, &network):
		e.Err = reason{withoutURL(err), err}
		e.Hint = "is the server running, and the host, port and network in the dsn right?"
	}
	return e
}

// reason replaces the text of an error that would tell too much.
type reason struct {
	text string
	err  error
}

func (r reason) Error() string { return r.text }
func (r reason) Unwrap() error { return r.err }

// withoutURL is the innermost text of a connection error: what is around it quotes user and database.
func withoutURL(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	return fmt.Sprint(rootCause(err))
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// oneLine is an error without its second line.
func oneLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
