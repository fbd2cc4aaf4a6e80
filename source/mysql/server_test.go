package mysql

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/snapshot"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// levels are what doctor found, by name.
func levels(t *testing.T, s *Source) map[string]snapshot.Finding {
	t.Helper()
	out := map[string]snapshot.Finding{}
	for _, f := range s.Doctor(t.Context()) {
		out[f.Name] = f
	}
	return out
}

// readAll reads a view to its end.
func readAll(ctx context.Context, v snapshot.View, each func(snapshot.Item)) (snapshot.Summary, error) {
	for item, err := range v.Items(ctx) {
		if err != nil {
			return snapshot.Summary{}, err
		}
		if each != nil {
			each(item)
		}
		if _, err := io.Copy(io.Discard, item.Body); err != nil {
			return snapshot.Summary{}, err
		}
	}
	return v.Summary()
}

// TestDoctor says what is missing for a backup, as statements that mend it.
func TestDoctor(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t, "binlog_format=STATEMENT", "sync_binlog=0")
	s := New(m.DSN("backup", ""), "se'cret")
	if f := levels(t, s)["connection"]; f.Level != snapshot.Fail || !strings.Contains(f.Fix, "CREATE USER IF NOT EXISTS 'backup'@'<this host>'") || strings.Contains(f.Detail+f.Fix, "se'cret") {
		t.Errorf("%+v", f)
	}
	m.Query("", "CREATE USER backup@localhost IDENTIFIED BY 'se''cret'")
	f := levels(t, s)["privileges"]
	if f.Level != snapshot.Fail || !strings.Contains(f.Detail, "RELOAD") {
		t.Fatalf("%+v", f)
	}
	m.Query("", strings.TrimSuffix(f.Fix, ";"))
	m.Query("", "CREATE DATABASE crm")
	m.Query("crm", "CREATE TABLE old (a int) ENGINE=MyISAM")
	found := levels(t, s)
	for name, want := range map[string]snapshot.Level{"connection": snapshot.OK, "privileges": snapshot.OK, "mode": snapshot.OK, "log_bin": snapshot.OK, "binlog_format": snapshot.Warn, "binlog_row_image": snapshot.OK,
		"sync_binlog": snapshot.Warn, "innodb_flush_log_at_trx_commit": snapshot.Warn, "engines": snapshot.Warn} {
		if found[name].Level != want {
			t.Errorf("%s: %+v, want %s", name, found[name], want)
		}
	}
	if !strings.Contains(found["mode"].Detail, "physical") {
		t.Errorf("%+v", found["mode"])
	}
	for _, dsn := range []string{"crm", "postgres://x@y/z", "mysql:///crm", "mysql://x@y/z?ssl-mode=perhaps", "mysql://x:hush@y/z?pass=hush", "mysql://a:hush@%zz/"} {
		if f := levels(t, New(dsn, ""))["dsn"]; f.Level != snapshot.Fail || strings.Contains(f.Detail, "hush") {
			t.Errorf("%s: %+v", dsn, f)
		}
	}
	m.Kill()
	if f := levels(t, s)["connection"]; f.Level != snapshot.Fail || !strings.Contains(f.Fix, "is the server running") {
		t.Errorf("%+v", f)
	}
}

// TestBeside takes no files of a server that is not the one which answers at the DSN, wherever its socket stands.
func TestBeside(t *testing.T) {
	t.Parallel()
	m, other := testenv.StartMariaDB(t), testenv.StartMariaDB(t)
	s := New(m.DSN("root", ""), "")
	open := func() error {
		v, err := s.Open(t.Context(), nil)
		if err == nil {
			return v.Close()
		}
		return err
	}
	must(t, open())
	// At the path of its socket another server listens, as in a container, or at the near end of a tunnel.
	must(t, os.Rename(m.Socket(), m.Socket()+".away"))
	must(t, os.Symlink(other.Socket(), m.Socket()))
	s.Mode = Physical
	if err := open(); !errors.Is(err, ErrRemote) || !strings.Contains(err.Error(), "another server listens") {
		t.Errorf("the files of another server are read: %v", err)
	}
	must(t, os.Remove(m.Socket()))
	if err := open(); !errors.Is(err, ErrRemote) {
		t.Errorf("there is no socket: %v", err)
	}
	s.Mode = Auto
	if f := levels(t, s)["mode"]; f.Level != snapshot.OK || !strings.Contains(f.Detail, "logical") || !strings.Contains(f.Detail, "not physical: ") {
		t.Errorf("%+v", f)
	}
}

