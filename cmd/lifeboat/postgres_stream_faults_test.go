package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// add commits entries to the ledger.
func add(pg *testenv.Postgres, n int) {
	for range n {
		pg.Query("postgres", fmt.Sprintf(ledger, "'entry'"))
	}
}

// whole captures what is left, ends the stream and restores to the end of the log: every entry of pg's ledger must come back.
func (x *fixture) whole(pg *testenv.Postgres, end func(syscall.Signal)) {
	x.t.Helper()
	add(pg, 1)
	x.caught(pg)
	end(syscall.SIGTERM)
	_, query := x.boot(pg)
	if got, want := consistent(x.t, query), pg.Query("postgres", "SELECT max(id) FROM ledger")[0][0]; fmt.Sprint(got) != want {
		x.t.Errorf("%d entries came back, not %s: %s", got, want, x.read("stream.log"))
	}
	x.want(0, "check", "--identity", x.path("key"))
}

// says waits until the stream has said a word.
func (x *fixture) says(word string) {
	x.t.Helper()
	for range 3600 { // of patience, on a busy machine
		if strings.Contains(string(x.read("stream.log")), word) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.t.Fatalf("stream does not say %q: %s", word, x.read("stream.log"))
}

// TestPostgresStreamFaults takes from a stream its server and its slot, and kills it each time. It says what is wrong, goes on by
// itself, and nothing is missing in the end.
func TestPostgresStreamFaults(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg) // from now on the slot keeps the log
	end(syscall.SIGKILL)
	session := func(does string) string {
		return pg.Query("postgres", "SELECT "+does+" FROM pg_replication_slots WHERE slot_name = '"+slotName("crm", "crm")+"'")[0][0]
	}
	free := func() {
		for session("active") == "t" {
			time.Sleep(20 * time.Millisecond)
		}
	}
	other := exec.CommandContext(t.Context(), filepath.Join(pg.Bin, "pg_receivewal"), "-h", "127.0.0.1", "-p", strconv.Itoa(pg.Port), "-U", "backup", "-D", t.TempDir(), "--slot", slotName("crm", "crm"))
	for _, f := range []struct {
		name         string
		before, does func() // the stream begins
		says         string
	}{
		{"server stopped", nil, func() { pg.Stop("fast"); x.says("is the server running"); pg.Start() }, "trying again"},
		{"server stopped at once", nil, func() { pg.Stop("immediate"); x.says("is the server running"); pg.Start() }, "trying again"},
		{"server killed", nil, func() { pg.Kill(); x.says("is the server running"); pg.Start() }, "trying again"},
		{"session ended", nil, func() { session("pg_terminate_backend(active_pid)") }, "terminating connection"},
		{"slot dropped", nil, func() {
			session("pg_terminate_backend(active_pid)")
			x.says("terminating connection")
			session("pg_drop_replication_slot(slot_name)")
		}, "trying again in 1s"},
		{"slot dropped before", func() { free(); session("pg_drop_replication_slot(slot_name)") }, func() {}, "capturing the log of crm from 0"},
		{"slot taken", func() {
			free()
			x.must(other.Start())
			for session("active") == "f" {
				time.Sleep(20 * time.Millisecond)
			}
		}, func() {
			x.says("another program reads this slot")
			x.must(other.Process.Kill())
			_ = other.Wait() // killed
		}, "is active for PID"},
	} {
		t.Run(f.name, func(t *testing.T) {
			x.t = t
			if f.before != nil {
				f.before()
			}
			end = x.stream()
			if f.before == nil {
				x.streaming(pg)
				add(pg, 2)
			}
			f.does()
			add(pg, 2)
			x.streaming(pg)
			x.caught(pg)
			end(syscall.SIGKILL)
			if text := string(x.read("stream.log")); !strings.Contains(text, f.says) || strings.Contains(text, "gap") {
				t.Errorf("stream does not say %q, or there is a gap: %s", f.says, text)
			}
		})
	}
	x.t = t
	end = x.stream()
	x.streaming(pg)
	if s := x.want(4, "stream", "crm"); !strings.Contains(s.err, "captured already") {
		t.Errorf("a second stream: %s", s)
	}
	x.caught(pg)
	x.whole(pg, end)
}
