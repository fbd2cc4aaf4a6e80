package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"lifeboat/internal/phrase"
)

// maxValue bounds the answer of a statement, maxRow a row with what else stands in it.
const (
	maxValue = 64 << 10
	maxRow   = 1 << 20
)

// SQLSTATEs of what a statement must not do.
const (
	raised    = "P0001"
	readOnly  = "25006"
	cancelled = "57014"
	syntax    = "42601"
	multiple  = "cannot insert multiple commands into a prepared statement"
)

// Query implements verify.Database. The statement runs in Lab.Database, in a transaction that only reads, by a role that may read everything and do
// nothing else: no programs, no files, no other servers. When ctx ends the server notices within a second that nobody waits any more.
func (d *Restored) Query(ctx context.Context, sql string) (value string, null bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.makeReader(ctx); err != nil {
		return "", false, fmt.Errorf("make a role that only reads: %w", err)
	}
	settings := map[string]string{"application_name": "lifeboat drill", "client_encoding": "UTF8", "TimeZone": "UTC", "DateStyle": "ISO, YMD", "extra_float_digits": "1"}
	c, err := d.dial(ctx, d.reader, d.target, settings, maxRow)
	if err != nil {
		return "", false, fmt.Errorf("connect to database %s of the restored cluster: %w", d.target, err)
	}
	defer c.end()
	if err := c.run(ctx, "BEGIN READ ONLY"); err != nil {
		return "", false, fmt.Errorf("begin to read: %w", discreet(err))
	}
	value, null, err = c.one(ctx, sql)
	if err != nil {
		return "", false, explain(ctx, err)
	}
	return value, null, nil
}

// one puts a statement that must have one row.
func (c *conn) one(ctx context.Context, sql string) (value string, null bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := 0
	r := c.ExecParams(ctx, sql, nil, nil, nil, nil)
	for r.NextRow() {
		v := r.Values()
		switch n++; {
		case n > 1:
			err = errors.New(phrase.StatementRows.Say())
		case len(v) == 0:
			err = errors.New(phrase.StatementNoColumn.Say())
		case len(v[0]) > maxValue:
			err = errors.New(phrase.ValueLarge.Say(maxValue))
		default:
			value, null = string(v[0]), v[0] == nil
		}
		if err != nil {
			cancel()
			_, _ = r.Close() // what it says then is only the consequence
			return "", false, err
		}
	}
	if _, err = r.Close(); err == nil && n == 0 {
		err = errors.New(phrase.StatementNoRow.Say())
	}
	return value, null, err
}

// explain says in plain words what a statement did wrong, without what stands in tables.
func explain(ctx context.Context, err error) error {
	err = discreet(err)
	var server *pgconn.PgError
	var large *pgproto3.ExceededMaxBodyLenErr
	switch errors.As(err, &server); {
	case errors.As(err, &large):
		return errors.New(phrase.RowLarge.Say(maxRow))
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", phrase.StatementLate.Say(), ctx.Err())
	case server == nil:
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: %w", phrase.SessionEnded.Say(), err)
		}
		return err
	case server.Code == cancelled:
		return fmt.Errorf("%s: %w", phrase.StatementLate.Say(), err)
	case server.Code == readOnly:
		return fmt.Errorf("%s: %w", phrase.StatementWrites.Say(), err)
	case server.Code == syntax && server.Message == multiple:
		return fmt.Errorf("%s: %w", phrase.Statements.Say(), err)
	}
	return err
}

// quoted is what a message quotes. A quote that does not end is quoted to the end: a value may hold quotes itself.
var quoted = regexp.MustCompile(`(?s)".*"|'.*'|"[^"]*$|'[^']*$`)

// discreet is an error of the server without values of the tables: its SQLSTATE, and its message without what that quotes; what a function raises may say
// anything. Detail, hint and context are left out. What is no error of the server stays.
func discreet(err error) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return err
	}
	text := quoted.ReplaceAllString(server.Message, "…")
	if server.Code == raised || server.Routine == "exec_stmt_raise" {
		text = "a function raised an exception"
	}
	return reason{fmt.Sprintf("%s (SQLSTATE %s)", text, server.Code), err}
}

// makeReader makes the role that statements run as, once: in the drill's copy, which is thrown away. With d.mu held.
func (d *Restored) makeReader(ctx context.Context) error {
	if d.reader != "" {
		return nil
	}
	name := "lifeboat_drill_" + token()
	return d.in(ctx, d.home, func(c *conn) error {
		role := identifier(name)
		err := c.run(ctx, "BEGIN READ WRITE; CREATE ROLE "+role+" LOGIN BYPASSRLS IN ROLE pg_read_all_data, pg_monitor; ALTER ROLE "+role+
			" SET session_preload_libraries FROM CURRENT; ALTER ROLE "+role+" SET lc_messages = 'C'; GRANT CONNECT ON DATABASE "+identifier(d.target)+" TO "+role+"; COMMIT")
		if err == nil {
			d.reader = name
		}
		return err
	})
}

// token is a name that nothing in the cluster has.
func token() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
