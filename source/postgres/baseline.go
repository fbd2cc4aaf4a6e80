package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// baselineFile is where a snapshot has what was counted when it was taken.
const baselineFile = ours + "/baseline.json"

// Limits of a baseline: bytes of its file, and tables.
const (
	maxBaseline = 32 << 20
	maxCounted  = 50000
)

// baselineFormat is the version of Baseline.
const baselineFormat = 1

// Baseline is what was counted in a database while a snapshot of its cluster was being taken: between the positions at which the snapshot begins and
// ends. It is what the transaction saw that counted.
type Baseline struct {
	Format   int       `json:"format"`
	Database string    `json:"database"`
	Taken    time.Time `json:"taken"` // by the server's clock
	Timeline uint32    `json:"timeline"`
	// With Quiet, what that transaction did not see stands in the log behind Before: nobody else was writing then. A standby does not know that.
	Before string          `json:"before"`
	Quiet  bool            `json:"quiet"`
	Tables []BaselineTable `json:"tables"`
}

// BaselineTable is one table.
type BaselineTable struct {
	Name  string   `json:"name"` // as Inventory has it
	OID   string   `json:"oid"`
	Rows  *int64   `json:"rows"`            // null: not counted
	Files []string `json:"files,omitempty"` // of it and of its TOAST, as the log names them: tablespace/database/file
}

// ParseBaseline reads the file of a snapshot.
func ParseBaseline(b []byte) (*Baseline, error) {
	var out Baseline
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("read what was counted: %w", err)
	}
	if _, err := parseLSN(out.Before); out.Format != baselineFormat || err != nil || len(out.Tables) > maxCounted {
		return nil, fmt.Errorf("read what was counted: format %d, from position %q, with %d tables", out.Format, out.Before, len(out.Tables))
	}
	return &out, nil
}

// countables lists the tables with a log of their own: OID, schema, name, files, and whether this role sees all of their rows; the smallest first. What is
// partitioned has no rows itself.
const countables = `SELECT c.oid, n.nspname, c.relname, concat_ws(' ', s.space || '/' || d.oid || '/' || pg_relation_filenode(c.oid),
		coalesce(nullif(t.reltablespace, 0), d.dattablespace) || '/' || d.oid || '/' || pg_relation_filenode(t.oid)),
	c.relkind = 'r' AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_database d ON d.datname = current_database() LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
	CROSS JOIN LATERAL (SELECT coalesce(nullif(c.reltablespace, 0), d.dattablespace)) AS s(space)
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND ` + ownTables + ` ORDER BY c.relkind = 'p', pg_relation_size(c.oid), c.oid LIMIT %d`

// Until the database is quiet, and for as little as it takes to see that.
const (
	quietTries = 20
	quietPause = 50 * time.Millisecond
)

// counting is a baseline that is being taken.
type counting struct {
	conn   *pgconn.PgConn
	budget time.Duration
	out    *Baseline
	unseen int // tables that this role may not read
}

// count takes a baseline of the database that cfg leads to, with the time that there is. What was counted until something went wrong is valid.
func count(ctx context.Context, replication *pgconn.Config, timeline uint32, budget time.Duration) (b *Baseline, unseen int, err error) {
	const grace = 2 * time.Second // the server ends each statement in time, unless it does not answer at all
	ctx, cancel := context.WithTimeout(ctx, budget+grace)
	defer cancel()
	conn, err := ordinary(ctx, replication)
	if err != nil {
		return nil, 0, err
	}
	defer finish(conn)
	c := &counting{conn: conn, budget: budget, out: &Baseline{Format: baselineFormat, Timeline: timeline, Tables: []BaselineTable{}}}
	if err := c.begin(ctx); err != nil {
		return nil, 0, err
	}
	err = c.tables(ctx)
	return c.out, c.unseen, err
}

