package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// Why a server cannot be backed up. Test with errors.Is.
var (
	ErrDSN     = errors.New("the dsn cannot be read")
	ErrVersion = errors.New("the server's version is not supported")
	ErrTool    = errors.New("a program of the server is needed")
	ErrRemote  = errors.New("the server's files cannot be read here")
	ErrLayout  = errors.New("the server's files could not be restored elsewhere")
)

// hints say what to do next, by error code. <user> is the one of the DSN. Codes: https://mariadb.com/kb/en/mariadb-error-code-reference/
var hints = map[uint16]string{
	mysql.ER_ACCESS_DENIED_ERROR:          "is there a user <user> for this host, and is its password the one in password_file or MYSQL_PWD? `lifeboat doctor` prints the SQL that makes one",
	mysql.ER_DBACCESS_DENIED_ERROR:        "is there such a database, and may <user> see it? `lifeboat doctor` prints the SQL",
	mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR: "`lifeboat doctor` prints the SQL that grants it",
	mysql.ER_CON_COUNT_ERROR:              "the server has no connection left: raise max_connections, or wait",
	mysql.ER_HOST_NOT_PRIVILEGED:          "let <user> connect from this host: CREATE USER ... @'<this host>'",
	mysql.ER_SERVER_SHUTDOWN:              "the server was stopped: start it, and repeat",
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

// hinted is a reason that brings its own advice.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// describe makes an *Error of err.
func describe(op string, at *server, err error) error {
	if done := (*Error)(nil); err == nil || errors.As(err, &done) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &Error{Op: op, Server: at.String(), Err: err}
	var said *mysql.MyError
	var own hinted
	var network net.Error
	switch {
	case errors.As(err, &own):
		e.Hint = own.hint
	case errors.As(err, &said):
		e.Hint = strings.ReplaceAll(hints[said.Code], "<user>", fmt.Sprintf("'%s'", at.user))
	case errors.As(err, &network):
		e.Hint = "is the server running, and the host, port, socket and network in the dsn right?"
	}
	return e
}

// String names the server without its password.
func (s *server) String() string { return s.addr }

// oneLine is an error without its second line.
func oneLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
