package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/testenv"
)

// newCluster founds a repository for a PostgreSQL cluster with a tablespace and a role that may only replicate.
func newCluster(t *testing.T, bin string) (*fixture, *testenv.Postgres) {
	t.Helper()
	pg := testenv.StartPostgres(t, bin)
	x := &fixture{t: t, dir: t.TempDir()}
	x.must(os.Chmod(filepath.Dir(x.dir), 0o755))
	x.must(os.Chmod(x.dir, 0o755)) // for the restored server
	pg.Run("pgbench", "-h", "127.0.0.1", "-p", strconv.Itoa(pg.Port), "-i", "-q", "-s", "2", "postgres")
	space := filepath.Join(pg.Base, "space")
	x.must(os.Mkdir(space, 0o700))
	x.must(os.Chown(space, ownerOf(t, pg.Dir), -1))
	pg.Query("postgres", "CREATE ROLE backup REPLICATION LOGIN")
	pg.Query("postgres", fmt.Sprintf("CREATE TABLESPACE space LOCATION '%s'", space))
	pg.Query("postgres", `CREATE TABLE ledger (id bigint PRIMARY KEY, amount int NOT NULL, sum bigint NOT NULL, note text);
		CREATE UNLOGGED TABLE scratch AS SELECT generate_series(1, 1000) n;
		CREATE TABLE far TABLESPACE space AS SELECT g, repeat(md5(g::text), 5) t FROM generate_series(1, 5000) g`)
	x.must(os.WriteFile(x.path("recipients"), []byte(x.want(0, "keygen", "-o", x.path("key")).out), 0o600))
	x.must(os.WriteFile(x.path("lifeboat.yaml"), fmt.Appendf(nil, "repository: crm\nstate_dir: %s\nkeys: {recipients_file: %s}\nsources:\n  crm: {engine: postgres, dsn: %q}\ntargets:\n  disk: {type: local, path: %s}\n",
		x.path("state"), x.path("recipients"), pg.DSN("backup", "postgres"), x.path("disk")), 0o600))
	x.want(0, "init", "--identity", x.path("key"))
	return x, pg
}

// ledger is a workload whose invariant every consistent state keeps: ids without a gap, each with the sum of all amounts
// before it.
const ledger = `INSERT INTO ledger SELECT coalesce(max(id), 0) + 1, length(%[1]s) %% 97, coalesce((SELECT sum FROM ledger ORDER BY id DESC LIMIT 1), 0) + length(%[1]s) %% 97, repeat(%[1]s, 20) FROM ledger`

// write lets somebody write to the cluster until stop is called, which returns how many transactions there were at least.
func write(t *testing.T, pg *testenv.Postgres) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			sql := fmt.Sprintf(ledger, fmt.Sprintf("'%s'", strings.Repeat("x", 1+i%50)))
			sql += fmt.Sprintf("; UPDATE pgbench_accounts SET abalance = abalance + %d WHERE aid = %d", i, 1+i*7919%200000)
			if _, err := testenv.Query(context.WithoutCancel(ctx), pg.DSN("postgres", "postgres"), sql); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// consistent checks a restored server's ledger, and returns its last id.
func consistent(t *testing.T, query func(string) [][]string) int {
	t.Helper()
	row := query("SELECT count(*), coalesce(max(id), 0), coalesce(sum(amount), 0), coalesce((SELECT sum FROM ledger ORDER BY id DESC LIMIT 1), 0) FROM ledger")[0]
	if row[0] != row[1] || row[2] != row[3] {
		t.Errorf("the ledger is broken: %v", row)
	}
	n, err := strconv.Atoi(row[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// digests are what dump tools would compare: every table's rows, in any order.
func digests(query func(string) [][]string) string {
	var b strings.Builder
	for _, table := range []string{"pgbench_accounts", "pgbench_branches", "pgbench_tellers", "ledger", "far"} {
		fmt.Fprintf(&b, "%s %s\n", table, query("SELECT count(*), md5(string_agg(r, '' ORDER BY r)) FROM (SELECT t::text r FROM " + table + " t) x")[0])
	}
	return b.String()
}

// boot restores with --start and returns how to query the restored server.
func (x *fixture) boot(pg *testenv.Postgres, args ...string) (dir string, query func(string) [][]string) {
	x.t.Helper()
	port := testenv.FreePort(x.t)
	dir, _ = x.started(pg, append([]string{"--port", strconv.Itoa(port)}, args...)...)
	return dir, func(sql string) [][]string {
		x.t.Helper()
		rows, err := testenv.Query(x.t.Context(), fmt.Sprintf("host=%s port=%d user=postgres database=postgres", dir, port), sql)
		x.must(err)
		return rows
	}
}

// started restores with --start, which stops with the test.
func (x *fixture) started(pg *testenv.Postgres, args ...string) (dir string, s said) {
	x.t.Helper()
	dir = filepath.Join(x.t.TempDir(), "restored")
	for d := filepath.Dir(dir); d != os.TempDir(); d = filepath.Dir(d) {
		x.must(os.Chmod(d, 0o755))
	}
	x.t.Cleanup(func() { testenv.StopPostgres(x.t, pg.Bin, dir) })
	return dir, x.want(0, append([]string{"restore", "crm", "--identity", x.path("key"), "--to", dir, "--start", "--engine-bin", pg.Bin}, args...)...)
}

// TestStartedSaysHow does what `restore --start` tells to do, as the user who restored.
func TestStartedSaysHow(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.want(0, "backup", "crm")
	dir, said := x.started(pg, "--port", strconv.Itoa(testenv.FreePort(t)))
	told := regexp.MustCompile(`it runs: connect with (.*); stop it with (.*)\n`).FindStringSubmatch(said.String())
	if told == nil {
		t.Fatal(said)
	}
	for _, command := range []string{told[1] + " -U postgres -c 'SELECT 1' postgres", told[2] + " -m immediate"} {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", "cd / && "+command).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "postmaster.pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it runs on: %v", err)
	}
}

// TestPostgres takes a full and incremental snapshots of a live cluster while somebody writes, and starts what comes back.
func TestPostgres(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"14", "15", "16", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			if version == "15" || soak() {
				snapshots(t, version)
			} else {
				smoke(t, version)
			}
		})
	}
}

