package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// TestMariaDBKilled kills the server and the stream at random while somebody writes small and large transactions: in the end everything that was committed comes back.
func TestMariaDBKilled(t *testing.T) {
	t.Parallel()
	x, m := newMariaDB(t, "physical", "sync_binlog=1", "innodb_flush_log_at_trx_commit=1", "max_binlog_size=2M")
	m.Query("crm", "CREATE TABLE big (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB) ENGINE=InnoDB")
	x.row()
	var wait sync.WaitGroup
	quit := make(chan struct{})
	wait.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			sql := fmt.Sprintf("INSERT INTO ledger SELECT COALESCE(MAX(id), 0) + 1, %[1]d, COALESCE((SELECT sum FROM ledger ORDER BY id DESC LIMIT 1), 0) + %[1]d, REPEAT('x', %[1]d) FROM ledger", i%97)
			if i%20 == 7 {
				sql = "INSERT INTO big (b) SELECT RANDOM_BYTES(1000) FROM seq_1_to_3000"
			}
			if _, err := testenv.QueryMariaDB(m.Socket(), "crm", sql); err != nil { // it is away
				time.Sleep(20 * time.Millisecond)
			}
		}
	})
	r := rand.New(rand.NewPCG(5, 5))
	end := x.stream()
	pause := func() { time.Sleep(time.Duration(200+r.IntN(1500)) * time.Millisecond) }
	for i := range 6 + soakTimes(60) {
		pause()
		both := i%3 == 2
		if i%3 == 0 || both {
			end(syscall.SIGKILL)
		}
		if i%3 == 1 || both {
			m.Kill()
			pause()
			m.Start()
		}
		if i%3 == 0 || both {
			end = x.stream()
		}
	}
	pause()
	close(quit)
	wait.Wait()
	want := mariaAll(m.Query, "crm")
	x.caughtMaria(m)
	x.eventually("a full snapshot behind each gap", func() bool { // a transaction that was not whole in the log when the server died leaves one
		said := string(x.read("stream.log"))
		return strings.Count(said, "taking a new full snapshot") == strings.Count(said, "is a full snapshot of crm")
	}, bytes.NewBuffer(x.read("stream.log")))
	end(syscall.SIGTERM)
	m.Kill()
	_, query := x.sailed()
	if got := mariaAll(query, "crm"); got != want {
		t.Errorf("other digests:\n%s\n%s", got, want)
	}
	if n := balanced(t, query); n == 0 {
		t.Error("nobody wrote")
	}
}
