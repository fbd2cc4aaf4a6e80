package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// TestPointInTime captures the log of a live cluster while it is killed and taken up again, and restores to points of every
// kind: exactly the transactions up to the point are there.
func TestPointInTime(t *testing.T) {
	x, pg := newCluster(t, testenv.PostgresBin)
	pg.Query("postgres", "ALTER SYSTEM SET track_commit_timestamp = on")
	pg.Run("pg_ctl", "restart", "-D", pg.Dir, "-w", "-s", "-m", "fast", "-l", pg.Base+"/log")
	add := func(n int) {
		t.Helper()
		for range n {
			pg.Query("postgres", fmt.Sprintf(ledger, "'entry'"))
			pg.Query("postgres", "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 500 = 3")
		}
	}
	add(3)
	x.real = true
	end := x.stream()
	for !strings.Contains(pg.Query("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active")[0][0], "1") {
		time.Sleep(50 * time.Millisecond)
	}
	x.want(0, "backup", "crm")
	add(5)
	pg.Query("postgres", "SELECT pg_create_restore_point('before the upgrade')")
	add(5)
	end(syscall.SIGKILL)
	add(5)
	end = x.stream()
	add(3)
	between := pg.Query("postgres", "SELECT pg_current_wal_insert_lsn()")[0][0]
	add(4)
	x.want(0, "backup", "crm") // beside the stream
	add(6)
	promote(t, pg) // under the stream, and with no snapshot after it
	add(5)
	x.caught(pg)
	end(syscall.SIGTERM)
	x.want(0, "check", "--identity", x.path("key"))

	type entry struct{ id, xid, at string }
	var entries []entry
	for _, row := range pg.Query("postgres", "SELECT id, xmin, to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM ledger ORDER BY id") {
		entries = append(entries, entry{row[0], row[1], row[2]})
	}
	r := rand.New(rand.NewPCG(2, 6))
	pick := func() (int, entry) { n := 3 + r.IntN(len(entries)-3); return n, entries[n] } // what was committed before the first snapshot is out of reach
	points := map[string]int{"latest": len(entries), "timeline 1 latest": 31, "name:before the upgrade": 8, "lsn:" + between: 21}
	for range 1 + soakTimes(9) {
		n, e := pick()
		points[e.at] = n + 1
		n, e = pick()
		points["xid:"+e.xid] = n + 1
		n, e = pick()
		points["before xid:"+e.xid] = n
	}
	for point, want := range points {
		t.Run(point, func(t *testing.T) {
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
			_, query := x.boot(pg, args...)
			if got := consistent(t, query); got != want {
				t.Errorf("%s: %d transactions came back, not %d", point, got, want)
			}
		})
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