// smoke takes a cluster of another version there and back.
func smoke(t *testing.T, version string) {
	x, pg := newCluster(t, testenv.PostgresVersion(t, version))
	x.want(0, "backup", "crm")
	stop := write(t, pg)
	x.want(0, "backup", "crm")
	stop()
	x.want(0, "backup", "crm")
	last := digests(func(sql string) [][]string { return pg.Query("postgres", sql) })
	_, query := x.boot(pg, "--at", "snapshot:s3")
	consistent(t, query)
	if _, query = x.boot(pg); digests(query) != last {
		t.Error("the newest snapshot has other rows")
	}
}

func snapshots(t *testing.T, version string) {
	x, pg := newCluster(t, testenv.PostgresVersion(t, version))
	if version >= "17" {
		pg.Query("postgres", "ALTER SYSTEM SET summarize_wal = on")
		pg.Query("postgres", "SELECT pg_reload_conf()")
	}
	x.want(0, "backup", "crm") // nobody writes: the log ends where the snapshot does
	quiet := digests(func(sql string) [][]string { return pg.Query("postgres", sql) })
	stop := write(t, pg)
	x.want(0, "backup", "crm")
	x.want(0, "backup", "crm", "--full")
	pg.Query("postgres", "DROP TABLE far; CREATE TABLE far AS SELECT 1 g; TRUNCATE pgbench_history")
	pg.Query("postgres", "CREATE DATABASE other")
	if version >= "15" {
		pg.Query("postgres", "CREATE DATABASE another STRATEGY file_copy")
	}
	x.want(0, "backup", "crm")
	stop()
	s := x.want(0, "backup", "crm")
	last := digests(func(sql string) [][]string { return pg.Query("postgres", sql) })

	dir, query := x.boot(pg, "--at", "snapshot:s2")
	if got := digests(query); got != quiet {
		t.Errorf("s2 has other rows:\n%s, not\n%s", got, quiet)
	}
	if got, err := os.Readlink(filepath.Join(dir, "pg_tblspc", query("SELECT oid FROM pg_tablespace WHERE spcname = 'space'")[0][0])); err != nil || !strings.HasPrefix(got, dir+"-tablespaces/") {
		t.Errorf("the tablespace stands in %q (%v)", got, err)
	}
	if n := query("SELECT count(*) FROM scratch")[0][0]; n != "0" {
		t.Errorf("the unlogged table has %s rows", n)
	}
	at := 0
	for _, id := range []string{"s3", "s4", "s5"} {
		_, query := x.boot(pg, "--at", "snapshot:"+id)
		n := consistent(t, query)
		if n <= at {
			t.Errorf("%s has %d transactions, the snapshot before it %d", id, n, at)
		}
		at = n
	}
	dir, query = x.boot(pg)
	if got := digests(query); got != last {
		t.Errorf("the newest snapshot (%s) has other rows:\n%s, not\n%s", s.out, got, last)
	}
	port := query("SHOW port")[0][0]
	pg.Run("pg_amcheck", "-h", dir, "-p", port, "--all", "--install-missing", "--heapallindexed")
	x.want(0, "check", "--identity", x.path("key"))
}

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid) // on Linux
}
