package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// slotFree waits until nobody reads a slot.
func slotFree(pg *testenv.Postgres) {
	for pg.Query("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active")[0][0] != "0" {
		time.Sleep(20 * time.Millisecond)
	}
}

// latest is the end of the window of crm.
func (x *fixture) latest() time.Time {
	x.t.Helper()
	var rows []struct{ Latest time.Time }
	x.must(json.Unmarshal([]byte(x.want(0, "window", "crm", "--json", "--identity", x.path("key")).out), &rows))
	return rows[0].Latest
}

// TestPostgresInterrupted ends a stream while it is busy: the interrupt meets a piece that is being taken in.
func TestPostgresInterrupted(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	x.real = false
	for range 4 {
		pg.Query("postgres", noise)
		if s := x.streamUntil("capturing the log of crm"); s.code != 0 {
			t.Error(s)
		}
	}
}

// TestPostgresGap loses log: the slot is invalidated while stream does not run: a gap, one new full snapshot, and all after it comes back.
func TestPostgresGap(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	for _, s := range []string{"max_slot_wal_keep_size = '64MB'", "min_wal_size = '32MB'", "max_wal_size = '32MB'"} {
		pg.Query("postgres", "ALTER SYSTEM SET "+s)
	}
	pg.Query("postgres", "SELECT pg_reload_conf()")
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 2)
	x.caught(pg)
	end(syscall.SIGTERM)
	slotFree(pg)
	at := pg.Query("postgres", "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[0][0]
	for pg.Query("postgres", "SELECT wal_status FROM pg_replication_slots")[0][0] != "lost" {
		add(pg, 1)
		pg.Query("postgres", noise)
		pg.Query("postgres", "CHECKPOINT")
	}
	if s := x.run("doctor", "crm"); !strings.Contains(s.out, "invalidated") {
		t.Errorf("doctor: %s", s)
	}
	for _, s := range []string{"max_slot_wal_keep_size = -1", "max_wal_size = '4GB'"} {
		pg.Query("postgres", "ALTER SYSTEM SET "+s)
	}
	pg.Query("postgres", "SELECT pg_reload_conf()")
	end = x.stream()
	x.says("taking a new full snapshot")
	x.says("is a full snapshot of crm")
	x.streaming(pg)
	pg.Query("postgres", "CHECKPOINT") // one that was under way may take the new slot's log, too
	x.eventually("a full snapshot behind each gap", func() bool {
		if pg.Query("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active AND wal_status <> 'lost'")[0][0] != "1" {
			return false
		}
		said := string(x.read("stream.log"))
		return strings.Count(said, "taking a new full snapshot") == strings.Count(said, "is a full snapshot of crm")
	}, bytes.NewBuffer(x.read("stream.log")))
	if s := x.run("restore", "crm", "--identity", x.path("key"), "--to", x.path("never"), "--at", at); s.code != 4 {
		t.Errorf("a time in the gap: %s", s)
	}
	x.whole(pg, end)
}

// TestPostgresTargetAway begins a stream without a target: the only target is away for a moment when stream begins: nothing may be lost by that.
func TestPostgresTargetAway(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	x.caught(pg)
	end(syscall.SIGTERM)
	for range 3 {
		add(pg, 1)
		pg.Query("postgres", "SELECT pg_switch_wal()")
	}
	x.must(os.Rename(x.path("disk"), x.path("away")))
	x.streamUntil("trying again in 2s")
	pg.Query("postgres", "CHECKPOINT")
	x.must(os.Rename(x.path("away"), x.path("disk")))
	end = x.stream()
	x.streaming(pg)
	if said := string(x.read("stream.log")); strings.Contains(said, "gap") || strings.Contains(said, "removed") {
		t.Errorf("the log was lost: %s", said)
	}
	x.whole(pg, end)
}

// TestPostgresIdle leaves a server alone: its window goes on.
func TestPostgresIdle(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	pg.Query("postgres", "ALTER SYSTEM SET autovacuum = off")
	pg.Restart("fast")
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 1)
	x.caught(pg)
	pg.Query("postgres", "CHECKPOINT")
	time.Sleep(3 * time.Second) // what the checkpoint wrote is captured
	before := x.latest()
	x.eventually("the window goes on", func() bool { return x.latest().After(before) }, bytes.NewBuffer(x.read("stream.log")))
	end(syscall.SIGTERM)
}

