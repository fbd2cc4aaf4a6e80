package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

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
			c, _, err := writeCanary(t.Context(), cfg, ses.system, writer)
			if err != nil || c.Number != n {
				t.Fatalf("%s %d: %+v %v", writer, n, c, err)
			}
		}
	}
	if got := fmt.Sprint(pg.Query("crm", "SELECT count(*), min(number), max(number) FROM lifeboat_canary.canary GROUP BY writer")); got != "[[64 4 67] [64 4 67] [64 4 67]]" {
		t.Error(got)
	}
	if _, _, err := writeCanary(t.Context(), cfg, ses.system+1, "one"); err == nil || !strings.Contains(err.Error(), "reached the cluster") {
		t.Errorf("another cluster: %v", err)
	}
}

// TestCanaryRefused cannot write a row: the snapshot goes on with a warning, in little time, and doctor says what to do about it.
func TestCanaryRefused(t *testing.T) {
	t.Parallel()
	renamed := `ALTER SCHEMA lifeboat_canary RENAME TO lifeboat_canary_before; CREATE SCHEMA lifeboat_canary AUTHORIZATION "backup"`
	made := "SET ROLE backup; CREATE SCHEMA lifeboat_canary; " + makeCanaries + "; RESET ROLE; "
	begin := "GRANT CREATE ON DATABASE crm TO backup; "
	for name, x := range map[string]struct{ statements, why, fix string }{
		"no schema":     {"", "may not make the schema", `CREATE SCHEMA lifeboat_canary AUTHORIZATION "backup"`},
		"other's":       {"CREATE SCHEMA lifeboat_canary; GRANT ALL ON SCHEMA lifeboat_canary TO backup", "is not the role's own", renamed},
		"other's table": {"CREATE SCHEMA lifeboat_canary AUTHORIZATION backup; CREATE TABLE lifeboat_canary.canary (writer text); GRANT ALL ON lifeboat_canary.canary TO backup", "is not the table that Lifeboat makes", renamed},
		"view":          {"CREATE SCHEMA lifeboat_canary AUTHORIZATION backup; CREATE VIEW lifeboat_canary.canary AS SELECT 1; ALTER VIEW lifeboat_canary.canary OWNER TO backup", "is not the table that Lifeboat makes", renamed},
		"trigger":       {begin + made + "CREATE TRIGGER x BEFORE UPDATE ON lifeboat_canary.canary FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "is not the table that Lifeboat makes", renamed},
		"no log":        {begin + made + "ALTER TABLE lifeboat_canary.canary SET UNLOGGED", "is not the table that Lifeboat makes", renamed},
		"others write":  {begin + made + "GRANT INSERT ON lifeboat_canary.canary TO PUBLIC", "is not the table that Lifeboat makes", renamed},
		"more columns":  {begin + made + "ALTER TABLE lifeboat_canary.canary ADD x text DEFAULT now()", "is not the table that Lifeboat makes", renamed},
		"published":     {begin + "CREATE PUBLICATION p FOR ALL TABLES", "a publication has all tables", "on the subscribers, then here"},
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
			statement, _, _ := strings.Cut(f.Fix, " --")
			if name == "published" {
				_, statement, _ = strings.Cut(statement, ": ")
				statement = "SET ROLE backup; " + statement
			}
			pg.Query("crm", statement)
			if f := examined1(t, s); f.Level != snapshot.OK {
				t.Errorf("behind %s: %+v", statement, f)
			}
			if rows := pg.Query("crm", "SELECT FROM pg_class WHERE relnamespace = 'lifeboat_canary'::regnamespace AND relname = 'canary'"); len(rows) > 0 && name != "published" {
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
	if c, _, err := writeCanary(t.Context(), cfg, ses.system, s.Canary); c != nil || err == nil || !strings.Contains(uncaged(err).Detail, "lock timeout") || time.Since(began) > canaryLimit {
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

// TestHostileOwner lets the owner of the database, who is no superuser, have statements of ours run code of theirs: it must not, in no part of a snapshot.
func TestHostileOwner(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"backup", "postgres"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			pg, _ := caged(t, "15", "")
			pg.Query("postgres", "CREATE ROLE app LOGIN; ALTER DATABASE crm OWNER TO app")
			pg.Query("crm", "CREATE SCHEMA lifeboat_canary AUTHORIZATION "+role)
			app := func(sql string) {
				t.Helper()
				_, err := testenv.Query(t.Context(), pg.DSN("app", "crm"), sql)
				must(t, err)
			}
			app("CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; CREATE TABLE evil.loot (who text); GRANT INSERT, SELECT ON evil.loot TO PUBLIC")
			for name, call := range map[string]string{"set_config(text, text, boolean) RETURNS text": "set_config($1, $2, $3)", "current_setting(text) RETURNS text": "current_setting($1)",
				"pg_is_in_recovery() RETURNS boolean": "pg_is_in_recovery()", "current_database() RETURNS name": "current_database()"} {
				app("CREATE FUNCTION evil." + name + " LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.loot SELECT current_user; RETURN pg_catalog." + call + "; END $$")
			}
			app("ALTER DATABASE crm SET search_path = evil, pg_catalog; ALTER DATABASE crm SET statement_timeout = '1ms'; ALTER DATABASE crm SET role = app")
			s := New(pg.DSN(role, "crm"), "")
			s.Canary, s.Baseline = "w", 10*time.Second
			if f := examined1(t, s); f.Level != snapshot.OK {
				t.Errorf("%+v", f)
			}
			if k := take(t, s, nil); k.manifest.Canary == nil || len(k.findings) > 0 {
				t.Errorf("%+v, findings %+v", k.manifest.Canary, k.findings)
			}
			pg.Query("postgres", "ALTER DATABASE crm RESET ALL") // the limit of a millisecond is not meant for what follows
			if loot := pg.Query("crm", "SELECT * FROM evil.loot"); len(loot) > 0 {
				t.Errorf("code of the owner ran as %v", loot)
			}
		})
	}
}

// TestCanaryDumped lets the owner of the database dump it, as before there was a canary.
func TestCanaryDumped(t *testing.T) {
	t.Parallel()
	pg, s := caged(t, "15", "CREATE SCHEMA lifeboat_canary AUTHORIZATION backup")
	pg.Query("postgres", "CREATE ROLE app LOGIN; ALTER DATABASE crm OWNER TO app")
	pg.Query("crm", "ALTER TABLE contact OWNER TO app")
	if k := take(t, s, nil); k.manifest.Canary == nil {
		t.Fatal(k.findings)
	}
	if dump := pg.Run("pg_dump", "-d", pg.DSN("app", "crm")); !strings.Contains(dump, "COPY lifeboat_canary.canary") {
		t.Error(dump)
	}
}

// TestCanaryAhead writes to the primary while the snapshot is of a standby that is behind: the snapshot does not say that the row is in it.
func TestCanaryAhead(t *testing.T) {
	t.Parallel()
	pg, s := caged(t, "15", "CREATE SCHEMA lifeboat_canary AUTHORIZATION backup")
	v := &view{backup: &baseBackup{}, config: &configuration{}, digest: sha256.New(), cfg: &pgconn.Config{}}
	cfg, err := parse(s.dsn, "")
	must(t, err)
	ses, cfg, err := dialAny(t.Context(), cfg)
	must(t, err)
	defer ses.close()
	v.canary, v.caged, err = writeCanary(t.Context(), cfg, ses.system, s.Canary)
	must(t, err)
	at := pg.Query("crm", "SELECT pg_current_wal_insert_lsn(), timeline_id FROM pg_control_checkpoint()")[0]
	now, err := parseLSN(at[0])
	must(t, err)
	for what, x := range map[string]struct {
		end      lsn
		timeline uint32
		kept     bool
	}{"behind": {lsn(v.caged.Offset) - 1, 1, false}, "there": {now, 1, true}, "elsewhere": {now, 2, false}} {
		w := *v
		w.backup = &baseBackup{session: &session{timeline: x.timeline}, end: x.end}
		sum, err := w.Summary()
		must(t, err)
		m := Manifest{}
		must(t, json.Unmarshal(sum.Manifest, &m))
		if (m.Canary != nil) != x.kept || (len(sum.Findings) == 0) != x.kept {
			t.Errorf("%s: %+v, findings %v", what, m.Canary, sum.Findings)
		}
	}
}
