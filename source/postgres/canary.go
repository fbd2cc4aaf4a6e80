package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
	"lifeboat/verify"
)

// canarySchema has one table, canary, in the database of the DSN. Drills do not count it among the tables: it is Lifeboat's own.
const canarySchema = "lifeboat_canary"

// canaryLimit bounds all that is done for a canary; its settings, how long one statement and the wait for one lock may take, and that a commit waits for no replica.
const (
	canaryLimit    = 5 * time.Second
	canarySettings = `SELECT set_config(s, v, false) FROM (VALUES ('search_path', 'pg_catalog'), ('statement_timeout', '2s'), ('lock_timeout', '500ms'),
		('idle_in_transaction_session_timeout', '5s'), ('synchronous_commit', 'local')) AS x(s, v)`
)

// canaryState says whether a canary can be written: the database, whether it is a standby's, and whether the schema and the table are there and may be used; at last the cluster. A table that
// is not this role's own may have triggers, which would run with its rights.
const canaryState = `SELECT current_database(), pg_is_in_recovery(), n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
	CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE') ELSE has_schema_privilege(n.oid, 'CREATE') END,
	c.oid IS NOT NULL, coalesce(c.relkind = 'r' AND c.relowner = r.oid, false),
	(SELECT system_identifier FROM pg_control_system())
	FROM pg_roles r LEFT JOIN pg_namespace n ON n.nspname = '` + canarySchema + `' LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'canary'
	WHERE r.rolname = current_user`

const (
	makeCanaries = `CREATE TABLE ` + canarySchema + `.canary (writer text NOT NULL, number bigint NOT NULL, value text NOT NULL, written timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (writer, number));
	COMMENT ON TABLE ` + canarySchema + `.canary IS 'Lifeboat writes a row right before each snapshot, and its restore drills fail where it does not come back: leave the rows alone.'`
	putCanary = `INSERT INTO ` + canarySchema + `.canary (writer, number, value) SELECT $1, coalesce(max(number), 0) + 1, $2 FROM ` + canarySchema + `.canary WHERE writer = $1
		RETURNING number, (extract(epoch FROM written) * 1000000)::bigint`
	cutCanaries = `DELETE FROM ` + canarySchema + `.canary WHERE writer = $1 AND number <= $2::bigint - $3::bigint`
)

// refusal is why no canary can be written, and a statement that changes it.
type refusal struct{ why, fix string }

func (r *refusal) Error() string { return r.why }

// cage is what canaryState answers.
type cage struct {
	system, database string
	schema, table    bool
}

// canaries connects to the database of the DSN and finds out whether a canary can be written there: errors may be a *refusal.
func canaries(ctx context.Context, replication *pgconn.Config) (conn *pgconn.PgConn, state cage, err error) {
	cfg := replication.Copy()
	delete(cfg.RuntimeParams, "replication")
	if conn, err = pgconn.ConnectConfig(ctx, cfg); err != nil {
		return nil, state, fmt.Errorf("no ordinary connection: %s", oneLine(describe("connect to", cfg, err).Error()))
	}
	if _, err = query(ctx, conn, canarySettings); err == nil {
		state, err = canariesOn(ctx, conn, cfg.User)
	}
	if err != nil {
		finish(conn)
		return nil, state, err
	}
	return conn, state, nil
}

