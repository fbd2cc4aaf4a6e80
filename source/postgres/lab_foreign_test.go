package postgres

import (
	"fmt"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
)

// TestLabForeign restores a cluster that reads from the original through its Unix socket, which no namespace of a network hides.
func TestLabForeign(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", fmt.Sprintf(`CREATE TABLE secret (n int); INSERT INTO secret VALUES (42); CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink; CREATE EXTENSION file_fdw;
				CREATE SERVER production FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%[1]s', port '%[2]d', dbname 'postgres');
				CREATE ROLE "Odd user"; CREATE USER MAPPING FOR PUBLIC SERVER production OPTIONS (user 'postgres', password_required 'false'); CREATE USER MAPPING FOR "Odd user" SERVER production;
				CREATE USER MAPPING FOR postgres SERVER production OPTIONS (user 'postgres', password_required 'false');
				CREATE FOREIGN TABLE far (n int) SERVER production OPTIONS (table_name 'secret');
				CREATE SERVER disk FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE program (line text) SERVER disk OPTIONS (program 'echo 42');
				CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE FOREIGN TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (99) SERVER production OPTIONS (table_name 'secret');
				CREATE TABLE part2 PARTITION OF parts FOR VALUES FROM (100) TO (200); INSERT INTO parts VALUES (100); CREATE VIEW seen AS SELECT n FROM far;
				CREATE FUNCTION ask() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$SELECT n FROM dblink('host=%[1]s port=%[2]d user=postgres dbname=postgres', 'SELECT n FROM secret') AS x(n int)$$;
				CREATE FUNCTION named() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$SELECT n FROM dblink('production', 'SELECT n FROM secret') AS x(n int)$$`, pg.Base, pg.Port))
	reads := map[string]string{"SELECT n FROM far": "has no handler", "SELECT count(*) FROM part1": "has no handler", "SELECT count(*) FROM parts": "has no handler", "SELECT n FROM seen": "has no handler",
		"SELECT line FROM program": "has no handler", "SELECT ask()": "could not access file", "SELECT named()": "could not access file"}
	for sql := range reads {
		if got := pg.Query("postgres", sql); len(got) == 0 {
			t.Fatalf("%s gives nothing in the original", sql)
		}
	}
	d := labOf(t, pg)
	for sql, want := range reads {
		got, _, err := d.Query(t.Context(), sql)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q %v, want %s", sql, got, err, want)
		}
		err = d.with(t.Context(), "postgres", func(c *conn) error {
			_, err := c.ask(t.Context(), strings.NewReplacer("FROM ", "FROM public.", "ask()", "public.ask()", "named()", "public.named()").Replace(sql))
			return err
		})
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "function dblink") {
			t.Errorf("%s: as superuser: %v, want %s", sql, err, want)
		}
	}
	if got := value(t, d, "postgres", "SELECT count(*) FROM pg_user_mapping"); got != "[[0]]" {
		t.Errorf("%s user mappings are left", got)
	}
	for name, want := range map[string]int64{"parts": 0, "part2": 1, "secret": 1} { // rows of parts that are here are counted as part2's
		if n, err := d.Count(t.Context(), "postgres.public."+name); n != want || err != nil {
			t.Errorf("%s has %d rows (%v), want %d", name, n, err, want)
		}
	}
	if _, faults, err := d.Integrity(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("integrity: %q %v", faults, err)
	}
}
