package postgres

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// Why a server cannot be backed up. Test with errors.Is.
var (
	ErrDSN      = errors.New("the dsn cannot be read")
	ErrVersion  = errors.New("the server's version is not supported")
	ErrShutdown = errors.New("the server ended the stream, as it does when it is stopped")
	ErrBroken   = errors.New("the server ended the connection")
)

// oldest is the oldest server that works, as server_version_num.
const oldest = 140000

// SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	dataCorrupted    = "XX001"
	invalidPassword  = "28P01"
	notAuthorised    = "28000"
	noPrivilege      = "42501"
	tooMany          = "53300"
	limitExceeded    = "53400"
	notInState       = "55000"
	starting         = "57P03"
	shutdown         = "57P01"
	crashed          = "57P02"
	undefinedFile    = "58P01"
	slotInUse        = "55006"
	unknownParameter = "42704"
	duplicateObject  = "42710"
)

// hints say what to do next, by SQLSTATE. <user> is the one of the DSN.
var hints = map[string]string{
	invalidPassword: "is there a role <user>, and is its password the one in password_file, PGPASSWORD or .pgpass?",
	notAuthorised:   "as a superuser: CREATE ROLE <user> REPLICATION LOGIN, if it is missing; then a line in pg_hba.conf such as `host replication <user> <this address>/32 scram-sha-256`, and SELECT pg_reload_conf()",
	noPrivilege:     "as a superuser: ALTER ROLE <user> REPLICATION;",
	tooMany:         "as a superuser: ALTER SYSTEM SET wal_level = replica; ALTER SYSTEM SET max_wal_senders = 10; -- and restart the server (a backup uses two while it runs, stream one; wal_level may stay logical)",
	limitExceeded:   "as a superuser: ALTER SYSTEM SET max_replication_slots = 10; -- and restart the server (or drop a slot that nobody needs)",
	starting:        "wait until the server has started, and repeat",
	shutdown:        "the server was stopped: start it, and repeat",
	crashed:         "the server crashed: look into its log, and repeat",
	undefinedFile:   "the server dropped log that was still needed: raise max_slot_wal_keep_size or wal_keep_size, and repeat",
	slotInUse:       "another program reads this slot: stop it; a slot serves one stream, and no other program may use Lifeboat's",
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
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &server):
		e.Err = reason{strings.TrimSpace(server.Message + " " + server.Detail), err}
		e.Hint = strings.ReplaceAll(hints[server.Code], "<user>", strconv.Quote(cfg.User))
		if e.Hint == "" {
			e.Hint = server.Hint
		}
	case errors.Is(err, snapshot.ErrOther):
		e.Hint = "see that the dsn leads to the right server, and that a standby is not behind; if the change is meant, `lifeboat backup <source> --full` begins a new history beside the old one"
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, ErrBroken), errors.Is(err, ErrShutdown):
		text := strings.Join(causes(err), "; ")
		e.Err = reason{text, err}
		e.Hint = "is the server running, and the host, port and network in the dsn right?"
		switch {
		case strings.Contains(text, "refused TLS"):
			e.Hint = "let the server speak TLS (ssl = on, ssl_cert_file, ssl_key_file), or lower sslmode in the dsn"
		case strings.Contains(text, "x509:"):
			e.Hint = "name the file with the certificate of the server's authority as sslrootcert in the dsn, and the host as its certificate does"
		}
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

// causes are the innermost texts of a connection error, each once: what is around them quotes user and database, and with and
// without TLS the same goes wrong.
func causes(err error) []string {
	var out []string
	if op, ok := err.(*net.OpError); ok {
		return []string{op.Error()}
	}
	switch w := err.(type) {
	case interface{ Unwrap() []error }:
		for _, one := range w.Unwrap() {
			for _, text := range causes(one) {
				if !slices.Contains(out, text) {
					out = append(out, text)
				}
			}
		}
	case interface{ Unwrap() error }:
		if next := w.Unwrap(); next != nil {
			return causes(next)
		}
	}
	if len(out) == 0 {
		out = []string{err.Error()}
	}
	return out
}

// oneLine is an error without its second line.
func oneLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
