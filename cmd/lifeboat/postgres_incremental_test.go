package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/testenv"
)

// TestPostgresIncremental takes one state as what the server says has changed and as everything it has: both are the same, page
// by page.
func TestPostgresIncremental(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"17", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			increments(t, version)
		})
	}
}

func increments(t *testing.T, version string) {
	x, pg := newCluster(t, testenv.PostgresVersion(t, version))
	pg.Query("postgres", "ALTER SYSTEM SET autovacuum = off") // nothing changes between the snapshots that are compared
	pg.Query("postgres", "SELECT pg_reload_conf()")
	x.want(0, "backup", "crm")
	if version == "17" { // with the log captured, however soon the server drops it; else it is to keep some
		x.real = true
		end := x.stream()
		defer end(syscall.SIGTERM)
		x.streaming(pg)
	} else {
		pg.Query("postgres", "ALTER SYSTEM SET wal_keep_size = '1GB'")
	}
	x.want(0, "backup", "crm")
	if read := x.bytesRead(t, "s3"); read < 50<<20 {
		t.Errorf("without summaries %d bytes were read", read)
	}
	pg.Query("postgres", "ALTER SYSTEM SET summarize_wal = on")
	pg.Query("postgres", "SELECT pg_reload_conf()")
	for _, sql := range []string{
		"CREATE TABLE grown AS SELECT g, repeat('x', 500) t FROM generate_series(1, 3000) g",
		"CREATE TABLE cut AS SELECT g, repeat('y', 500) t FROM generate_series(1, 3000) g",
		"CREATE TABLE gone AS SELECT 1 g",
		"CREATE TABLE empty (g int)",
	} {
		pg.Query("postgres", sql)
	}
	x.want(0, "backup", "crm")
	for _, sql := range []string{
		"INSERT INTO grown SELECT g, repeat('x', 500) t FROM generate_series(1, 9000) g",
		"DELETE FROM cut WHERE g > 100",
		"VACUUM cut",
		"INSERT INTO cut SELECT g, 'z' FROM generate_series(1, 10) g",
		"DROP TABLE gone",
		"INSERT INTO empty VALUES (1)",
		"CREATE TABLE young AS SELECT * FROM pgbench_accounts LIMIT 1000",
		"UPDATE pgbench_accounts SET abalance = 7 WHERE aid % 9000 = 5",
		"UPDATE far SET t = 'near' WHERE g < 50",
		"CREATE DATABASE other",
	} {
		pg.Query("postgres", sql)
	}
	x.want(0, "backup", "crm")
	pg.Query("postgres", "VACUUM FULL pgbench_accounts")
	pg.Query("postgres", "UPDATE pgbench_accounts SET abalance = 8 WHERE aid % 9000 = 6")
	pg.Query("postgres", "TRUNCATE grown")
	for range 4 {
		pg.Query("postgres", "SELECT pg_switch_wal()")
		pg.Query("postgres", "UPDATE far SET t = 'far' WHERE g = 7")
		pg.Query("postgres", "CHECKPOINT")
	}
	if x.real {
		x.caught(pg)
	}
	some := x.want(0, "backup", "crm")
	x.want(0, "backup", "crm", "--full")
	if strings.Contains(some.err, "warning") {
		t.Error(some)
	}
	if read, all := x.bytesRead(t, "s5"), x.bytesRead(t, "s7"); read > all/2 {
		t.Errorf("%d of %d bytes were read", read, all)
	}
	dirs := [2]string{filepath.Join(t.TempDir(), "some"), filepath.Join(t.TempDir(), "all")}
	for i, id := range []string{"s6", "s7"} {
		x.want(0, "restore", "crm", "--identity", x.path("key"), "--at", "snapshot:"+id, "--to", dirs[i])
	}
	samePages(t, dirs[0], dirs[1])
	samePages(t, dirs[0]+"-tablespaces", dirs[1]+"-tablespaces")
	_, query := x.boot(pg, "--at", "snapshot:s6")
	if got, want := digests(query), digests(func(sql string) [][]string { return pg.Query("postgres", sql) }); got != want {
		t.Errorf("the increment has other rows:\n%s, not\n%s", got, want)
	}
	pg.Run("pg_amcheck", "-h", strings.TrimSpace(query("SHOW data_directory")[0][0]), "-p", query("SHOW port")[0][0], "--all", "--install-missing", "--heapallindexed")
	x.want(0, "check", "--identity", x.path("key"))
}

// bytesRead is how many bytes a snapshot read from its source.
func (x *fixture) bytesRead(t *testing.T, id string) (n int64) {
	t.Helper()
	var rows []snapshotRow
	if err := json.Unmarshal([]byte(x.want(0, "snapshots", "crm", "--json", "--identity", x.path("key")).out), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.ID == id {
			n = r.Read
		}
	}
	return n
}

// samePages compares the relations in two directories, page by page.
func samePages(t *testing.T, a, b string) {
	t.Helper()
	pages := 0
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		err := filepath.WalkDir(pair[0], func(path string, d fs.DirEntry, err error) error {
			name, _ := filepath.Rel(pair[0], path) // it is below
			if err != nil || !d.Type().IsRegular() || !strings.HasPrefix(name, "base/") && !strings.HasPrefix(name, "global/") && !strings.Contains(name, "/PG_") || name == "global/pg_control" {
				return err
			}
			one, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			other, err := os.ReadFile(filepath.Join(pair[1], name))
			if err != nil {
				return err
			}
			if len(one) != len(other) {
				t.Errorf("%s has %d bytes, and %d", name, len(one), len(other))
			}
			for at := 0; at+8192 <= min(len(one), len(other)); at += 8192 {
				if pages++; !bytes.Equal(one[at:at+8192], other[at:at+8192]) {
					t.Errorf("%s: page %d differs", name, at/8192)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if pages < 200 {
		t.Error(fmt.Sprint(pages, " pages were compared"))
	}
}