// begin starts the transaction that counts, if it can be at a moment when no other has a number, which it gets before it writes, and keeps a lock on until
// everybody sees that it ended. What a snapshot says of itself is not enough: it calls those from its end on running that have not begun.
func (c *counting) begin(ctx context.Context) error {
	const here = `CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END`
	if _, err := query(ctx, c.conn, "SELECT set_config(s, v, false) FROM (VALUES ('max_parallel_workers_per_gather', '0'), ('lock_timeout', '200ms'), ('statement_timeout', '0')) AS x(s, v)"); err != nil {
		return err
	}
	for try := 0; ; try++ {
		// In this order: what is not visible later had no number yet when nobody had one, and so has written nothing before.
		before, err := query(ctx, c.conn, "SELECT "+here)
		if err != nil {
			return err
		}
		quiet, err := query(ctx, c.conn, "SELECT NOT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock')")
		if err != nil {
			return err
		}
		if _, err := query(ctx, c.conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			return err
		}
		rows, err := query(ctx, c.conn, "SELECT current_database(), (extract(epoch FROM now()) * 1000000)::bigint")
		if err != nil {
			return err
		}
		micro, err := strconv.ParseInt(rows[0][1], 10, 64)
		if err != nil {
			return err
		}
		c.out.Before, c.out.Quiet, c.out.Database, c.out.Taken = before[0][0], quiet[0][0] == "t", rows[0][0], time.UnixMicro(micro).UTC()
		if c.out.Quiet || try == quietTries {
			return nil
		}
		if _, err := query(ctx, c.conn, "ROLLBACK"); err != nil {
			return err
		}
		select {
		case <-time.After(quietPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tables lists all tables and counts those that the budget allows. Each lock is given back at once.
func (c *counting) tables(ctx context.Context) error {
	rows, err := query(ctx, c.conn, fmt.Sprintf(countables, maxCounted))
	if err != nil {
		return err
	}
	left := c.budget
	for _, r := range rows {
		t := BaselineTable{Name: qualified(c.out.Database, r[1], r[2]), OID: r[0], Files: strings.Fields(r[3])}
		switch {
		case r[4] != "t":
			if len(t.Files) > 0 {
				c.unseen++
			}
		case left >= time.Millisecond:
			if left, err = c.table(ctx, &t, table{schema: r[1], name: r[2], only: "ONLY "}, left); err != nil {
				return err
			}
		}
		c.out.Tables = append(c.out.Tables, t)
	}
	return nil
}

// table counts one. The server tells how much of the budget is left.
func (c *counting) table(ctx context.Context, t *BaselineTable, at table, left time.Duration) (time.Duration, error) {
	results, err := c.conn.Exec(ctx, fmt.Sprintf("SAVEPOINT counted; SET LOCAL statement_timeout = %d; SELECT count(*), (extract(epoch FROM clock_timestamp() - transaction_timestamp()) * 1000000)::bigint FROM %s; ROLLBACK TO counted",
		max(1, left.Milliseconds()), at.from())).ReadAll()
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused):
		if refused.Code == cancelled {
			left = 0
		}
		_, err := query(ctx, c.conn, "ROLLBACK TO counted")
		return left, err
	case err != nil:
		return 0, err
	case len(results) != 4 || len(results[2].Rows) != 1 || len(results[2].Rows[0]) != 2:
		return 0, fmt.Errorf("count a table: an answer of %d results", len(results))
	}
	row := results[2].Rows[0]
	n, err1 := strconv.ParseInt(string(row[0]), 10, 64)
	micro, err2 := strconv.ParseInt(string(row[1]), 10, 64)
	t.Rows = &n
	return c.budget - time.Duration(micro)*time.Microsecond, errors.Join(err1, err2)
}

// baseline counts and yields the outcome as an item. That nothing could be counted stops no backup: it is a finding.
func (v *view) baseline(ctx context.Context, emit func(snapshot.Item) error) error {
	if v.budget <= 0 {
		return nil
	}
	b, unseen, err := count(ctx, v.cfg, v.backup.timeline, v.budget)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		v.uncounted(oneLine(err.Error()), "")
	} else if unseen > 0 {
		v.uncounted(fmt.Sprintf("the role may not read %d tables of database %s", unseen, b.Database), fmt.Sprintf("as a superuser: GRANT pg_read_all_data TO %q; ALTER ROLE %[1]q BYPASSRLS;", v.cfg.User))
	}
	if b == nil {
		return nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return emit(snapshot.Item{Name: baselineFile, Kind: snapshot.Stream, Size: int64(len(text)), Mode: 0o600, Body: strings.NewReader(string(text))})
}

// uncounted notes why tables were not counted.
func (v *view) uncounted(why, fix string) {
	v.findings = append(v.findings, snapshot.Finding{Name: "tables were not counted for drills", Level: snapshot.Warn, Detail: why, Fix: fix})
}
