package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// strange are names that have to be quoted, and how the inventory has them.
var strange = map[string]string{
	`plain`:       `postgres.public.plain`,
	`Mixed`:       `postgres.public.Mixed`,
	`order`:       `postgres.public.order`,
	`with.dot`:    `postgres.public."with.dot"`,
	`with"quote`:  `postgres.public."with""quote"`,
	`with space`:  `postgres.public."with space"`,
	`客户`:          `postgres.public.客户`,
	`back\slash;`: `postgres.public.back\slash;`,
	`x'; DROP--`:  `postgres.public."x'; DROP--"`,
}

// TestInventory lists a cluster with one of each.
func TestLabInventory(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	for name := range strange {
		pg.Query("postgres", "CREATE TABLE "+identifier(name)+" AS SELECT generate_series(1, 3) AS "+identifier(name))
	}
	pg.Query("postgres", `CREATE SCHEMA "a.b"; CREATE TABLE "a.b".c (r int); CREATE SCHEMA a; CREATE TABLE a."b.c" AS SELECT 1 r;
		CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TYPE pair AS (a int, b int); CREATE DOMAIN positive AS int CHECK (value > 0);
		CREATE VIEW seen AS SELECT 1 AS one; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one; CREATE SEQUENCE counter; CREATE EXTENSION pg_trgm; CREATE EXTENSION postgres_fdw;
		CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw; CREATE FOREIGN TABLE far (n int) SERVER elsewhere;
		CREATE UNLOGGED TABLE scratch AS SELECT 1 n; CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
		INSERT INTO parts SELECT generate_series(0, 9); CREATE INDEX by_n ON parts (n); CREATE TABLE base (n int); CREATE TABLE heir () INHERITS (base);
		INSERT INTO base VALUES (1); INSERT INTO heir VALUES (2), (3); ANALYZE parts, heir;
		CREATE FUNCTION add(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE nothing() LANGUAGE sql AS '';
		CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER note BEFORE INSERT ON base FOR EACH ROW EXECUTE FUNCTION noted()`)
	pg.Query("postgres", `CREATE DATABASE "other one"`)
	pg.Query("other%20one", "CREATE TABLE here AS SELECT generate_series(1, 7)")
	d := labOf(t, pg)
	began := time.Now()
	all, err := d.Inventory(t.Context())
	must(t, err)
	t.Logf("%d objects in %s", len(all), time.Since(began))
	kinds := map[string]string{}
	for i, o := range all {
		kinds[o.Kind+" "+o.Name] = o.Name
		if i > 0 && all[i-1].Name > o.Name {
			t.Errorf("%s stands before %s", all[i-1].Name, o.Name)
		}
		switch o.Name {
		case "postgres.public.heir":
			if o.Rows != 2 || o.Size < 8192 {
				t.Errorf("%+v", o)
			}
		case "postgres.public.base":
			if o.Rows != -1 {
				t.Errorf("%+v", o)
			}
		}
	}
	want := []string{"index postgres.public.by_n", "view postgres.public.seen", "materialized view postgres.public.kept", "sequence postgres.public.counter", "extension postgres.pg_trgm",
		"foreign table postgres.public.far", "unlogged table postgres.public.scratch", "function postgres.public.add(a integer, b text)", "procedure postgres.public.nothing()",
		"trigger postgres.public.base.note", "type postgres.public.mood", "type postgres.public.pair", "type postgres.public.positive", `table postgres."a.b".c`, `table postgres.a."b.c"`}
	for _, w := range want {
		if kinds[w] == "" {
			t.Errorf("no %s", w)
		}
	}
	if len(kinds) != len(all) {
		t.Errorf("%d names of %d objects", len(kinds), len(all))
	}
	counts := map[string]int64{`postgres."a.b".c`: 0, `postgres.a."b.c"`: 1, "postgres.public.parts": 10, "postgres.public.part1": 10, "postgres.public.base": 1, "postgres.public.heir": 2,
		`"other one".public.here`: 7, "postgres.public.scratch": 0, "postgres.public.kept": 1}
	for _, name := range strange {
		counts[name] = 3
	}
	for name, n := range counts {
		got, err := d.Count(t.Context(), name)
		if err != nil || got != n {
			t.Errorf("%s has %d rows (%v), want %d", name, got, err, n)
		}
		for _, share := range []float64{1, 0.3} {
			if _, err := d.Digest(t.Context(), name, share); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := d.Count(t.Context(), "postgres.public.missing"); err == nil {
		t.Error("a table was counted that is not there")
	}
}

// TestLabDigest compares tables by their digests.
func TestLabDigest(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	const columns = "(id int, t text, f float8, b bytea, at timestamptz, i interval, j jsonb)"
	const rows = `SELECT g, repeat(md5(g::text), CASE WHEN g % 50 = 0 THEN 2000 ELSE 1 END), g / 3.0, decode(md5(g::text), 'hex'), '2026-01-01Z'::timestamptz + g * '1 min'::interval, g * '1 day 1 s'::interval, jsonb_build_object('g', g) FROM generate_series(1, 20000) g`
	for _, name := range []string{"one", "two", "changed", "long", "twice", "thrice", "void"} {
		pg.Query("postgres", "CREATE TABLE "+name+columns)
		order := " ORDER BY g"
		if name == "two" {
			order = " ORDER BY g DESC"
		}
		if name != "void" {
			pg.Query("postgres", "INSERT INTO "+name+" "+rows+order)
		}
	}
	pg.Query("postgres", "UPDATE changed SET f = f + 1e-9 WHERE id = 777")
	pg.Query("postgres", "UPDATE long SET t = t || 'x' WHERE id = 50")
	pg.Query("postgres", "INSERT INTO twice SELECT * FROM one WHERE id = 1")
	pg.Query("postgres", "INSERT INTO thrice SELECT o.* FROM one o, generate_series(1, 2) WHERE id = 1")
	d := labOf(t, pg)
	digest := func(name string, share float64) string {
		s, err := d.Digest(t.Context(), "postgres.public."+name, share)
		must(t, err)
		return s
	}
	began := time.Now()
	one := digest("one", 1)
	t.Logf("20000 rows in %s", time.Since(began))
	if two := digest("two", 1); one != two || len(one) != 64 {
		t.Errorf("the same rows in another order: %s and %s", one, two)
	}
	seen := map[string]string{one: "one"}
	for _, name := range []string{"changed", "long", "twice", "thrice", "void"} {
		s := digest(name, 1)
		if other := seen[s]; other != "" {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[s] = name
	}
	if a, b := digest("one", 0.2), digest("one", 0.2); a != b || a == one {
		t.Errorf("samples are %s and %s, the whole %s", a, b, one)
	}
	// A second copy has the same blocks.
	again := labOf(t, pg)
	s, err := again.Digest(t.Context(), "postgres.public.one", 0.2)
	if err != nil || s != digest("one", 0.2) {
		t.Errorf("another copy has sample %s (%v)", s, err)
	}
}

// TestLabQuery puts statements that a policy must not, and some that it may.
func TestLabQuery(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", `CREATE TABLE account (id int, name text); INSERT INTO account VALUES (1, 'a'), (2, NULL); ALTER TABLE account ENABLE ROW LEVEL SECURITY; CREATE SEQUENCE s;
		CREATE FUNCTION sneak() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO account VALUES (3); SELECT 1'; REVOKE ALL ON SCHEMA public FROM PUBLIC`)
	d := labOf(t, pg)
	for sql, want := range map[string]string{
		"SELECT count(*) FROM account": "2", "SELECT 1, 'b'": "1", "SELECT true": "t", "SELECT ''": "", "SHOW TimeZone": "UTC", "SELECT 1;": "1", "VALUES ('x')": "x",
		"WITH x AS (SELECT 5 n) SELECT n FROM x -- the end": "5", "SELECT timestamptz '2026-01-01 08:00+08'": "2026-01-01 00:00:00+00", "SELECT repeat('x', 65536)": strings.Repeat("x", 65536),
	} {
		if got, null, err := d.Query(t.Context(), sql); got != want || null || err != nil {
			t.Errorf("%s: %.40q %t %v, want %.40q", sql, got, null, err, want)
		}
	}
	if got, null, err := d.Query(t.Context(), "SELECT name FROM account WHERE id = 2"); got != "" || !null || err != nil {
		t.Errorf("null: %q %t %v", got, null, err)
	}
	program := filepath.Join(t.TempDir(), "written")
	for sql, want := range map[string]string{
		"INSERT INTO account VALUES (3)": "may only read", "DELETE FROM account RETURNING 1": "may only read", "DROP TABLE account": "may only read", "SELECT nextval('s')": "permission denied",
		"CREATE TEMP TABLE x (n int)": "may only read", "SELECT sneak()": "may only read", "WITH x AS (DELETE FROM account RETURNING 1) SELECT * FROM x": "may only read",
		"SELECT 1; SELECT 2": "more than one statement", "COMMIT; DROP TABLE account": "more than one statement", "SELECT generate_series(1, 2)": "more than one row",
		"SELECT FROM account LIMIT 1": "no column", "SELECT 1 WHERE false": "no row", "": "no row", "COMMIT": "no row", "SELECT repeat('x', 65537)": "more than 65536 bytes",
		"SELECT repeat('x', 10000000)": "more than 1048576 bytes", "SELECT generate_series(1, 1000000000)": "more than one row", "COPY account TO STDOUT": "no row",
		"COPY (SELECT 1) TO PROGRAM 'touch " + program + "'": "pg_execute_server_program", "COPY account FROM STDIN": "permission denied", "SELECT pg_read_file('/etc/passwd')": "permission denied",
		"SELECT lo_export(1, '/tmp/x')": "permission denied", "SELECT set_config('transaction_read_only', 'off', true)": "read-write mode", "SET ROLE postgres": "permission denied", "SELECT nonsense": "does not exist",
	} {
		_, _, err := d.Query(t.Context(), sql)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
	}
	if _, err := os.Stat(program); err == nil {
		t.Error("a statement ran a program")
	}
	if n, err := d.Count(t.Context(), "postgres.public.account"); n != 2 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, _, err := d.Query(ctx, "SELECT count(*) FROM generate_series(1, 10000000000)")
	if err == nil || !strings.Contains(err.Error(), "did not end in time") || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	wait(t, "the statement goes on", func() bool {
		return value(t, d, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%10000000000%' AND pid <> pg_backend_pid()") == "[[0]]"
	})
	if _, err := d.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, _, err := d.Query(t.Context(), "SELECT 1"); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a stopped server answers: %v", err)
	}
}

// TestLabReferences finds rows that refer to nothing.
func TestLabReferences(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", `CREATE TABLE account (id bigint PRIMARY KEY); CREATE TABLE "con.tact" (account int REFERENCES account, note text);
		CREATE TABLE pair (a int, b int, UNIQUE (a, b)); CREATE TABLE simple (a int, b int, FOREIGN KEY (a, b) REFERENCES pair (a, b)); CREATE TABLE strict (a int, b int, FOREIGN KEY (a, b) REFERENCES pair (a, b) MATCH FULL);
		CREATE TABLE parts (n int, account int REFERENCES account) PARTITION BY RANGE (n); CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
		CREATE TABLE doubtful (account int); ALTER TABLE doubtful ADD CONSTRAINT later FOREIGN KEY (account) REFERENCES account NOT VALID;
		INSERT INTO account VALUES (1); INSERT INTO "con.tact" VALUES (1), (NULL); INSERT INTO pair VALUES (1, 1); INSERT INTO simple VALUES (1, 1), (5, NULL); INSERT INTO strict VALUES (NULL, NULL), (1, 1); INSERT INTO parts VALUES (1, 1)`)
	d := labOf(t, pg)
	how, faults, err := d.References(t.Context())
	if err != nil || len(faults) > 0 || !strings.Contains(how, "each of the 4 foreign keys") {
		t.Fatalf("%s: %q %v", how, faults, err)
	}
	pg.Query("postgres", `SET session_replication_role = replica; INSERT INTO "con.tact" SELECT g, 'secret' FROM generate_series(2, 6) g; INSERT INTO simple VALUES (1, 2); INSERT INTO strict VALUES (1, NULL); INSERT INTO parts VALUES (2, 9); INSERT INTO doubtful VALUES (99)`)
	_, faults, err = labOf(t, pg).References(t.Context())
	want := []string{`postgres.public."con.tact": rows at (0,3), (0,4), (0,5), and perhaps more refer by con.tact_account_fkey to rows of postgres.public.account that are not there`,
		"postgres.public.parts: rows at (0,2) refer by parts_account_fkey to rows of postgres.public.account that are not there",
		"postgres.public.simple: rows at (0,3) refer by simple_a_b_fkey to rows of postgres.public.pair that are not there",
		"postgres.public.strict: rows at (0,3) refer by strict_a_b_fkey to rows of postgres.public.pair that are not there"}
	if err != nil || !slices.Equal(faults, want) {
		t.Errorf("%v\n%s", err, strings.Join(faults, "\n"))
	}
}