// TestPostgresStopped stops the server: what is said is why, and what to do.
func TestPostgresStopped(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	pg.Query("postgres", "CREATE TABLE big AS SELECT g, repeat(md5(g::text), 20) t FROM generate_series(1, 100000) g")
	for _, mode := range []string{"fast", "immediate"} {
		if s := x.struck(pg, func() { pg.Stop(mode) }); s.code != 1 || !strings.Contains(s.err, "hint: ") || strings.Contains(s.err, "announced") {
			t.Errorf("a backup whose server stops (%s): %s", mode, s)
		}
		pg.Start()
	}
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	pg.Stop("fast")
	x.says("trying again")
	if said := string(x.read("stream.log")); strings.Contains(said, "protocol") {
		t.Errorf("a stream whose server stops: %s", said)
	}
	pg.Start()
	end(syscall.SIGKILL)
}

// TestPostgresLogObjects removes and damages objects of the log: points before them can be reached, and none is passed over in silence.
func TestPostgresLogObjects(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 2)
	xid := pg.Query("postgres", "SELECT xmin FROM ledger WHERE id = 2")[0][0]
	lsn := pg.Query("postgres", "SELECT pg_current_wal_insert_lsn()")[0][0]
	pg.Query("postgres", noise+"; "+noise)
	add(pg, 2)
	x.caught(pg)
	end(syscall.SIGTERM)
	var segments []string
	for _, name := range x.objects("disk") {
		if strings.HasPrefix(name, "log/") && strings.Contains(name, "-segment-") {
			segments = append(segments, name)
		}
	}
	middle := segments[len(segments)/2]
	whole := x.read("disk", middle)
	restore := func(to, at string) said {
		return x.run("restore", "crm", "--identity", x.path("key"), "--to", x.path(to), "--at", at)
	}
	x.put(nil, "disk", middle)
	if s := restore("a", "latest"); s.code == 0 && !strings.Contains(s.err, "missing") {
		t.Errorf("latest with a hole in the log: %s", s)
	}
	x.put(spoil("flip", whole), "disk", middle)
	if s := restore("b", "lsn:"+lsn); s.code != 0 {
		t.Errorf("a position before the damage: %s", s)
	}
	restore("c", "latest")
	if left, err := filepath.Glob(x.path("c*/*")); err != nil || len(left) > 0 {
		t.Errorf("a failed restore left %v (%v)", left, err)
	}
	x.put(spoil("truncate", whole), "disk", middle)
	if s := restore("d", "xid:"+xid); s.code != 0 {
		t.Errorf("a transaction before the damage: %s", s)
	}
}

// TestPostgresWithout loses the snapshot that is nearest to the end: what to do is said, and an older one and the log lead there, too.
func TestPostgresWithout(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 2)
	before := x.objects("disk")
	x.want(0, "backup", "crm")
	for _, name := range x.objects("disk") {
		if strings.HasPrefix(name, "packs/") && !slices.Contains(before, name) {
			x.must(os.Remove(x.path("disk", name)))
		}
	}
	add(pg, 1)
	x.caught(pg)
	end(syscall.SIGTERM)
	s := x.run("restore", "crm", "--identity", x.path("key"), "--to", x.path("never"))
	hint := regexp.MustCompile(`--without (s\d+)`).FindStringSubmatch(s.err)
	if s.code != 1 || hint == nil {
		t.Fatalf("without the packs: %s", s)
	}
	x.want(2, "restore", "crm", "--identity", x.path("key"), "--to", x.path("never"), "--without", "s999")
	_, query := x.boot(pg, "--without", hint[1])
	if got, want := consistent(t, query), pg.Query("postgres", "SELECT max(id) FROM ledger")[0][0]; fmt.Sprint(got) != want {
		t.Errorf("%d entries came back, not %s", got, want)
	}
}
