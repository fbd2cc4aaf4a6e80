package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// unsettle makes, extends, cuts and drops relations without pause until stop is called.
func unsettle(t *testing.T, pg *testenv.Postgres) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for who := range 2 {
		go func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("churned_%d_%d", who, i%5)
				for _, sql := range []string{
					"DROP TABLE IF EXISTS " + name,
					fmt.Sprintf("CREATE TABLE %s AS SELECT g, repeat('x', g %% 900) t FROM generate_series(1, %d) g", name, 1+i*997%5000),
					fmt.Sprintf("CREATE INDEX ON %s (g); INSERT INTO %[1]s SELECT * FROM %[1]s", name),
					fmt.Sprintf("DELETE FROM churned_%d_%d WHERE g > 100", who, max(i-1, 0)%5),
					fmt.Sprintf("VACUUM (TRUNCATE) churned_%d_%d", who, max(i-1, 0)%5),
					fmt.Sprintf("TRUNCATE churned_%d_%d", who, max(i-2, 0)%5),
				} {
					if _, err := testenv.Query(context.WithoutCancel(ctx), pg.DSN("postgres", "postgres"), sql); err != nil {
						done <- fmt.Errorf("%s: %w", sql, err)
						return
					}
				}
			}
			done <- nil
		}()
	}
	return func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

// TestPostgresBackupFaults kills backups and the server under them while relations come, grow, shrink and go. The next backup
// works, nothing is left on the server, and what was backed up is sound.
func TestPostgresBackupFaults(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	pg.Query("postgres", "CREATE TABLE big AS SELECT g, repeat(md5(g::text), 20) t FROM generate_series(1, 100000) g")
	program, err := realProgram()
	x.must(err)
	stop := unsettle(t, pg)
	r := rand.New(rand.NewPCG(5, 9))
	for range 4 + soakTimes(100) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+r.IntN(1000))*time.Millisecond)
		_ = exec.CommandContext(ctx, program, "-c", x.path("lifeboat.yaml"), "backup", "crm").Run() // killed, or done before
		cancel()
	}
	x.want(0, "backup", "crm")
	x.nothingLeft(pg)
	stop()
	for how, strike := range map[string]func(){"fast": func() { pg.Stop("fast") }, "immediate": func() { pg.Stop("immediate") }, "killed": pg.Kill} {
		if s := x.struck(pg, strike); s.code != 1 {
			t.Errorf("a backup whose server stops (%s): %s", how, s)
		}
		if s := x.want(1, "backup", "crm"); !strings.Contains(s.err, "is the server running") {
			t.Errorf("a backup of a stopped server: %s", s)
		}
		pg.Start()
		x.nothingLeft(pg)
	}
	stop = unsettle(t, pg)
	add(pg, 3)
	x.want(0, "backup", "crm")
	stop()
	dir, query := x.boot(pg)
	if n := consistent(t, query); n != 3 {
		t.Errorf("%d entries came back, not 3", n)
	}
	pg.Run("pg_amcheck", "-h", dir, "-p", query("SHOW port")[0][0], "--all", "--install-missing", "--heapallindexed")
	x.want(0, "check", "--identity", x.path("key"))
}

// struck runs a backup, and does something when the server sends files.
func (x *fixture) struck(pg *testenv.Postgres, does func()) said {
	x.t.Helper()
	done := make(chan said, 1)
	go func() { done <- x.run("backup", "crm") }()
	for len(pg.Query("postgres", "SELECT FROM pg_stat_progress_basebackup WHERE phase = 'streaming database files' AND backup_streamed > 0")) == 0 {
		time.Sleep(2 * time.Millisecond)
	}
	does()
	return <-done
}

// nothingLeft wants no slot of a backup on the server, once it has noticed that its session is gone.
func (x *fixture) nothingLeft(pg *testenv.Postgres) {
	x.t.Helper()
	left := [][]string{{""}}
	for range 200 {
		if left = pg.Query("postgres", "SELECT * FROM pg_replication_slots"); len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.t.Errorf("left on the server: %v", left)
}