// TestTools refuses programs of another series than the server's, and says what is there.
func TestTools(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "mariadb-backup"), []byte("#!/bin/sh\necho 'mariadb-backup based on MariaDB server 11.4.2-MariaDB Linux (x86_64)' >&2\n"), 0o755))
	of, err := parseVersion("10.11.19-MariaDB-0+deb12u1-log")
	must(t, err)
	if path, err := findTool(t.Context(), backupPrograms, of, dir); !errors.Is(err, ErrTool) || !strings.Contains(err.Error(), "of MariaDB 11.4") {
		t.Errorf("%s %v", path, err)
	}
	if path, err := findTool(t.Context(), backupPrograms, of, t.TempDir()); !errors.Is(err, ErrTool) || !strings.Contains(err.Error(), "found: none") {
		t.Errorf("%s %v", path, err)
	}
	if path, err := findTool(t.Context(), backupPrograms, of); err != nil || filepath.Base(path) != "mariadb-backup" {
		t.Errorf("%s %v", path, err)
	}
}

// TestPhysicalEnds ends the server, the program and the wish in the midst of a backup: that is an error which says so, and nothing runs on.
func TestPhysicalEnds(t *testing.T) {
	t.Parallel()
	for what, strike := range map[string]func(m *testenv.MariaDB, v *physical, cancel func()){
		"server":  func(m *testenv.MariaDB, _ *physical, _ func()) { m.Kill() },
		"program": func(_ *testenv.MariaDB, v *physical, _ func()) { _ = v.tool.cmd.Process.Kill() },
		"wish":    func(_ *testenv.MariaDB, _ *physical, cancel func()) { cancel() },
		"nothing": func(*testenv.MariaDB, *physical, func()) {},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := testenv.StartMariaDB(t)
			m.Query("", "CREATE DATABASE crm")
			m.Query("crm", "CREATE TABLE customer AS SELECT seq id, REPEAT(MD5(seq), 20) note FROM seq_1_to_50000")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := New(m.DSN("root", ""), "")
			s.TempDir = t.TempDir()
			opened, err := s.Open(ctx, nil)
			must(t, err)
			v := opened.(*physical)
			pid, struck := v.tool.cmd.Process.Pid, false
			_, err = readAll(ctx, v, func(i snapshot.Item) {
				if strings.HasSuffix(i.Name, ".ibd") && !struck {
					struck = true
					time.Sleep(100 * time.Millisecond)
					strike(m, v, cancel)
				}
			})
			t.Log(err)
			if (err == nil) != (what == "nothing") || !struck {
				t.Errorf("%v", err)
			}
			if what == "wish" && !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			must(t, v.Close())
			if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the program runs on: %v", err)
			}
			if left, err := os.ReadDir(s.TempDir); err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}

// TestPhysicalNoLog tells where the server keeps no binary log.
func TestPhysicalNoLog(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t, "skip_log_bin")
	v, err := New(m.DSN("root", ""), "").Open(t.Context(), nil)
	must(t, err)
	sum, err := readAll(t.Context(), v, nil)
	must(t, err)
	must(t, v.Close())
	if !sum.To.IsZero() || len(sum.Findings) != 1 || sum.Findings[0].Name != noBinlog.Name {
		t.Errorf("%+v", sum)
	}
}

// TestLayout takes no physical snapshot of a server whose files are not all in its data directory: what comes back would lead to the original's.
func TestLayout(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t)
	outside := filepath.Join(m.Base, "outside")
	m.Run("mkdir", outside)
	m.Query("", "CREATE DATABASE crm")
	m.Query("crm", "CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB DATA DIRECTORY='"+outside+"'")
	s := New(m.DSN("root", ""), "")
	if f := levels(t, s)["mode"]; !strings.Contains(f.Detail, "logical") || !strings.Contains(f.Detail, outside) {
		t.Errorf("%+v", f)
	}
	s.Mode = Physical
	if _, err := s.Open(t.Context(), nil); !errors.Is(err, ErrLayout) {
		t.Errorf("%v", err)
	}
	m.Query("crm", "DROP TABLE t")
	v, err := s.Open(t.Context(), nil)
	must(t, err)
	m.Query("crm", "CREATE TABLE u (a INT PRIMARY KEY) ENGINE=InnoDB DATA DIRECTORY='"+outside+"'") // while it is taken
	if _, err := readAll(t.Context(), v, nil); err != nil && !errors.Is(err, ErrLayout) {
		t.Error(err)
	}
	must(t, v.Close())
	for _, value := range []string{"/var/lib/mysql/ibdata1:12M:autoextend", "a b", "x\ny=1", ""} {
		if plainValue(value) {
			t.Errorf("%q comes into the configuration of a restored server", value)
		}
	}
}
