package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"lifeboat/internal/cell"
	"lifeboat/verify"
)

// Restored is a restored cluster that runs in a Lab. Its methods may be called from several goroutines; it is asked one question at a time.
type Restored struct {
	lab     *Lab
	server  *cell.Server
	left    lsn    // where it left the timeline of its replay
	admin   string // a superuser
	home    string // a database where the cluster can be asked
	target  string // the database that Query asks
	reached verify.Reached

	mu      sync.Mutex
	session *conn // kept, because most questions follow one of the same database
	at      string
	socket  *os.File // the directory
	tables  map[string]table
	reader  string // the role that Query asks as
}

var _ verify.Database = (*Restored)(nil)

// maxAnswer bounds what a restored cluster may answer to a question of ours, bytes: it is not trusted.
const maxAnswer = 256 << 20

// conn is a session with a restored cluster.
type conn struct{ *pgconn.PgConn }

// fixed are the settings of a session, before those of roles and databases: text must not depend on them, and their libraries may be missing here.
var fixed = map[string]string{
	"application_name": "lifeboat drill", "client_encoding": "UTF8", "TimeZone": "UTC", "DateStyle": "ISO, YMD", "IntervalStyle": "postgres",
	"extra_float_digits": "1", "bytea_output": "hex", "xmlbinary": "base64", "lc_monetary": "C", "quote_all_identifiers": "off", "search_path": "pg_catalog",
	"default_transaction_read_only": "on", "default_transaction_isolation": "read committed", "statement_timeout": "0", "lock_timeout": "0",
	"idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0", "row_security": "on", "session_preload_libraries": "", "local_preload_libraries": "",
	"session_replication_role": "replica", "role": "none",
}

// dial opens a session as a role, with messages of at most most bytes.
func (d *Restored) dial(ctx context.Context, role, database string, settings map[string]string, most int) (*conn, error) {
	cfg, err := pgconn.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	if d.socket == nil {
		if d.socket, err = os.Open(d.server.Dir); err != nil {
			return nil, err
		}
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database, cfg.Fallbacks, cfg.Password = cell.Reachable(d.socket), 5432, role, database, nil, ""
	cfg.RuntimeParams, cfg.ValidateConnect, cfg.AfterConnect = settings, nil, nil
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(most)
		return f
	}
	c, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &conn{c}, nil
}

// findAdmin finds a role that may ask everything. The role that took the snapshot need not be one, but it can tell.
func (d *Restored) findAdmin(ctx context.Context) error {
	var errs []error
	for _, role := range []string{d.lab.Manifest.User, "postgres"} {
		for _, database := range []string{"postgres", "template1"} {
			c, err := d.dial(ctx, role, database, map[string]string{"search_path": "pg_catalog"}, maxMessage)
			if err != nil {
				errs = append(errs, errors.New(strings.Join(causes(err), "; ")))
				continue
			}
			rows, err := c.ask(ctx, `SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND rolcanlogin AND rolconnlimit <> 0 ORDER BY oid <> 10, oid LIMIT 1`)
			c.end()
			if err == nil && len(rows) == 0 {
				err = errors.New("it has no superuser who may log in")
			}
			if err != nil {
				return fmt.Errorf("ask the restored cluster for its superuser: %w", err)
			}
			d.admin, d.home = rows[0][0], database
			return nil
		}
	}
	return fmt.Errorf("connect to the restored cluster: %w", errors.Join(errs...))
}

// with does something in a session of the superuser with a database.
func (d *Restored) with(ctx context.Context, database string, do func(*conn) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.in(ctx, database, do)
}

// in is with, with d.mu held.
func (d *Restored) in(ctx context.Context, database string, do func(*conn) error) (err error) {
	if d.session == nil || d.at != database || d.session.IsClosed() {
		d.leave()
		if d.session, err = d.dial(ctx, d.admin, database, fixed, maxMessage); err != nil {
			d.session = nil
			return fmt.Errorf("connect to database %s of the restored cluster: %w", database, err)
		}
		d.at = database
	}
	err = do(d.session)
	if d.session.TxStatus() != 'I' { // a transaction that did not end
		d.leave()
	}
	return err
}

// leave ends the session that is kept; with d.mu held.
func (d *Restored) leave() {
	if d.session != nil {
		d.session.end()
		d.session = nil
	}
}

// end ends the session.
func (c *conn) end() { finish(c.PgConn) }

// finish ends a session at once: a server that is busy would not listen.
func finish(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // nothing is lost with it
}

// ask puts one statement; NULL is empty.
func (c *conn) ask(ctx context.Context, sql string, args ...string) (out [][]string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var params [][]byte
	for _, a := range args {
		params = append(params, []byte(a))
	}
	size := 0
	r := c.ExecParams(ctx, sql, params, nil, nil, nil)
	for r.NextRow() {
		var row []string
		for _, v := range r.Values() {
			row = append(row, string(v))
			size += len(v) + 16
		}
		if size > maxAnswer {
			cancel()
			_, _ = r.Close() // what it says then is only the consequence
			return nil, fmt.Errorf("the restored cluster answers with more than %d bytes", maxAnswer)
		}
		out = append(out, row)
	}
	_, err = r.Close()
	return out, err
}

// run puts statements that have no answer.
func (c *conn) run(ctx context.Context, sql string) error {
	_, err := c.Exec(ctx, sql).ReadAll()
	return err
}

// Reached implements verify.Database: where the cluster left the timeline of its replay, and the last commit or abort that it replayed.
func (d *Restored) Reached(context.Context) (verify.Reached, error) { return d.reached, nil }

// Stop implements verify.Database.
func (d *Restored) Stop(ctx context.Context) (left int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leave()
	left = d.server.End(ctx)
	if d.socket != nil {
		err = d.socket.Close()
		d.socket = nil
	}
	return left, err
}

// identifier quotes a name for SQL.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// qualified is the name of an object in an inventory: its parts with dots between them. One that holds what could be taken for that is quoted as in SQL.
func qualified(parts ...string) string {
	var out []string
	for _, p := range parts {
		p = strings.ToValidUTF8(p, "�")
		if p == "" || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == '.' || r == '"' || r == 0x7f }) {
			p = identifier(p)
		}
		out = append(out, p)
	}
	return strings.Join(out, ".")
}
