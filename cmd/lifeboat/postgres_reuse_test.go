//go:build linux && amd64

package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/restore"
)

// TestPostgresReuse restores over a cluster that went on, was damaged and tampered with: it becomes what a restore into an empty
// directory brings, from a small part of the bytes.
func TestPostgresReuse(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	pg.Query("postgres", "CREATE TABLE gone AS SELECT g, repeat('x', 500) t FROM generate_series(1, 3000) g; CREATE TABLE cut AS SELECT * FROM gone; CREATE TABLE grown AS SELECT * FROM gone LIMIT 100")
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	add(pg, 3)
	point := pg.Query("postgres", "SELECT xmin FROM ledger WHERE id = 3")[0][0]
	add(pg, 2)
	x.caught(pg)
	end(syscall.SIGTERM)
	to := "xid:" + point

	dir, query := x.boot(pg)
	if n := consistent(t, query); n != 5 {
		t.Fatalf("%d entries came back, not 5", n)
	}
	if s := x.want(4, "restore", "crm", "--identity", x.path("key"), "--to", dir, "--reuse", "--yes"); !strings.Contains(s.err, "a server runs there") {
		t.Error(s)
	}
	far := dir + "-more"
	x.must(os.Mkdir(far, 0o700))
	x.must(os.Chown(far, ownerOf(t, pg.Dir), -1))
	port := query("SHOW port")[0][0]
	for _, sql := range []string{
		"UPDATE pgbench_accounts SET abalance = 7 WHERE aid < 200", "UPDATE far SET t = 'near' WHERE g < 50", "CREATE TABLE young AS SELECT * FROM far", "DROP TABLE gone",
		"TRUNCATE cut", "INSERT INTO grown SELECT g, repeat('y', 900) FROM generate_series(1, 5000) g", "CREATE DATABASE other",
		fmt.Sprintf("CREATE TABLESPACE more LOCATION '%s'", far), "CREATE TABLE there TABLESPACE more AS SELECT 1",
	} {
		query(sql)
	}
	testenv.StopPostgres(t, pg.Bin, dir)
	victim := x.tamper(t, dir)

	fresh := filepath.Join(filepath.Dir(dir), "fresh")
	x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", fresh, "--at", to, "--port", port)
	again := []string{"restore", "crm", "--identity", x.path("key"), "--to", dir, "--at", to, "--reuse", "--port", port}
	before := tree(t, dir)
	if s := x.want(4, again...); !strings.Contains(s.err, "repeat with --yes") {
		t.Error(s)
	}
	dry := x.plan(append(again, "--dry-run")...)
	if after := tree(t, dir); after != before {
		t.Errorf("asking and planning changed the directory:\n%s, not\n%s", after, before)
	}
	done := x.plan(append(again, "--yes")...)
	if dry.Reused != done.Reused || dry.Fetch != done.Fetch || dry.Removed != done.Removed || len(dry.Needs) != len(done.Needs) {
		t.Errorf("planned %+v, did %+v", dry, done)
	}
	t.Logf("%d bytes of %d were there, %d in pieces, %d fetched, %d files removed", done.Reused, done.Data, done.Pieces, done.Fetch, done.Removed)
	whole := x.plan("restore", "crm", "--identity", x.path("key"), "--at", to, "--dry-run")
	if done.Reused < done.Data*3/4 || done.Fetch > whole.Fetch/2 || done.Removed == 0 {
		t.Errorf("%+v: too little is reused of %+v", done, whole)
	}
	equal := func() {
		t.Helper()
		for _, suffix := range []string{"", "-tablespaces"} {
			if got, want := tree(t, dir+suffix), tree(t, fresh+suffix); got != strings.ReplaceAll(want, fresh, dir) {
				t.Errorf("a fresh restore is\n%s, the other\n%s", want, got)
			}
		}
	}
	equal()
	x.start(pg, dir, query)
	query("UPDATE pgbench_accounts SET abalance = 9 WHERE aid < 5000; INSERT INTO far SELECT * FROM far; DROP TABLE grown")
	pg.Run("pg_ctl", "stop", "-D", dir, "-m", "fast", "-w", "-s")
	x.tamper(t, dir)
	x.killReuse(t, pg, dir, tree(t, dir), append(again, "--yes"))
	equal()
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("a file outside was changed: %q, %v", b, err)
	}
	if left, err := os.ReadDir(far); err != nil || len(left) == 0 {
		t.Errorf("what the snapshot does not have was removed outside of the directory: %v", err)
	}
	x.want(0, append(again, "--yes", "--start", "--engine-bin", pg.Bin)...)
	if n := consistent(t, query); n != 3 {
		t.Errorf("%d entries came back, not 3", n)
	}
}

