package postgres

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/verify"
)

// counted restores a snapshot with a baseline, between which and its end something happens.
func counted(t *testing.T, pg *testenv.Postgres, during ...string) (*taken, *Restored) {
	t.Helper()
	s := New(pg.DSN("postgres", "postgres"), "")
	s.Baseline = 10 * time.Second
	k := take(t, s, func() {
		for _, statement := range during {
			_, err := testenv.Query(t.Context(), pg.DSN("postgres", "postgres"), statement)
			must(t, err)
		}
	})
	l, dir := k.lab(t, pg.Bin), scratch(t, "data")
	k.bring(t, l, dir)
	return k, start(t, l, dir)
}

// TestBaseline lets the log prove which tables are as they were counted.
func TestBaseline(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	names := []string{"same", "with.dot", "grown", "updated", "toasted", "undone", "vacuumed", "locked", "cut", "rewritten", "dropped", "renamed"}
	for i, name := range names {
		pg.Query("postgres", "CREATE TABLE "+identifier(name)+" AS SELECT g, repeat(md5(g::text), 200) AS x, repeat(md5(g::text), 9) y FROM generate_series(1, "+strconv.Itoa(100+i)+") g")
		pg.Query("postgres", "ALTER TABLE "+identifier(name)+" ALTER x SET STORAGE EXTERNAL")
	}
	pg.Query("postgres", "DELETE FROM vacuumed WHERE g % 2 = 0; CREATE UNLOGGED TABLE passing AS SELECT 1; CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (9)")
	k, d := counted(t, pg, "INSERT INTO grown VALUES (0)", "UPDATE updated SET y = y WHERE g = 1", "UPDATE toasted SET x = x || 'x' WHERE g = 1", "BEGIN; INSERT INTO undone VALUES (0); ROLLBACK",
		"VACUUM (FREEZE) vacuumed", "SELECT count(*) FROM same", "SELECT * FROM locked LIMIT 5 FOR UPDATE", "TRUNCATE cut", "VACUUM FULL rewritten", "DROP TABLE dropped", "ALTER TABLE renamed RENAME TO called",
		"CREATE TABLE young AS SELECT 1", "CHECKPOINT")
	if len(k.findings) > 0 {
		t.Errorf("findings: %v", k.findings)
	}
	r, err := d.Reached(t.Context())
	must(t, err)
	b, err := d.Baseline(t.Context(), r)
	must(t, err)
	t.Log(b.Why)
	var exact []string
	for name, ok := range maps.All(b.Exact) {
		if ok {
			exact = append(exact, strings.TrimPrefix(name, "postgres.public."))
		}
	}
	slices.Sort(exact)
	if want := []string{`"with.dot"`, "locked", "part1", "same", "vacuumed"}; !slices.Equal(exact, want) {
		t.Errorf("proven unchanged: %q, want %q", exact, want)
	}
	for name, want := range map[string]int64{"postgres.public.same": 100, `postgres.public."with.dot"`: 101, "postgres.public.vacuumed": 53, "postgres.public.cut": 108} {
		if got, ok := b.Rows[name]; !ok || got != want {
			t.Errorf("%s had %d rows (%t), want %d", name, got, ok, want)
		}
	}
	for name, want := range map[string]bool{"parts": true, "part1": true, "same": true, "passing": false, "dropped": true, "renamed": true, "called": false, "young": false} {
		if got := slices.Contains(b.Tables, "postgres.public."+name); got != want {
			t.Errorf("%s is known: %t", name, got)
		}
	}
	if time.Since(b.Taken).Abs() > time.Hour {
		t.Error(b.Taken)
	}
	for name, ok := range b.Exact {
		if n, err := d.Count(t.Context(), name); ok && (err != nil || n != b.Rows[name]) {
			t.Errorf("%s has %d rows (%v), and was proven to have %d", name, n, err, b.Rows[name])
		}
	}
	must(t, os.Remove(filepath.Join(d.server.Dir, filepath.FromSlash(baselineFile))))
	if b, err := d.Baseline(t.Context(), r); b != nil || err != nil {
		t.Errorf("a snapshot without one: %v %v", b, err)
	}
}

