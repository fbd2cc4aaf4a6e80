package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// TestSetBack sets a cluster back to an older state, and puts another in its place: neither mixes with what was captured before.
func TestSetBack(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	add := func(n int) {
		t.Helper()
		for range n {
			pg.Query("postgres", fmt.Sprintf(ledger, "'entry'"))
		}
	}
	stop := func() { pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "fast") }
	add(1)
	x.want(0, "backup", "crm")
	end := x.stream()
	add(2)
	x.caught(pg)
	end(syscall.SIGTERM)
	stop()
	older := pg.Base + "/older"
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", pg.Dir, older).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pg.Start()
	end = x.stream()
	add(4)
	before := time.Now().UTC().Format(time.RFC3339Nano)
	x.caught(pg)
	end(syscall.SIGTERM)

	stop()
	x.must(os.RemoveAll(pg.Dir))
	x.must(os.Rename(older, pg.Dir))
	pg.Start()
	add(1) // a history of its own, on the same timeline, which goes further
	for range 8 {
		pg.Query("postgres", "CREATE TABLE IF NOT EXISTS ballast AS SELECT 1; SELECT pg_switch_wal()")
		pg.Query("postgres", "UPDATE pgbench_accounts SET abalance = 1 WHERE aid = 1")
	}
	for _, command := range []string{"backup", "stream"} {
		if s := x.want(4, command, "crm"); !strings.Contains(s.err, "set back and went on") || !strings.Contains(s.err, "--full") {
			t.Errorf("%s of a cluster that was set back: %s", command, s)
		}
	}
	x.want(0, "backup", "crm", "--full")
	end = x.stream()
	add(1)
	x.caught(pg)
	end(syscall.SIGTERM)
	x.want(0, "backup", "crm")
	w := x.want(0, "window", "crm", "--identity", x.path("key"))
	if !strings.Contains(w.out, "1 gap") || !strings.Contains(w.out, "older state") {
		t.Errorf("window: %s", w)
	}
	for point, want := range map[string]int{"latest": 5, before: 7} {
		_, query := x.boot(pg, "--at", point)
		if got := consistent(t, query); got != want {
			t.Errorf("%s: %d transactions came back, not %d", point, got, want)
		}
	}

	other := testenv.StartPostgres(t, testenv.PostgresBin)
	other.Query("postgres", "CREATE ROLE backup REPLICATION LOGIN")
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(strings.ReplaceAll(string(x.read("lifeboat.yaml")), fmt.Sprint(":", pg.Port, "/"), fmt.Sprint(":", other.Port, "/"))), 0o600))
	for _, command := range []string{"backup", "stream"} {
		if s := x.want(4, command, "crm"); !strings.Contains(s.err, "another database") || !strings.Contains(s.err, "--full") {
			t.Errorf("%s of another cluster: %s", command, s)
		}
	}
	if left := other.Query("postgres", "SELECT slot_name FROM pg_replication_slots"); len(left) > 0 {
		t.Errorf("left on a cluster that is none of ours: %v", left)
	}
	x.want(0, "backup", "crm", "--full")
	x.want(0, "backup", "crm")
	x.want(0, "check", "--identity", x.path("key"))
}

// TestSetBackAndOn sets a cluster back behind its newest snapshot, from where it goes on beyond that snapshot's end: no number tells,
// and blocks that only the lost history changed would be missing from an increment.
func TestSetBackAndOn(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresVersion(t, "17"))
	pg.Query("postgres", "ALTER SYSTEM SET summarize_wal = on")
	pg.Query("postgres", "SELECT pg_reload_conf()")
	stop := func() { pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "fast") }
	stop()
	older := pg.Base + "/older"
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", pg.Dir, older).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pg.Start()
	pg.Query("postgres", "UPDATE far SET t = 'lost'")
	x.want(0, "backup", "crm")
	stop()
	x.must(os.RemoveAll(pg.Dir))
	x.must(os.Rename(older, pg.Dir))
	pg.Start()
	for range 4 {
		pg.Query("postgres", "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 100 = 1")
		pg.Query("postgres", "SELECT pg_switch_wal()")
	}
	if s := x.want(4, "backup", "crm"); !strings.Contains(s.err, "set back") {
		t.Error(s)
	}
	x.want(0, "backup", "crm", "--full")
	x.want(0, "backup", "crm")
	_, query := x.boot(pg)
	if got, want := digests(query), digests(func(sql string) [][]string { return pg.Query("postgres", sql) }); got != want {
		t.Errorf("the cluster that was set back has other rows:\n%s, not\n%s", got, want)
	}
}

