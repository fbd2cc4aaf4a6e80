package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	canarySettings = `SELECT set_config(s, v, false) FROM (VALUES ('statement_timeout', '2s'), ('lock_timeout', '500ms'),
		('idle_in_transaction_session_timeout', '5s'), ('synchronous_commit', 'local')) AS x(s, v)`
)

// canaryState says whether a canary can be written: the database, whether it is a standby's, whether the schema is there and this role's own, or may be made; whether the table is there, and the one that
// Lifeboat makes; at last the cluster, and whether all tables are published. In somebody else's schema the table could be exchanged for another, and what others added to it, or to one that was
// theirs, would run with this role's rights. A table without a log is not restored.
const canaryState = `SELECT current_database(), pg_is_in_recovery(), n.oid IS NOT NULL, coalesce(n.nspowner = r.oid, false), has_database_privilege(current_database(), 'CREATE'),
	c.oid IS NOT NULL, coalesce(c.relkind = 'r' AND c.relowner = r.oid AND c.relpersistence = 'p' AND NOT (c.relhastriggers OR c.relhasrules OR c.relrowsecurity OR c.relhassubclass OR c.relispartition)
		AND NOT EXISTS (SELECT FROM pg_attrdef d WHERE d.adrelid = c.oid) AND NOT EXISTS (SELECT FROM pg_constraint t WHERE t.conrelid = c.oid AND t.contype NOT IN ('p', 'n'))
		AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
		AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner AND a.privilege_type <> 'SELECT')
		AND (SELECT array_agg(a.attname || ' ' || a.atttypid::regtype ORDER BY a.attname::text COLLATE "C") FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
			= ARRAY['number bigint', 'value text', 'writer text', 'written timestamp with time zone'], false),
	(SELECT system_identifier FROM pg_control_system()), EXISTS (SELECT FROM pg_publication p WHERE p.puballtables)
	FROM pg_roles r LEFT JOIN pg_namespace n ON n.nspname = '` + canarySchema + `' LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'canary'
	WHERE r.rolname = current_user`

const (
	// Whoever dumps the database may read it, or the dump would fail.
	makeCanaries = `CREATE TABLE ` + canarySchema + `.canary (writer text NOT NULL, number bigint NOT NULL, value text NOT NULL, written timestamptz NOT NULL, PRIMARY KEY (writer, number));
	GRANT USAGE ON SCHEMA ` + canarySchema + ` TO PUBLIC; GRANT SELECT ON ` + canarySchema + `.canary TO PUBLIC;
	COMMENT ON TABLE ` + canarySchema + `.canary IS 'Lifeboat writes a row right before each snapshot, and its restore drills fail where it does not come back: leave the rows alone.'`
	putCanary = `INSERT INTO ` + canarySchema + `.canary (writer, number, value, written) SELECT $1, coalesce(max(number), 0) + 1, $2, clock_timestamp() FROM ` + canarySchema + `.canary WHERE writer = $1
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
	if conn, err = ordinary(ctx, replication); err != nil {
		return nil, state, err
	}
	if _, err = query(ctx, conn, canarySettings); err == nil {
		state, err = canariesOn(ctx, conn, replication.User)
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
	standby, own, create, ours, published := is(1), is(3), is(4), is(6), is(8)
	in := fmt.Sprintf(" -- in database %q", state.database)
	makeSchema := fmt.Sprintf("CREATE SCHEMA %s AUTHORIZATION %s;%s", canarySchema, identifier(user), in)
	switch {
	case standby:
		return state, &refusal{"the server is a standby, where nothing can be written", "let the dsn lead to the primary, or take canary out of the policy"}
	case state.schema && !own:
		return state, &refusal{"the schema " + canarySchema + " is not the role's own, and whose it is could put another table into it", fmt.Sprintf("ALTER SCHEMA %s RENAME TO %[1]s_before; %s", canarySchema, makeSchema)}
	case !state.schema && !create:
		return state, &refusal{"the role may not make the schema " + canarySchema, makeSchema}
	case state.table && !ours:
		return state, &refusal{canarySchema + ".canary is not the table that Lifeboat makes: somebody owns it, changed it, or may do more with it than read", fmt.Sprintf("ALTER SCHEMA %s RENAME TO %[1]s_before; %s", canarySchema, makeSchema)}
	case !state.table && published:
		return state, &refusal{"a publication has all tables of the database, and its subscribers would stop at one that they do not have",
			strings.Join(strings.Fields(fmt.Sprintf("on the subscribers, then here as %s: CREATE SCHEMA IF NOT EXISTS %s; %s;%s", identifier(user), canarySchema, makeCanaries, in)), " ")}
	}
	return state, nil
}

// writeCanary writes one row to a cluster, and deletes those that are too old.
//
// It returns where the log ended behind it.
func writeCanary(ctx context.Context, replication *pgconn.Config, system uint64, writer string) (c *verify.Canary, end snapshot.Pos, err error) {
	ctx, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	conn, state, err := canaries(ctx, replication)
	if err != nil {
		return nil, end, err
	}
	defer finish(conn)
	if state.system != strconv.FormatUint(system, 10) {
		return nil, end, fmt.Errorf("the ordinary connection reached the cluster %s, not %d", state.system, system)
	}
	begin := "BEGIN; "
	if !state.schema {
		begin += "CREATE SCHEMA " + canarySchema + "; "
	}
	if !state.table {
		begin += makeCanaries + "; "
	}
	// From here on nobody but this role can put another table into its place, or anything on it.
	if _, err := conn.Exec(ctx, begin+"LOCK TABLE "+canarySchema+".canary IN ROW EXCLUSIVE MODE").ReadAll(); err != nil {
		return nil, end, err
	}
	if state, err = canariesOn(ctx, conn, replication.User); err != nil {
		return nil, end, err
	}
	out, value := verify.NewCanary(writer)
	r := conn.ExecParams(ctx, putCanary, [][]byte{[]byte(writer), []byte(value)}, nil, nil, nil).Read()
	if r.Err != nil {
		return nil, end, r.Err
	}
	if len(r.Rows) != 1 {
		return nil, end, errors.New("the server did not keep the row")
	}
	number, err1 := strconv.ParseInt(string(r.Rows[0][0]), 10, 64)
	micro, err2 := strconv.ParseInt(string(r.Rows[0][1]), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return nil, end, err
	}
	out.Database, out.Number, out.Written = state.database, number, time.UnixMicro(micro).UTC()
	cut := [][]byte{[]byte(writer), strconv.AppendInt(nil, number, 10), strconv.AppendInt(nil, verify.CanariesKept, 10)}
	if r := conn.ExecParams(ctx, cutCanaries, cut, nil, nil, nil).Read(); r.Err != nil {
		return nil, end, r.Err
	}
	if _, err := query(ctx, conn, "COMMIT"); err != nil {
		return nil, end, err
	}
	rows, err := query(ctx, conn, "SELECT pg_current_wal_insert_lsn(), pg_walfile_name(pg_current_wal_insert_lsn())")
	if err != nil {
		return nil, end, err
	}
	if end, err = behind(rows[0][0], rows[0][1]); err != nil {
		return nil, end, err
	}
	return &out, end, nil
}

// behind is a position in the timeline that begins the name of a file of the log.
func behind(at, file string) (snapshot.Pos, error) {
	offset, err := parseLSN(at)
	if err != nil {
		return snapshot.Pos{}, err
	}
	line, err := strconv.ParseUint(file[:min(8, len(file))], 16, 32)
	return snapshot.Pos{Line: line, Offset: uint64(offset)}, err
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
