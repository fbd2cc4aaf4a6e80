package mysql

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/cell"
	"lifeboat/internal/testenv"
	"lifeboat/restore"
)

// restored starts what a server left as a drill would.
func restored(t *testing.T, m *testenv.MariaDB) *Restored {
	t.Helper()
	m.Stop()
	of, err := parseVersion("10.11.0-MariaDB")
	must(t, err)
	l := &Lab{}
	l.Programs.server, err = findTool(t.Context(), serverPrograms, of)
	must(t, err)
	if os.Geteuid() == 0 {
		info, err := os.Stat(m.Dir)
		must(t, err)
		st := info.Sys().(*syscall.Stat_t) // on Linux
		l.Owner = &restore.Owner{UID: int(st.Uid), GID: int(st.Gid)}
	}
	config := filepath.Join(m.Dir, configFile)
	must(t, os.WriteFile(config, []byte("[mariadbd]\n"), 0o644))
	db, err := l.Start(t.Context(), m.Dir)
	must(t, err)
	d := db.(*Restored)
	t.Cleanup(func() {
		left, err := d.Stop(context.Background())
		if left > 0 || err != nil || len(cell.Left(m.Dir)) > 0 {
			t.Errorf("%d processes are left, %v", left, err)
		}
	})
	return d
}

// TestLabQuery puts statements to a restored server that a policy must not have: none changes anything, and each ends.
func TestLabQuery(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t)
	m.Query("", "CREATE DATABASE crm")
	m.Query("crm", "CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(20)) ENGINE=InnoDB")
	m.Query("crm", "CREATE TABLE old (a INT) ENGINE=MyISAM")
	m.Query("crm", "INSERT INTO t VALUES (1, 'secret'), (2, NULL)")
	m.Query("crm", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO old VALUES (1); RETURN 1; END")
	d := restored(t, m)
	for sql, want := range map[string]string{"SELECT COUNT(*) FROM t": "2", "SELECT b FROM t WHERE a = 1": "secret", "SELECT 1.50": "1.50", "SELECT NOW() > '2020-01-01'": "1", "SELECT x'00ff'": "\x00\xff"} {
		if got, null, err := d.Query(t.Context(), sql); got != want || null || err != nil {
			t.Errorf("%s: %q %t %v", sql, got, null, err)
		}
	}
	if _, null, err := d.Query(t.Context(), "SELECT b FROM t WHERE a = 2"); !null || err != nil {
		t.Errorf("NULL: %t %v", null, err)
	}
	before, err := d.Digest(t.Context(), "crm.t", 1)
	must(t, err)
	for sql, why := range map[string]string{
		"DELETE FROM t": "may only read", "INSERT INTO old VALUES (1)": "may only read", "SELECT f()": "may only read", "DROP TABLE t": "may only read", "CREATE TABLE u (a INT)": "may only read", "TRUNCATE t": "may only read",
		"SET GLOBAL max_connections = 5": "may only read", "SHUTDOWN": "may only read", "KILL 1": "", "FLUSH TABLES": "may only read", "SELECT 1 INTO OUTFILE '/tmp/lifeboat-test-out'": "may only read",
		"SELECT 1; SELECT 2": "", "/*! DROP TABLE t */": "may only read", "COMMIT; DROP TABLE t": "", "SELECT 1 FROM t": "more than one row", "SELECT 1 FROM t WHERE a = 9": "no row", "SELECT REPEAT('x', 70000)": "more than 65536 bytes",
		"SELECT * FROM gone": "", "SELECT SLEEP(60)": "did not end in time", "SELECT COUNT(*) FROM seq_1_to_1000000000 a, seq_1_to_1000000000 b": "did not end in time",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		began := time.Now()
		got, _, err := d.Query(ctx, sql)
		if cancel(); err == nil || !strings.Contains(err.Error(), why) || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %q, %v after %s", sql, got, err, time.Since(began))
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s shows what is in a table: %v", sql, err)
		}
	}
	if got, null, err := d.Query(t.Context(), "SELECT LOAD_FILE('/etc/passwd')"); !null || err != nil {
		t.Errorf("a file of the host: %q %v", got, err)
	}
	after, err := d.Digest(t.Context(), "crm.t", 1)
	if must(t, err); after != before {
		t.Error("the table has changed")
	}
	if n, err := d.Count(t.Context(), "crm.old"); n != 0 || err != nil {
		t.Errorf("%d rows came, %v", n, err)
	}
	if _, err := d.Count(t.Context(), "crm.gone"); err == nil {
		t.Error("a table that is not there was counted")
	}
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err != nil || os.Geteuid() == 0 && d.Isolation().User == u.Username {
		t.Errorf("it runs as %s", d.Isolation().User)
	}
}

// TestLabDigest tells other rows from the same in another order, whatever is in them.
func TestLabDigest(t *testing.T) {
	t.Parallel()
	m := testenv.StartMariaDB(t)
	m.Query("", "CREATE DATABASE crm")
	for name, rows := range map[string]string{"a": "(1, 'x', NULL, x'00'), (2, '', 1.5, NULL)", "same": "(2, '', 1.5, NULL), (1, 'x', NULL, x'00')", "other": "(2, NULL, 1.5, ''), (1, 'x', NULL, x'00')", "twice": "(1, 'x', NULL, x'00'), (2, '', 1.5, NULL), (2, '', 1.5, NULL)"} {
		m.Query("crm", "CREATE TABLE "+name+" (i INT, t TEXT, r DOUBLE, b LONGBLOB)")
		m.Query("crm", "INSERT INTO "+name+" VALUES "+rows)
	}
	m.Query("crm", "CREATE TABLE large AS SELECT seq, REPEAT('x', 15000000) v FROM seq_1_to_6") // together more than any packet
	d := restored(t, m)
	sums := map[string]string{}
	for _, name := range []string{"a", "same", "other", "twice", "large"} {
		sum, err := d.Digest(t.Context(), "crm."+name, 1)
		must(t, err)
		sums[name] = sum
	}
	if sums["a"] != sums["same"] || sums["a"] == sums["other"] || sums["a"] == sums["twice"] {
		t.Errorf("%v", sums)
	}
	part, err := d.Digest(t.Context(), "crm.large", 0)
	if again, err2 := d.Digest(t.Context(), "crm.large", 0); part != again || part == sums["large"] || errors.Join(err, err2) != nil {
		t.Errorf("%s %s %v %v", part, again, err, err2)
	}
	how, faults, err := d.Integrity(t.Context())
	if err != nil || len(faults) > 0 || !strings.Contains(how, "CHECK TABLE of ") {
		t.Errorf("%s %v %v", how, faults, err)
	}
}