// canariesOn asks for the state on a connection.
func canariesOn(ctx context.Context, conn *pgconn.PgConn, user string) (state cage, err error) {
	rows, err := query(ctx, conn, canaryState)
	if err != nil {
		return state, err
	}
	if len(rows) != 1 {
		return state, fmt.Errorf("ask for the canaries: an answer of %d rows", len(rows))
	}
	is := func(column int) bool { return rows[0][column] == "t" }
	state = cage{system: rows[0][7], database: rows[0][0], schema: is(2), table: is(5)}
	standby, use, create, own := is(1), is(3), is(4), is(6)
	role, in := identifier(user), fmt.Sprintf(" -- in database %q", state.database)
	switch {
	case standby:
		return state, &refusal{"the server is a standby, where nothing can be written", "let the dsn lead to the primary, or take canary out of the policy"}
	case state.table && !own:
		return state, &refusal{"the table " + canarySchema + ".canary is not the role's own", fmt.Sprintf("ALTER SCHEMA %s OWNER TO %s; ALTER TABLE %[1]s.canary OWNER TO %[2]s;%s", canarySchema, role, in)}
	case state.schema && (!use || !create && !state.table):
		return state, &refusal{"the role may not use the schema " + canarySchema, fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA %s TO %s;%s", canarySchema, role, in)}
	case !state.schema && !create:
		return state, &refusal{"the role may not make the schema " + canarySchema, fmt.Sprintf("CREATE SCHEMA %s AUTHORIZATION %s;%s", canarySchema, role, in)}
	}
	return state, nil
}

// writeCanary writes one row to a cluster, and deletes those that are too old.
func writeCanary(ctx context.Context, replication *pgconn.Config, system uint64, writer string) (c *verify.Canary, err error) {
	ctx, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	conn, state, err := canaries(ctx, replication)
	if err != nil {
		return nil, err
	}
	defer finish(conn)
	if state.system != strconv.FormatUint(system, 10) {
		return nil, fmt.Errorf("the ordinary connection reached the cluster %s, not %d", state.system, system)
	}
	begin := "BEGIN READ WRITE; "
	if !state.schema {
		begin += "CREATE SCHEMA " + canarySchema + "; "
	}
	if !state.table {
		begin += makeCanaries + "; "
	}
	// From here on nobody can put another table into its place, or a trigger on it.
	if _, err := conn.Exec(ctx, begin+"LOCK TABLE "+canarySchema+".canary IN ROW EXCLUSIVE MODE").ReadAll(); err != nil {
		return nil, err
	}
	if state, err = canariesOn(ctx, conn, replication.User); err != nil {
		return nil, err
	}
	out, value := verify.NewCanary(writer)
	r := conn.ExecParams(ctx, putCanary, [][]byte{[]byte(writer), []byte(value)}, nil, nil, nil).Read()
	if r.Err != nil {
		return nil, r.Err
	}
	if len(r.Rows) != 1 {
		return nil, errors.New("the server did not keep the row")
	}
	number, err1 := strconv.ParseInt(string(r.Rows[0][0]), 10, 64)
	micro, err2 := strconv.ParseInt(string(r.Rows[0][1]), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	out.Database, out.Number, out.Written = state.database, number, time.UnixMicro(micro).UTC()
	cut := [][]byte{[]byte(writer), strconv.AppendInt(nil, number, 10), strconv.AppendInt(nil, verify.CanariesKept, 10)}
	if r := conn.ExecParams(ctx, cutCanaries, cut, nil, nil, nil).Read(); r.Err != nil {
		return nil, r.Err
	}
	if _, err := query(ctx, conn, "COMMIT"); err != nil {
		return nil, err
	}
	return &out, nil
}

// uncaged is a finding about a canary that cannot be written.
func uncaged(err error) snapshot.Finding {
	f := snapshot.Finding{Name: "no canary was written", Level: snapshot.Warn, Detail: oneLine(err.Error())}
	var refused *refusal
	var server *pgconn.PgError
	switch {
	case errors.As(err, &refused):
		f.Fix = refused.fix
	case errors.As(err, &server):
		f.Detail = server.Message
	case errors.Is(err, context.DeadlineExceeded):
		f.Detail = fmt.Sprintf("the server did not answer within %s", canaryLimit)
	}
	return f
}

// canary tells whether a canary could be written.
func (e *examination) canary(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	conn, state, err := canaries(ctx, e.cfg)
	if err != nil {
		f := uncaged(err)
		e.add("canary", f.Level, "the policy accepts a canary, and none can be written: "+f.Detail, f.Fix)
		return
	}
	finish(conn)
	e.add("canary", snapshot.OK, fmt.Sprintf("can be written to %s.canary of database %s", canarySchema, state.database), "")
}

var _ verify.Canaried = (*Restored)(nil)

// Canary implements verify.Canaried.
func (d *Restored) Canary() *verify.Canary { return d.lab.Manifest.Canary }

// Canaries implements verify.Canaried. What is no plain table holds none.
func (d *Restored) Canaries(ctx context.Context, want verify.Canary) (map[int64]string, error) {
	out := map[int64]string{}
	err := d.with(ctx, want.Database, func(c *conn) error {
		rows, err := c.ask(ctx, "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '"+canarySchema+"' AND c.relname = 'canary' AND c.relkind = 'r'")
		if err != nil || len(rows) == 0 {
			return err
		}
		rows, err = c.ask(ctx, "SELECT number, left(value, 100) FROM "+canarySchema+".canary WHERE writer = $1 ORDER BY number DESC LIMIT $2", want.Writer, strconv.Itoa(4*verify.CanariesKept))
		for _, r := range rows {
			n, perr := strconv.ParseInt(r[0], 10, 64)
			if err = errors.Join(err, perr); err == nil {
				out[n] = r[1]
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the row in database %s: %w", want.Database, err)
	}
	return out, nil
}
