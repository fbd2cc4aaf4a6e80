package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// hosts is a DSN of several servers on this host.
func hosts(ports ...int) string {
	var host, port []string
	for _, p := range ports {
		host, port = append(host, "127.0.0.1"), append(port, strconv.Itoa(p))
	}
	return fmt.Sprintf("host=%s port=%s user=backup dbname=postgres", strings.Join(host, ","), strings.Join(port, ","))
}

// TestPostgresHosts backs up and follows the servers of a cluster in turn: the primary behind a host that is down, and a standby,
// which is promoted under the stream.
func TestPostgresHosts(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	down := testenv.FreePort(t)
	x.connects(hosts(down, testenv.FreePort(t)))
	for command, code := range map[string]int{"backup": 1, "doctor": 3} {
		if s := x.want(code, command, "crm"); strings.Count(s.out+s.err, "connection refused") != 2 || !strings.Contains(s.out+s.err, strconv.Itoa(down)) {
			t.Errorf("%s with both hosts down: %s", command, s)
		}
	}
	x.connects(hosts(down, pg.Port))
	x.want(0, "doctor", "crm")
	x.want(0, "backup", "crm")
	add(pg, 2)

	standby := pg.Standby()
	x.connects(hosts(down, standby.Port))
	x.want(0, "doctor", "crm")
	add(pg, 2)
	behind := pg.Query("postgres", "SELECT pg_current_wal_flush_lsn()")[0][0]
	for standby.Query("postgres", "SELECT pg_last_wal_replay_lsn() >= '"+behind+"'")[0][0] == "f" {
		time.Sleep(20 * time.Millisecond)
	}
	stop := write(t, pg)
	x.want(0, "backup", "crm")
	stop()
	_, query := x.boot(pg, "--at", "snapshot:s3")
	if n := consistent(t, query); n < 4 {
		t.Errorf("the snapshot of a standby has %d entries of 4 at least", n)
	}
	end := x.stream()
	x.streaming(standby)
	add(pg, 20)
	pg.Stop("fast")
	standby.Query("postgres", "SELECT pg_promote()")
	x.whole(standby, end)
	x.connects(hosts(pg.Port, standby.Port)) // the old primary is down
	x.want(0, "backup", "crm")
}

// TestPostgresReplaced lets another cluster answer at the address: its log is not taken for that of the first, which goes on when
// it is back.
func TestPostgresReplaced(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 2)
	x.caught(pg)
	pg.Stop("fast")
	kept := pg.Dir + "-kept"
	conf, err := os.ReadFile(pg.Dir + "/postgresql.conf")
	x.must(err)
	x.must(os.Rename(pg.Dir, kept))
	pg.Run("initdb", "-D", pg.Dir, "-A", "trust", "-U", "postgres", "-k", "--no-sync", "--locale=C.UTF-8")
	pg.Put("postgresql.conf", string(conf))
	pg.Start()
	pg.Query("postgres", "CREATE ROLE backup REPLICATION LOGIN")
	x.says("another database answers here")
	x.says("begins a new history")
	end(syscall.SIGTERM)
	objects := len(x.objects("disk"))
	pg.Query("postgres", strings.Repeat(noise+";", 4)) // it is further now than the first one was
	if s := x.want(4, "stream", "crm"); !strings.Contains(s.err, "another database") {
		t.Errorf("a stream of another cluster: %s", s)
	}
	if n := len(x.objects("disk")); n != objects {
		t.Errorf("%d objects were stored of another cluster", n-objects)
	}
	pg.Stop("fast")
	x.must(os.RemoveAll(pg.Dir))
	x.must(os.Rename(kept, pg.Dir))
	pg.Start()
	end = x.stream()
	x.streaming(pg)
	x.whole(pg, end)
}
