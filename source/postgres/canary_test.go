package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/snapshot"
	"lifeboat/verify"
)

// caged is a cluster with a database crm, the role backup, and a source that may write canaries as far as the role can.
func caged(t *testing.T, version, statements string) (*testenv.Postgres, *Source) {
	t.Helper()
	pg := testenv.StartPostgres(t, testenv.PostgresVersion(t, version))
	pg.Query("postgres", "CREATE ROLE backup REPLICATION LOGIN")
	pg.Query("postgres", "CREATE DATABASE crm")
	pg.Query("crm", "CREATE TABLE contact AS SELECT g FROM generate_series(1, 50) g; GRANT SELECT ON contact TO backup; "+statements)
	s := New(pg.DSN("backup", "crm"), "")
	s.Canary = "lifeboat_main_crm"
	return pg, s
}

// TestCanary writes rows before snapshots and finds them in what was restored; nothing else there shows them.
func TestCanary(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"14", "15", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			pg, s := caged(t, version, "CREATE SCHEMA lifeboat_canary AUTHORIZATION backup")
			s.Baseline = 10 * time.Second
			take(t, s, nil)
			k := take(t, s, func() { pg.Query("crm", "INSERT INTO contact VALUES (0)") })
			c := k.manifest.Canary
			if c == nil || c.Number != 2 || c.Database != "crm" || c.Writer != s.Canary || time.Since(c.Written).Abs() > time.Hour || len(k.findings) > 0 {
				t.Fatalf("%+v, findings %v", c, k.findings)
			}
			l, dir := k.lab(t, pg.Bin), scratch(t, "data")
			k.bring(t, l, dir)
			d := start(t, l, dir)
			rows, err := d.Canaries(t.Context(), *d.Canary())
			must(t, err)
			if want := pg.Query("crm", "SELECT value FROM lifeboat_canary.canary ORDER BY number"); len(rows) != 2 || rows[1] != want[0][0] || rows[2] != want[1][0] || rows[1] == rows[2] {
				t.Errorf("the restored cluster has %v, the original %v", rows, want)
			}
			all, err := d.Inventory(t.Context())
			must(t, err)
			for _, o := range all {
				if strings.Contains(o.Name, "canary") {
					t.Errorf("the inventory has %+v", o)
				}
			}
			b, err := d.Baseline(t.Context(), verify.Reached{})
			if err != nil || !slices.Equal(b.Tables, []string{"crm.public.contact"}) {
				t.Errorf("the baseline has %+v (%v)", b, err)
			}
			if how, faults, err := d.Integrity(t.Context()); err != nil || len(faults) > 0 {
				t.Errorf("%s: %v %v", how, faults, err)
			}
			if rows, err := d.Canaries(t.Context(), verify.Canary{Database: "postgres", Writer: s.Canary}); err != nil || len(rows) > 0 {
				t.Errorf("a database without the table has %v (%v)", rows, err)
			}
			if _, err := d.Canaries(t.Context(), verify.Canary{Database: "gone"}); err == nil {
				t.Error("a database that is not there has rows")
			}
		})
	}
}

// TestCanaryTable makes the schema where the role may, keeps the newest rows of each writer, and writes nothing where nobody asks for it.
func TestCanaryTable(t *testing.T) {
	t.Parallel()
	pg, s := caged(t, "15", "GRANT CREATE ON DATABASE crm TO backup")
	s.Canary = ""
	if k := take(t, s, nil); k.manifest.Canary != nil || len(k.findings) > 0 {
		t.Errorf("%+v %v", k.manifest.Canary, k.findings)
	}
	if rows := pg.Query("crm", "SELECT FROM pg_namespace WHERE nspname LIKE 'lifeboat%' UNION ALL SELECT FROM pg_class WHERE relname LIKE '%canary%'"); len(rows) > 0 {
		t.Fatalf("%d things were made that nobody asked for", len(rows))
	}
	cfg, err := parse(s.dsn, "")
	must(t, err)
	ses, cfg, err := dialAny(t.Context(), cfg)
	must(t, err)
	defer ses.close()
	for _, writer := range []string{"one", "two", "Zwei 'Ümläute'"} {
		for n := int64(1); n <= verify.CanariesKept+3; n++ {
			c, err := writeCanary(t.Context(), cfg, ses.system, writer)
			if err != nil || c.Number != n {
				t.Fatalf("%s %d: %+v %v", writer, n, c, err)
			}
		}
	}
	if got := fmt.Sprint(pg.Query("crm", "SELECT count(*), min(number), max(number) FROM lifeboat_canary.canary GROUP BY writer")); got != "[[64 4 67] [64 4 67] [64 4 67]]" {
		t.Error(got)
	}
	if _, err := writeCanary(t.Context(), cfg, ses.system+1, "one"); err == nil || !strings.Contains(err.Error(), "reached the cluster") {
		t.Errorf("another cluster: %v", err)
	}
}