// TestPostgresReuseRefused asks for what must not be overwritten: nothing changes.
func TestPostgresReuseRefused(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	dir, far := x.path("restored"), filepath.Join(pg.Base, "space")
	refuse := func(to string, says string, args ...string) {
		t.Helper()
		s := x.run(append([]string{"restore", "crm", "--identity", x.path("key"), "--to", to, "--reuse", "--yes"}, args...)...)
		if s.code != 4 || !strings.Contains(s.err, says) {
			t.Errorf("want 4 and %q: %s", says, s)
		}
	}
	refuse(pg.Dir, "a server runs there")
	refuse(dir, "it has no PG_VERSION")
	x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", dir)
	before := tree(t, dir) + tree(t, dir+"-tablespaces")
	oid := pg.Query("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'space'")[0][0]
	refuse(dir, "say --tablespace "+oid+"="+dir+"-tablespaces/"+oid, "--tablespace", oid+"="+x.path("elsewhere"))

	link, space := filepath.Join(dir, "pg_tblspc", oid), filepath.Join(dir+"-tablespaces", oid)
	x.must(errors.Join(os.Remove(link), os.Symlink(far, link)))
	refuse(dir, "its tablespace "+oid+" stands in "+far)
	x.must(os.Remove(link))
	refuse(dir, "does not name it as tablespace "+oid)
	x.must(os.Symlink(space, link))
	x.put([]byte("another's"), "restored-tablespaces", oid, "PG_14_202107181")
	refuse(dir, "PG_14_202107181 is in it")
	x.put(nil, "restored-tablespaces", oid, "PG_14_202107181")

	control := x.read("restored", "global", "pg_control")
	x.put(append([]byte{^control[0]}, control[1:]...), "restored", "global", "pg_control")
	refuse(dir, "and the snapshot is of cluster")
	x.put(control[:4], "restored", "global", "pg_control")
	refuse(dir, "does not tell which cluster")
	x.put(control, "restored", "global", "pg_control")
	x.put([]byte("1\n"), "restored", "postmaster.pid")
	refuse(dir, "a server runs there, process 1")
	x.put(nil, "restored", "postmaster.pid")
	if after := tree(t, dir) + tree(t, dir+"-tablespaces"); after != before {
		t.Errorf("what was refused changed the directory:\n%s, not\n%s", after, before)
	}
	wal := filepath.Join(t.TempDir(), "wal")
	x.must(errors.Join(os.Rename(filepath.Join(dir, "pg_wal"), wal), os.Symlink(wal, filepath.Join(dir, "pg_wal"))))
	if s := x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", dir, "--reuse", "--dry-run"); !strings.Contains(s.err, wal+" stays there") {
		t.Error(s)
	}
	x.small("1m", "restored/disk")
	refuse(dir, "disk is another file system")
}

// tamper damages a stopped cluster, and puts links where they could lead a restore astray. It returns a file that they lead to.
func (x *fixture) tamper(t *testing.T, dir string) (victim string) {
	t.Helper()
	victim = x.path("victim")
	x.put([]byte("precious"), "victim")
	var files []string
	x.must(filepath.WalkDir(filepath.Join(dir, "base"), func(path string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); err == nil && ierr == nil && info.Mode().IsRegular() && info.Size() >= 1<<14 {
			files = append(files, path)
		}
		return err
	}))
	damaged, linked, hard := files[0], files[len(files)/2], files[len(files)-1]
	b, err := os.ReadFile(damaged)
	x.must(err)
	x.must(os.WriteFile(damaged, spoil("random:1", b), 0o600))
	x.must(errors.Join(os.Remove(linked), os.Symlink(victim, linked)))
	x.must(errors.Join(os.Remove(hard), os.Link(victim, hard)))
	xact := filepath.Join(t.TempDir(), "pg_xact")
	x.must(errors.Join(os.Rename(filepath.Join(dir, "pg_xact"), xact), os.Symlink(xact, filepath.Join(dir, "pg_xact"))))
	x.must(os.Mkdir(filepath.Join(dir, "base", "PG_VERSION"), 0o700))
	x.must(syscall.Mkfifo(filepath.Join(dir, "base", "pipe"), 0o600))
	return victim
}

// plan runs a restore and returns what it planned.
func (x *fixture) plan(args ...string) restore.Plan {
	x.t.Helper()
	var row restoreRow
	x.must(json.Unmarshal([]byte(x.want(0, append(args, "--json")...).out), &row))
	return row.Plan
}

// tree says of everything below a directory what it is.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path) // it is below
		var content any
		switch st, ok := info.Sys().(*syscall.Stat_t); {
		case !ok:
			return fs.ErrInvalid
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%d %x %d", st.Uid, sha256.Sum256(text), len(text))
			if strings.Contains(name, "/PG_VERSION") {
				content = fmt.Sprint(content, info.ModTime())
			}
		case info.Mode().Type() == fs.ModeSymlink:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		default:
			content = st.Uid
		}
		fmt.Fprintf(&b, "%s %s %v\n", name, info.Mode(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// start starts a restored cluster and waits until it takes changes.
func (x *fixture) start(pg *testenv.Postgres, dir string, query func(string) [][]string) {
	x.t.Helper()
	pg.Run("pg_ctl", "start", "-D", dir, "-w", "-s", "-l", filepath.Join(pg.Base, "restored.log"))
	for range 600 {
		if query("SELECT pg_is_in_recovery()")[0][0] == "f" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	x.t.Fatalf("the cluster in %s does not open", dir)
}