// TestBaselineProvesNothing takes baselines from which nothing can be proven.
func TestBaselineProvesNothing(t *testing.T) {
	t.Parallel()
	other := testenv.StartPostgres(t, testenv.PostgresVersion(t, "17"), "max_prepared_transactions = 5")
	other.Query("postgres", "CREATE TABLE one AS SELECT 1")
	_, d := counted(t, other, "SELECT 1")
	b, err := d.Baseline(t.Context(), verify.Reached{})
	if err != nil || b.Rows["postgres.public.one"] != 1 || b.Exact["postgres.public.one"] || !strings.Contains(b.Why, "pg_waldump") {
		t.Errorf("without pg_waldump: %+v %v", b, err)
	}
	other.Query("postgres", "BEGIN; CREATE TABLE two AS SELECT 1; PREPARE TRANSACTION 'open'")
	_, d = counted(t, other, "SELECT 1")
	if b, err = d.Baseline(t.Context(), verify.Reached{}); err != nil || b.Exact["postgres.public.one"] || !strings.Contains(b.Why, "in progress") {
		t.Errorf("with a transaction in progress: %+v %v", b, err)
	}
	if _, err := d.touched(t.Context(), &Baseline{Format: 1, Before: "FF/0", Quiet: true, Timeline: 1}); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("from behind the end: %v", err)
	}
}

// TestBaselineBudget takes baselines with too little time, too few rights, and a table that somebody keeps locked.
func TestBaselineBudget(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", "CREATE TABLE small AS SELECT 1; CREATE TABLE large AS SELECT g FROM generate_series(1, 3000000) g; CREATE TABLE secret AS SELECT 1 n; CREATE TABLE hidden AS SELECT 1; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; CREATE ROLE backup REPLICATION LOGIN; GRANT SELECT ON small, large, hidden TO backup")
	take1 := func(budget time.Duration) (map[string]int64, *taken) {
		s := New(pg.DSN("backup", "postgres"), "")
		s.Baseline = budget
		k := take(t, s, nil)
		b, err := ParseBaseline(k.content[baselineFile])
		must(t, err)
		out := map[string]int64{}
		for _, one := range b.Tables {
			if one.Rows != nil {
				out[strings.TrimPrefix(one.Name, "postgres.public.")] = *one.Rows
			}
		}
		if len(b.Tables) != 4 {
			t.Errorf("%v", b.Tables)
		}
		return out, k
	}
	got, k := take1(time.Minute)
	if !maps.Equal(got, map[string]int64{"small": 1, "large": 3000000}) {
		t.Error(got)
	}
	if len(k.findings) != 1 || !strings.Contains(k.findings[0].Detail, "2 tables") || !strings.Contains(k.findings[0].Fix, "GRANT") {
		t.Error(k.findings)
	}
	if got, _ := take1(40 * time.Millisecond); !maps.Equal(got, map[string]int64{"small": 1}) {
		t.Error(got)
	}
	s := New(pg.DSN("backup", "postgres"), "")
	if _, ok := take(t, s, nil).content[baselineFile]; ok {
		t.Error("a baseline that nobody asked for")
	}
	s = New(pg.DSN("backup", "nowhere"), "")
	s.Baseline = time.Second
	k = take(t, s, nil)
	if _, ok := k.content[baselineFile]; ok || len(k.findings) != 1 || !strings.Contains(k.findings[0].Detail, "no ordinary connection") {
		t.Errorf("without a database: %v", k.findings)
	}
}

func FuzzParseBaseline(f *testing.F) {
	f.Add([]byte(`{"format":1,"before":"0/1","tables":[{"name":"a","oid":"1","rows":1,"files":["1/2/3"]}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ParseBaseline(b) }) // must not panic
}
