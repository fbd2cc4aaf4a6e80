package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// replicaOf starts a server that follows another one.
func replicaOf(t *testing.T, m *testenv.MariaDB, number int) *testenv.MariaDB {
	t.Helper()
	r := testenv.StartMariaDB(t, fmt.Sprintf("server_id=%d", number), "log_slave_updates=ON", "sync_binlog=1")
	m.Query("", "CREATE OR REPLACE USER replica@localhost IDENTIFIED BY 'r'")
	m.Query("", "GRANT REPLICATION SLAVE ON *.* TO replica@localhost")
	r.Query("", fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %d, MASTER_USER = 'replica', MASTER_PASSWORD = 'r', MASTER_USE_GTID = slave_pos", m.Port))
	r.Query("", "START SLAVE")
	return r
}

// follows waits until a replica has all that the other has.
func follows(t *testing.T, m, r *testenv.MariaDB) {
	t.Helper()
	at := m.Query("", "SELECT @@gtid_binlog_pos")[0][0]
	for range 600 {
		if got := r.Query("", "SELECT @@gtid_slave_pos")[0][0]; got == at {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the replica does not get to %s: %v", at, r.Query("", "SHOW SLAVE STATUS"))
}

// readdress lets the source of the configuration be another server.
func (x *fixture) readdress(from, to *testenv.MariaDB) {
	x.t.Helper()
	b := strings.ReplaceAll(string(x.read("lifeboat.yaml")), fmt.Sprintf(":%d/", from.Port), fmt.Sprintf(":%d/", to.Port))
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(b), 0o600))
}

// TestMariaDBFailover goes on from a server to one that was its replica, and from that to another one which lacks the last that was captured: that goes on from what it has.
func TestMariaDBFailover(t *testing.T) {
	t.Parallel()
	x, a := newMariaDB(t, "physical", "sync_binlog=1")
	b := replicaOf(t, a, 2)
	x.row()
	end := x.stream()
	n := 0
	more := func(m *testenv.MariaDB, count int) {
		t.Helper()
		for range count {
			n++
			mariaLedger(m.Query, n)
		}
	}
	more(a, 5)
	follows(t, a, b)
	x.caughtMaria(a)
	end(syscall.SIGTERM)
	a.Kill()
	b.Query("", "STOP SLAVE")
	b.Query("", "RESET SLAVE ALL")
	more(b, 3)
	x.readdress(a, b)
	second := x.row() // beside no stream: it finds the way by itself
	more(b, 2)
	end = x.stream()
	more(b, 4)
	x.caughtLine(2, b)
	end(syscall.SIGTERM) // in the segment in which the line began
	more(b, 1)
	end = x.stream()
	more(b, 1)
	x.caughtLine(2, b)
	c := replicaOf(t, b, 3)
	follows(t, b, c)
	c.Query("", "STOP SLAVE")
	c.Query("", "RESET SLAVE ALL")
	kept := n
	more(b, 2) // c never gets them
	x.caughtLine(2, b)
	time.Sleep(2 * time.Second)
	end(syscall.SIGTERM)
	b.Kill()
	lost := n
	n = kept
	time.Sleep(1100 * time.Millisecond)
	more(c, 6)
	x.readdress(b, c)
	end = x.stream()
	more(c, 1)
	x.caughtLine(3, c)
	time.Sleep(2 * time.Second)
	end(syscall.SIGTERM)
	c.Kill()
	_, query := x.sailed()
	if got := balanced(t, query); got != kept+7 {
		t.Errorf("%d rows in the end, want %d", got, kept+7)
	}
	rows := x.logged()
	for _, r := range rows { // the first of c's own: what b alone had is not before it
		if strings.HasPrefix(r.GTID, "0-3-") {
			_, query = x.sailed("--at", "gtid:"+r.GTID, "--before")
			if got := balanced(t, query); got != kept {
				t.Errorf("%d rows before %s, want %d", got, r.GTID, kept)
			}
			break
		}
	}
	_, query = x.sailed("--timeline", "2")
	if got := balanced(t, query); got != lost {
		t.Errorf("%d rows in what was left, want %d", got, lost)
	}
	_, query = x.sailed("--at", "snapshot:s2")
	if got := balanced(t, query); got != 0 {
		t.Errorf("%d rows in the first snapshot", got)
	}
	// A snapshot of before the first turn leads over both.
	_, query = x.sailed("--without", second.ID)
	if got := balanced(t, query); got != kept+7 {
		t.Errorf("%d rows over two turns, want %d", got, kept+7)
	}
}
