package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// stream captures the log of crm in a process of its own until it is sent a signal.
func (x *fixture) stream() (end func(syscall.Signal)) {
	x.t.Helper()
	path, err := realProgram()
	x.must(err)
	cmd := exec.CommandContext(x.t.Context(), path, "-c", x.path("lifeboat.yaml"), "stream", "crm")
	log, err := os.Create(x.path("stream.log"))
	x.must(err)
	cmd.Stdout, cmd.Stderr = log, log
	x.must(cmd.Start())
	x.t.Cleanup(func() {
		if said, err := os.ReadFile(log.Name()); x.t.Failed() && err == nil {
			x.t.Logf("stream said: %s", said)
		}
	})
	return func(s syscall.Signal) {
		x.t.Helper()
		x.must(cmd.Process.Signal(s))
		_ = cmd.Wait() // the code is looked at below
		x.must(log.Close())
		said, err := os.ReadFile(x.path("stream.log"))
		x.must(err)
		if s == syscall.SIGTERM && cmd.ProcessState.ExitCode() != 0 {
			x.t.Errorf("stream ended with %s: %s", cmd.ProcessState, said)
		}
	}
}

// caught waits until the log is durable up to where the server is now.
func (x *fixture) caught(pg *testenv.Postgres) {
	t := x.t
	t.Helper()
	at := pg.Query("postgres", "SELECT pg_switch_wal(), pg_current_wal_flush_lsn()")[0][1]
	for range 600 {
		if row := pg.Query("postgres", fmt.Sprintf("SELECT flush_lsn >= '%s' FROM pg_stat_replication WHERE application_name = 'lifeboat' AND state = 'streaming'", at)); len(row) == 1 && row[0][0] == "t" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the log was not captured up to %s: %v\n%s", at, pg.Query("postgres", "SELECT * FROM pg_stat_replication"), x.read("stream.log"))
}

// promote makes the server open a timeline of its own, as a standby does that takes over.
func promote(t *testing.T, pg *testenv.Postgres) {
	t.Helper()
	before := pg.Query("postgres", "SELECT timeline_id FROM pg_control_checkpoint()")[0][0]
	pg.Query("postgres", "ALTER SYSTEM SET restore_command = '/bin/false'")
	pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "immediate")
	if err := os.WriteFile(filepath.Join(pg.Dir, "recovery.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(pg.Dir, "recovery.signal"), ownerOf(t, pg.Dir), -1); err != nil {
		t.Fatal(err)
	}
	pg.Start()
	for range 300 {
		if row := pg.Query("postgres", "SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()")[0]; row[0] == "f" && row[1] != before {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the server did not open another timeline")
}

// TestPointInTime captures the log of a live cluster while it and the stream are killed and taken up again, and restores to points of
// every kind: exactly the transactions up to the point are there.
func TestPointInTime(t *testing.T) {
	t.Parallel()
	versions := []string{"15", "17"}
	if soak() {
		versions = append(versions, "18")
	}
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			pointInTime(t, v)
		})
	}
}

// entries are the ledger's, with the points that lead to each: up to it, and before it.
type entries struct {
	pg     *testenv.Postgres
	behind []string // a position behind each
	named  map[string]int
}

func (e *entries) add(t *testing.T, n int) {
	t.Helper()
	for range n {
		e.pg.Query("postgres", fmt.Sprintf(ledger, "'entry'"))
		e.behind = append(e.behind, e.pg.Query("postgres", "SELECT pg_current_wal_insert_lsn()")[0][0])
		e.pg.Query("postgres", "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 500 = 3")
		if len(e.behind)%4 == 0 {
			name := fmt.Sprint("after ", len(e.behind))
			e.pg.Query("postgres", fmt.Sprintf("SELECT pg_create_restore_point('%s')", name))
			e.named[name] = len(e.behind)
		}
	}
}

// load keeps the server busy beside the ledger until it stops.
func load(t *testing.T, pg *testenv.Postgres) {
	t.Helper()
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wait.Go(func() {
		for i := 0; ctx.Err() == nil; i++ { // an error is a server that is away: others meet it too
			_, _ = testenv.Query(ctx, pg.DSN("postgres", "postgres"), fmt.Sprintf(`UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = %[1]d;
				INSERT INTO pgbench_history VALUES (1, 1, %[1]d, 1, now(), ''); DELETE FROM pgbench_history WHERE aid = %[1]d - 50`, 1+i*7919%200000))
		}
	})
	t.Cleanup(func() { cancel(); wait.Wait() })
}

