package postgres

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// logBytes is a part of a log as a server streams it.
type logBytes struct {
	of    lineage
	from  lsn
	bytes []byte
}

// capturedLog takes the log of a server from the beginning of the segment that holds a position, up to now.
func capturedLog(t *testing.T, pg *testenv.Postgres, from lsn) logBytes {
	t.Helper()
	cfg, err := parse(pg.DSN("postgres", "postgres"), "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	c := logBytes{of: lineage{s.version, s.system, s.timeline, s.segmentSize}, from: from / lsn(s.segmentSize) * lsn(s.segmentSize)}
	end := askPosition(t, pg, "SELECT pg_current_wal_flush_lsn()")
	w, err := s.startWAL("capture", c.from, s.timeline)
	if err != nil {
		t.Fatal(err)
	}
	c.bytes = make([]byte, end-c.from)
	for n := 0; n < len(c.bytes); {
		m, err := w.Read(c.bytes[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return c
}

// askPosition runs a query that returns a position.
func askPosition(t *testing.T, pg *testenv.Postgres, sql string) lsn {
	t.Helper()
	l, err := parseLSN(pg.Query("postgres", sql)[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// decode feeds the log from a segment on in pieces of random sizes, and compares all that it learns with the oracle.
func (c logBytes) decode(t *testing.T, from lsn, seed uint64, want oracle) {
	t.Helper()
	d, err := newDecoder(c.of, from)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	want = want.from(from, c.of.segmentSize)
	var got []event
	for p := c.bytes[from-c.from:]; len(p) > 0; {
		n := min(len(p), 1+rng.IntN(1<<rng.IntN(19)))
		if err := d.write(p[:n], func(e event) error { got = append(got, e); return nil }); err != nil {
			t.Fatalf("from %s, seed %d: %v", from, seed, err)
		}
		p = p[n:]
		want.check(t, d)
	}
	if !slices.Equal(got, want.events) {
		for i := range max(len(got), len(want.events)) {
			if i >= len(got) || i >= len(want.events) || got[i] != want.events[i] {
				t.Fatalf("from %s, seed %d: %d events, want %d; the first that differs is %d:\n%+v\nwant\n%+v", from, seed, len(got), len(want.events), i, got[min(i, len(got)):min(i+1, len(got))], want.events[min(i, len(want.events)):min(i+1, len(want.events))])
			}
		}
	}
}

// all decodes from every segment on.
func (c logBytes) all(t *testing.T, want oracle) {
	t.Helper()
	for from, seed := c.from, uint64(0); from < c.from+lsn(len(c.bytes)); from, seed = from+lsn(c.of.segmentSize), seed+1 {
		c.decode(t, from, seed, want)
	}
}

// big is an expression of n times 32 bytes that do not compress.
func big(n int) string {
	return fmt.Sprintf("(SELECT string_agg(md5(i::text), '') FROM generate_series(1, %d) i)", n)
}

// workload writes records of every kind that matters. Each line is one command, or one transaction.
var workload = []string{
	"CREATE TABLE t (id serial PRIMARY KEY, body text)",
	"ALTER TABLE t ALTER body SET STORAGE EXTERNAL",
	"INSERT INTO t (body) SELECT md5(i::text) FROM generate_series(1, 5000) i",
	"BEGIN; INSERT INTO t VALUES (0, 'undone'); ROLLBACK",
	"BEGIN; SAVEPOINT a; INSERT INTO t VALUES (-1, 'a'); ROLLBACK TO a; SAVEPOINT b; INSERT INTO t VALUES (-2, 'b'); RELEASE b; COMMIT",
	"SELECT pg_create_restore_point('before the import')",
	"DO $$ BEGIN FOR i IN 1..3000 LOOP BEGIN INSERT INTO t (body) VALUES ('sub'); IF i % 10 = 0 THEN RAISE 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$",
	"CHECKPOINT",
	"UPDATE t SET body = body || 'x'",
	"INSERT INTO t (body) VALUES (" + big(20000) + ")",
	"SELECT pg_switch_wal()",
	"SELECT pg_logical_emit_message(true, 'test', " + big(40000) + ")",
	"DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE d%s (id serial PRIMARY KEY, body text)', i); END LOOP; END $$",
	"BEGIN; SAVEPOINT a; INSERT INTO t VALUES (-3, 'p'); RELEASE a; DROP TABLE d1; CREATE TABLE p1 (id int); PREPARE TRANSACTION 'one'",
	"BEGIN; SAVEPOINT a; INSERT INTO t VALUES (-4, 'p'); RELEASE a; DROP TABLE d2; CREATE TABLE p2 (id int); PREPARE TRANSACTION 'two'",
	"BEGIN; INSERT INTO t VALUES (-5, 'p'); PREPARE TRANSACTION 'three'",
	"COMMIT PREPARED 'one'",
	"SELECT pg_create_restore_point('zwölf Boxkämpfer jagen Viktor quer über den großen Syltxxxx')",
	"ROLLBACK PREPARED 'two'",
	"COMMIT PREPARED 'three'",
	"BEGIN; DO $$ BEGIN FOR i IN 3..250 LOOP BEGIN EXECUTE format('DROP TABLE d%s', i); EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$; PREPARE TRANSACTION 'big'",
	"COMMIT PREPARED 'big'",
	"TRUNCATE t",
	"DROP TABLE t, d251, d252",
	"BEGIN; CREATE TABLE undone (id serial PRIMARY KEY); ROLLBACK",
	"SELECT pg_switch_wal()",
	"SELECT pg_switch_wal()",
	"CREATE TABLE t (id serial PRIMARY KEY, body text)",
}

func TestDecoder(t *testing.T) {
	t.Setenv("TZ", "UTC")
	pg := testenv.StartPostgresWith(t, testenv.PostgresBin, []string{"--wal-segsize=1"}, "max_prepared_transactions = 10", "autovacuum = off")
	pg.Query("postgres", "SELECT pg_create_physical_replication_slot('capture', true)")
	from := askPosition(t, pg, "SELECT restart_lsn FROM pg_replication_slots")
	before := time.Now().Truncate(time.Microsecond)
	for _, sql := range workload {
		pg.Query("postgres", sql)
	}

	c := capturedLog(t, pg, from)
	want := dump(t, pg, c)
	if !want.prepared["COMMIT_PREPARED"] || !want.prepared["ABORT_PREPARED"] || want.switches < 2 || want.longest < 1<<20 || len(want.events) < 300 {
		t.Fatalf("the workload wrote %d events, %d switches, records of up to %d bytes, and ended prepared transactions: %v", len(want.events), want.switches, want.longest, want.prepared)
	}
	restorePointTimes(t, c, &want, before)
	c.all(t, want)

	// The server dies while it writes a record, and goes on without it.
	pg.Query("postgres", "CHECKPOINT")
	pg.Query("postgres", "SELECT pg_switch_wal()")
	pg.Query("postgres", "INSERT INTO t (body) VALUES ('before the crash')")
	lost := askPosition(t, pg, "SELECT pg_current_wal_insert_lsn()")
	pg.Query("postgres", "SELECT pg_logical_emit_message(true, 'test', repeat('x', 1500000))")
	testenv.StopPostgres(t, pg.Bin, pg.Dir)
	removeLogBehind(t, pg, segmentName(1, lost, c.of.segmentSize))
	pg.Start()
	pg.Query("postgres", "INSERT INTO t (body) VALUES ('after the crash')")
	c = capturedLog(t, pg, lost)
	if want = dump(t, pg, c); !want.abandoned {
		t.Fatal("no record was abandoned")
	}
	c.all(t, want)

	// A new timeline begins in the middle of a segment, whose pages before are of the old one.
	testenv.StopPostgres(t, pg.Bin, pg.Dir)
	promote(t, pg)
	c = capturedLog(t, pg, askPosition(t, pg, "SELECT pg_current_wal_insert_lsn()"))
	want = dump(t, pg, c)
	if first, last := c.bytes[4], c.bytes[(len(c.bytes)-1)/walPage*walPage+4]; first != 1 || last != 2 || len(want.events) == 0 {
		t.Fatalf("pages are of the timelines %d to %d, with %d events", first, last, len(want.events))
	}
	c.all(t, want)
	c.of.timeline = 1
	d, err := newDecoder(c.of, c.from)
	if err == nil {
		err = d.write(c.bytes, func(event) error { return nil })
	}
	if !errors.Is(err, errNotLog) {
		t.Errorf("a later timeline: %v", err)
	}
}

// restorePointTimes checks the times of restore points, which pg_waldump does not print, and makes them equal.
func restorePointTimes(t *testing.T, c logBytes, want *oracle, before time.Time) {
	t.Helper()
	d, err := newDecoder(c.of, c.from)
	if err != nil {
		t.Fatal(err)
	}
	points := 0
	err = d.write(c.bytes, func(e event) error {
		i := slices.IndexFunc(want.events, func(w event) bool { return e.kind == eventRestorePoint && w.start == e.start })
		if i < 0 {
			return nil
		}
		points++
		last, next := before, time.Now()
		for _, w := range want.events[:i] {
			if w.kind != eventRestorePoint {
				last = w.time
			}
		}
		if i+1 < len(want.events) {
			next = want.events[i+1].time
		}
		if e.time.Before(last) || e.time.After(next) {
			t.Errorf("restore point %q is of %s, not between %s and %s", e.name, e.time, last, next)
		}
		want.events[i].time = e.time
		return nil
	})
	if err != nil || points != 2 {
		t.Fatalf("%d restore points: %v", points, err)
	}
}

// removeLogBehind removes all segments after one.
func removeLogBehind(t *testing.T, pg *testenv.Postgres, segment string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(pg.Dir, "pg_wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if len(e.Name()) == len(segment) && e.Name() > segment {
			if err := os.Remove(filepath.Join(pg.Dir, "pg_wal", e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// promote starts a stopped server on a timeline of its own.
func promote(t *testing.T, pg *testenv.Postgres) {
	t.Helper()
	for name, text := range map[string]string{"recovery.signal": "", "postgresql.auto.conf": "restore_command = '/bin/false'\n"} {
		f, err := os.OpenFile(filepath.Join(pg.Dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(f.Name(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	pg.Start()
	for pg.Query("postgres", "SELECT pg_is_in_recovery()")[0][0] == "t" {
		time.Sleep(50 * time.Millisecond)
	}
	pg.Query("postgres", "INSERT INTO t (body) VALUES ('on the new timeline')")
}