// TestCanaryRefused cannot write a row: the snapshot goes on with a warning, in little time, and doctor says what to do about it.
func TestCanaryRefused(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ statements, why, fix string }{
		"no schema":     {"", "may not make the schema", `CREATE SCHEMA lifeboat_canary AUTHORIZATION "backup"`},
		"other's":       {"CREATE SCHEMA lifeboat_canary", "may not use the schema", `GRANT USAGE, CREATE ON SCHEMA lifeboat_canary TO "backup"`},
		"other's table": {"CREATE SCHEMA lifeboat_canary; CREATE TABLE lifeboat_canary.canary (writer text); GRANT ALL ON SCHEMA lifeboat_canary TO backup; GRANT ALL ON lifeboat_canary.canary TO backup", "not the role's own", `ALTER SCHEMA lifeboat_canary OWNER TO "backup"; ALTER TABLE lifeboat_canary.canary OWNER TO "backup"`},
		"view":          {"CREATE SCHEMA lifeboat_canary AUTHORIZATION backup; CREATE VIEW lifeboat_canary.canary AS SELECT 1; ALTER VIEW lifeboat_canary.canary OWNER TO backup", "not the role's own", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg, s := caged(t, "15", x.statements)
			k := take(t, s, nil)
			if k.manifest.Canary != nil || len(k.findings) != 1 || k.findings[0].Level != snapshot.Warn || k.findings[0].Name != "no canary was written" || !strings.Contains(k.findings[0].Detail, x.why) {
				t.Fatalf("%+v, findings %+v", k.manifest.Canary, k.findings)
			}
			f := examined1(t, s)
			if f.Level != snapshot.Warn || !strings.Contains(f.Detail, x.why) || !strings.Contains(f.Fix, x.fix) {
				t.Errorf("%+v", f)
			}
			if name == "view" {
				return
			}
			statement, _, _ := strings.Cut(f.Fix, " --")
			if name == "other's table" {
				statement = "DROP TABLE lifeboat_canary.canary; ALTER SCHEMA lifeboat_canary OWNER TO backup" // that one has no columns for it
			}
			pg.Query("crm", statement)
			if f := examined1(t, s); f.Level != snapshot.OK {
				t.Errorf("behind %s: %+v", statement, f)
			}
			if rows := pg.Query("crm", "SELECT FROM pg_class WHERE relname = 'canary'"); len(rows) > 0 {
				t.Error("doctor made the table")
			}
			if k := take(t, s, nil); k.manifest.Canary == nil || len(k.findings) > 0 {
				t.Errorf("behind %s: %v", statement, k.findings)
			}
		})
	}
}

// examined1 is what doctor says of the canary.
func examined1(t *testing.T, s *Source) snapshot.Finding {
	t.Helper()
	for _, f := range s.Doctor(t.Context()) {
		if f.Name == "canary" {
			return f
		}
	}
	t.Fatal("doctor says nothing")
	return snapshot.Finding{}
}

// TestCanaryWaits writes to a table that is locked, and to a standby: neither keeps the snapshot waiting.
func TestCanaryWaits(t *testing.T) {
	t.Parallel()
	pg, s := caged(t, "15", "CREATE SCHEMA lifeboat_canary AUTHORIZATION backup")
	if k := take(t, s, nil); k.manifest.Canary == nil {
		t.Fatal(k.findings)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = testenv.Query(ctx, pg.DSN("postgres", "crm"), "BEGIN; LOCK TABLE lifeboat_canary.canary; SELECT pg_sleep(60)") // until it is ended
	}()
	for len(pg.Query("crm", "SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'lifeboat_canary.canary'::regclass")) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	cfg, err := parse(s.dsn, "")
	must(t, err)
	ses, cfg, err := dialAny(t.Context(), cfg)
	must(t, err)
	began := time.Now()
	if c, err := writeCanary(t.Context(), cfg, ses.system, s.Canary); c != nil || err == nil || !strings.Contains(uncaged(err).Detail, "lock timeout") || time.Since(began) > canaryLimit {
		t.Errorf("after %s: %+v %v", time.Since(began), c, err)
	}
	ses.close()
	end()
	<-done
	standby := pg.Standby()
	s = New(standby.DSN("backup", "crm"), "")
	s.Canary = "x"
	if f := examined1(t, s); f.Level != snapshot.Warn || !strings.Contains(f.Detail, "standby") {
		t.Errorf("%+v", f)
	}
}