// TestRestoredServes lets a cluster that was restored to an earlier point take the place of the original: capture goes on in its timeline,
// what was left behind stays a line of its own, and nothing is restored that was not asked for.
func TestRestoredServes(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 3)
	point := pg.Query("postgres", "SELECT xmin FROM ledger WHERE id = 3")[0][0]
	add(pg, 3) // a mistake, to be undone
	lived := time.Now().UTC()
	x.caught(pg)
	x.want(0, "backup", "crm")
	x.caught(pg)
	end(syscall.SIGTERM)
	pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "fast")

	dir, query := x.boot(pg, "--at", "xid:"+point)
	port := query("SHOW port")[0][0]
	x.connects(fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres", dir, port))
	end = x.stream()
	x.says("capturing the log of crm")
	for range 2 {
		query(fmt.Sprintf(ledger, "'again'"))
	}
	at := query("SELECT pg_switch_wal(), pg_current_wal_flush_lsn()")[0][1]
	for range 300 {
		if row := query(fmt.Sprintf("SELECT flush_lsn >= '%s' FROM pg_stat_replication WHERE application_name = 'lifeboat' AND state = 'streaming'", at)); len(row) == 1 && row[0][0] == "t" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	end(syscall.SIGTERM)
	testenv.StopPostgres(t, pg.Bin, dir)
	for _, c := range []struct {
		want int
		args []string
	}{{5, []string{"--at", "latest"}}, {6, []string{"--at", "latest", "--timeline", "1"}}, {6, []string{"--at", lived.Format(time.RFC3339Nano)}}, {3, []string{"--at", "xid:" + point}}} {
		_, query := x.boot(pg, c.args...)
		if got := consistent(t, query); got != c.want {
			t.Errorf("%v: %d transactions came back, not %d", c.args, got, c.want)
		}
	}
	x.want(0, "check", "--identity", x.path("key"))
}

// TestRewound lets a standby take over while the old primary commits a little more, which pg_rewind then undoes so that it follows the new
// one, under a stream that stays: what both committed comes back, each in its own line.
func TestRewound(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	pg.Query("postgres", "ALTER SYSTEM SET wal_keep_size = '1GB'") // for pg_rewind
	pg.Query("postgres", "SELECT pg_reload_conf()")
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 2)
	next := pg.Standby()
	next.Query("postgres", "SELECT pg_promote()")
	add(pg, 4) // only the old primary has these
	add(next, 1)
	x.caught(pg)
	pg.Stop("fast")

	conf, err := os.ReadFile(pg.Dir + "/postgresql.conf")
	x.must(err)
	primary := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres", next.Port)
	pg.Run("pg_rewind", "--target-pgdata="+pg.Dir, "--source-server="+primary)
	pg.Put("postgresql.conf", string(conf))
	pg.Put("postgresql.auto.conf", fmt.Sprintf("primary_conninfo = '%s'\n", primary))
	pg.Put("standby.signal", "")
	pg.Start()
	add(next, 2)
	for n := "2"; n != "5"; n = pg.Query("postgres", "SELECT max(id) FROM ledger")[0][0] {
		time.Sleep(50 * time.Millisecond)
	}
	x.streaming(pg)
	next.Stop("fast")
	pg.Query("postgres", "SELECT pg_promote()")
	x.whole(pg, end)
	_, query := x.boot(pg, "--timeline", "1")
	if n := consistent(t, query); n != 6 {
		t.Errorf("%d transactions came back in the line that was left, not 6", n)
	}
}

// TestPromotedAtSegment takes capture up again where a segment and the timeline end together: there is nothing left to stream of it.
func TestPromotedAtSegment(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	for i := range 3 {
		add(pg, 1)
		x.caught(pg) // to the end of a segment
		if i == 1 {
			end(syscall.SIGTERM)
			end = nil
		}
		promote(t, pg)
		if end == nil {
			end = x.stream()
		}
		x.streaming(pg)
	}
	x.whole(pg, end)
}

// TestPromotedRestart begins capture anew in the segment in which the timeline began: where it came from stays known.
func TestPromotedRestart(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 2)
	x.caught(pg)
	promote(t, pg)
	for range 3 {
		x.streaming(pg)
		add(pg, 1)
		at := pg.Query("postgres", "SELECT pg_current_wal_flush_lsn()")[0][0]
		x.eventually("the log to be durable", func() bool {
			row := pg.Query("postgres", fmt.Sprintf("SELECT flush_lsn >= '%s' FROM pg_stat_replication WHERE application_name = 'lifeboat' AND state = 'streaming'", at))
			return len(row) == 1 && row[0][0] == "t"
		}, &bytes.Buffer{})
		end(syscall.SIGTERM)
		slotFree(pg)
		end = x.stream()
	}
	x.whole(pg, end)
}