func pointInTime(t *testing.T, version string) {
	x, pg := newCluster(t, testenv.PostgresVersion(t, version))
	pg.Query("postgres", "ALTER SYSTEM SET track_commit_timestamp = on")
	if version >= "17" {
		pg.Query("postgres", "ALTER SYSTEM SET summarize_wal = on")
	}
	pg.Run("pg_ctl", "restart", "-D", pg.Dir, "-w", "-s", "-m", "fast", "-l", pg.Base+"/log")
	e := &entries{pg: pg, named: map[string]int{}}
	e.add(t, 3)
	x.real = true
	end := x.stream()
	for !strings.Contains(pg.Query("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active")[0][0], "1") {
		time.Sleep(50 * time.Millisecond)
	}
	x.want(0, "backup", "crm")
	load(t, pg)
	e.add(t, 10)
	end(syscall.SIGKILL)
	e.add(t, 5)
	end = x.stream()
	e.add(t, 7)
	x.want(0, "backup", "crm") // beside the stream
	e.add(t, 2)
	killServer(t, pg)
	e.add(t, 4)
	first := len(e.behind)
	promote(t, pg) // under the stream, and with no snapshot after it
	e.add(t, 5)
	x.caught(pg)
	end(syscall.SIGTERM)
	x.want(0, "check", "--identity", x.path("key"))
	x.damagedLog()

	points := map[string]int{"latest": len(e.behind), "timeline 1 latest": first}
	rows := pg.Query("postgres", "SELECT xmin, to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM ledger ORDER BY id")
	r := rand.New(rand.NewPCG(2, 6))
	for range 1 + soakTimes(9) {
		pick := func() int { return 3 + r.IntN(len(rows)-3) } // what was committed before the first snapshot is out of reach
		n := pick()
		points[rows[n][1]] = n + 1
		n = pick()
		points["xid:"+rows[n][0]] = n + 1
		n = pick()
		points["before xid:"+rows[n][0]] = n
		n = pick()
		points["lsn:"+e.behind[n]] = n + 1
		n = (4 + pick()) / 4 * 4 % first
		if name := fmt.Sprint("after ", n); e.named[name] > 3 {
			points["name:"+name] = n
		}
	}
	for point, want := range points {
		t.Run(point, func(t *testing.T) { x.arrives(t, pg, point, want) })
	}
	x.t = t
	for point, code := range map[string]int{"xid:3": 4, "name:nobody": 4, "lsn:FFFF/0": 4, "lsn:0/1": 4, "2020-01-01T00:00:00Z": 4, "2100-01-01T00:00:00Z": 4} {
		x.want(code, "restore", "crm", "--identity", x.path("key"), "--to", x.path("never"), "--at", point)
	}
	x.want(4, "restore", "crm", "--identity", x.path("key"), "--to", x.path("never"), "--timeline", "3")
	if _, err := os.Stat(x.path("never")); err == nil {
		t.Error("a refused restore left a directory")
	}
}

// damagedLog damages the captured log on the copy: a check names each object, with and without an identity.
func (x *fixture) damagedLog() {
	x.t.Helper()
	objects, err := filepath.Glob(x.path("disk", "log", "*", "*"))
	x.must(err)
	if len(objects) < 3 {
		x.t.Fatalf("only %d objects of log", len(objects))
	}
	for i, path := range []string{objects[0], objects[len(objects)/2], objects[len(objects)-1]} {
		whole, err := os.ReadFile(path)
		x.must(err)
		damaged := slices.Clone(whole)
		damaged[len(damaged)*(i+1)/4] ^= 1
		x.must(os.WriteFile(path, damaged, 0o600))
		for _, args := range [][]string{{"check"}, {"check", "--identity", x.path("key")}} {
			if s := x.want(3, args...); !strings.Contains(s.out, filepath.Base(path)) {
				x.t.Errorf("the damage of %s is not named: %s", path, s)
			}
		}
		x.must(os.WriteFile(path, whole, 0o600))
	}
	x.want(0, "check")
}

// arrives boots a point and counts the transactions that are there.
func (x *fixture) arrives(t *testing.T, pg *testenv.Postgres, point string, want int) {
	x.t = t
	at, before := strings.CutPrefix(point, "before ")
	at, first := strings.CutPrefix(at, "timeline 1 ")
	args := []string{"--at", at}
	if before {
		args = append(args, "--before")
	}
	if first {
		args = append(args, "--timeline", "1")
	}
	dir, query := x.boot(pg, args...)
	if got := consistent(t, query); got != want {
		t.Errorf("%s: %d transactions came back, not %d", point, got, want)
	}
	if soak() || at == "latest" {
		pg.Run("pg_amcheck", "-h", dir, "-p", query("SHOW port")[0][0], "--all", "--install-missing", "--heapallindexed")
	}
	testenv.StopPostgres(t, pg.Bin, dir)
}

// killServer ends a server as a power cut would end its processes, and starts it again.
func killServer(t *testing.T, pg *testenv.Postgres) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(pg.Dir, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Second) // the others notice, and let go of its memory
	pg.Start()
}
