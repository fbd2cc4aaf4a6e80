package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// mariaGrants are what `doctor` asks for.
const mariaGrants = "GRANT SELECT, RELOAD, PROCESS, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT, BINLOG MONITOR, REPLICATION SLAVE ON *.* TO backup@localhost"

// newMariaDB is a repository with a server that has a ledger and a business.
func newMariaDB(t *testing.T, mode string, lines ...string) (*fixture, *testenv.MariaDB) {
	t.Helper()
	m := testenv.StartMariaDB(t, lines...)
	x := &fixture{t: t, dir: t.TempDir()}
	x.must(os.Chmod(filepath.Dir(x.dir), 0o755))
	x.must(os.Chmod(x.dir, 0o755)) // for the restored server
	m.Query("", "CREATE DATABASE crm")
	m.Query("crm", "CREATE TABLE ledger (id BIGINT PRIMARY KEY, amount INT NOT NULL, sum BIGINT NOT NULL, note TEXT) ENGINE=InnoDB")
	m.Query("crm", "CREATE TABLE customer AS SELECT seq id, REPEAT(MD5(seq), 10) note FROM seq_1_to_50000")
	m.Query("crm", "ALTER TABLE customer ADD PRIMARY KEY (id)")
	m.Query("", "CREATE USER backup@localhost IDENTIFIED BY 'top \"secret'")
	m.Query("", mariaGrants)
	x.must(os.WriteFile(x.path("password"), []byte("top \"secret\n"), 0o600))
	x.must(os.WriteFile(x.path("recipients"), []byte(x.want(0, "keygen", "-o", x.path("key")).out), 0o600))
	x.must(os.WriteFile(x.path("lifeboat.yaml"), fmt.Appendf(nil, "repository: crm\nstate_dir: %s\nkeys: {recipients_file: %s}\nsources:\n  crm: {engine: mysql, dsn: %q, password_file: %s, mode: %s}\ntargets:\n  disk: {type: local, path: %s}\n",
		x.path("state"), x.path("recipients"), m.DSN("backup", "crm"), x.path("password"), mode, x.path("disk")), 0o600))
	x.want(0, "init", "--identity", x.path("key"))
	return x, m
}

// mariaLedger adds a row whose sum is that of all amounts before it, in one transaction with a change elsewhere.
func mariaLedger(query func(string, string) [][]string, i int) {
	query("crm", fmt.Sprintf("INSERT INTO ledger SELECT COALESCE(MAX(id), 0) + 1, %[1]d, COALESCE((SELECT sum FROM ledger ORDER BY id DESC LIMIT 1), 0) + %[1]d, REPEAT('x', %[1]d) FROM ledger", i%97))
	query("crm", fmt.Sprintf("UPDATE customer SET note = REPEAT(MD5(%d), 10) WHERE id = %d", i, 1+i*7919%50000))
}

// mariaWrites lets somebody write until stop is called, which returns how many rows the ledger has.
func mariaWrites(t *testing.T, m *testenv.MariaDB) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			mariaLedger(m.Query, n)
		}
		done <- n
	}()
	return func() int { cancel(); return <-done }
}

// mariaDigests are of every table of a business.
func mariaDigests(query func(database, sql string) [][]string, database string) string {
	var names []string
	for _, r := range query("", "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA = '"+database+"' ORDER BY 1") {
		names = append(names, "`"+strings.ReplaceAll(r[0], "`", "``")+"`")
	}
	return fmt.Sprint(query(database, "CHECKSUM TABLE "+strings.Join(names, ", ")+" EXTENDED"))
}

// sailed restores with --start, and returns how to query the restored server.
func (x *fixture) sailed(args ...string) (dir string, query func(database, sql string) [][]string) {
	x.t.Helper()
	dir = filepath.Join(x.t.TempDir(), "restored # to here "+strings.Repeat("x", 90))
	for d := filepath.Dir(dir); d != os.TempDir(); d = filepath.Dir(d) {
		x.must(os.Chmod(d, 0o755))
	}
	more := []string{"restore", "crm", "--identity", x.path("key"), "--to", dir, "--start"}
	if os.Geteuid() == 0 {
		more = append(more, "--owner", "postgres") // whom the server's package would make is not here
	}
	said := x.want(0, append(more, args...)...)
	told := regexp.MustCompile(`it runs as process (\d+): connect with (?:cd .* && )?mariadb --socket=(.+), as a user.*; stop it with kill (\d+)\n`).FindStringSubmatch(said.String())
	if told == nil || told[1] != told[3] {
		x.t.Fatal(said)
	}
	link := filepath.Join(x.t.TempDir(), "r") // the path is too long for the address of a socket
	x.must(os.Symlink(dir, link))
	pid, err := strconv.Atoi(told[1])
	x.must(err)
	x.t.Cleanup(func() { x.stopped(pid) })
	return dir, func(database, sql string) [][]string {
		x.t.Helper()
		rows, err := testenv.QueryMariaDB(filepath.Join(link, filepath.Base(told[2])), database, sql)
		x.must(err)
		return rows
	}
}

// stopped ends a restored server as the message says.
func (x *fixture) stopped(pid int) {
	x.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		x.t.Error(err)
	}
	for range 600 {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.t.Errorf("process %d runs on", pid)
}

// balanced checks a restored ledger, and returns how many rows it has.
func balanced(t *testing.T, query func(string, string) [][]string) int {
	t.Helper()
	row := query("crm", "SELECT COUNT(*), COALESCE(MAX(id), 0), COALESCE(SUM(amount), 0), COALESCE((SELECT sum FROM ledger ORDER BY id DESC LIMIT 1), 0) FROM ledger")[0]
	if row[0] != row[1] || row[2] != row[3] {
		t.Errorf("the ledger is broken: %v", row)
	}
	n, err := strconv.Atoi(row[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMariaDB takes a full and an incremental snapshot of a live server while somebody writes, and starts what comes back.
func TestMariaDB(t *testing.T) {
	t.Parallel()
	x, m := newMariaDB(t, "physical")
	if path := chinook(t, "Chinook_MySql.sql"); path != "" {
		m.Load(path)
	} else {
		m.Query("", "CREATE DATABASE Chinook")
		m.Query("Chinook", "CREATE TABLE Album AS SELECT seq id FROM seq_1_to_100")
	}
	want := mariaDigests(m.Query, "Chinook")
	stop := mariaWrites(t, m)
	full := x.row()
	least := balanced(t, m.Query)
	incremental := x.row()
	most := stop()
	if full.Kind != "full" || incremental.Kind != "incremental" || incremental.Stored*3 > full.Stored {
		t.Errorf("full: %+v; incremental: %+v", full, incremental)
	}
	m.Kill()
	dir, query := x.sailed("--at", "snapshot:"+full.ID)
	first := balanced(t, query)
	if got := mariaDigests(query, "Chinook"); got != want {
		t.Errorf("other digests:\n%s\n%s", got, want)
	}
	_, query = x.sailed()
	if second := balanced(t, query); first > least || second < least || second > most {
		t.Errorf("%d rows in the full one, %d in the incremental one; %d were there between them, %d in the end", first, second, least, most)
	}
	if got := query("", "SELECT CONCAT(@@skip_networking, @@log_bin, @@event_scheduler)")[0][0]; got != "ONOFFOFF" {
		t.Errorf("the restored server: %s", got)
	}
	entries, err := os.ReadDir(dir)
	x.must(err)
	if i := slices.IndexFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".lifeboat") }); i >= 0 {
		t.Errorf("left: %s", entries[i])
	}
}

// TestMariaDBLogical takes SQL of a live server from anywhere, stores little of what did not change, and loads it into a new server with accounts, routines and all.
func TestMariaDBLogical(t *testing.T) {
	t.Parallel()
	x, m := newMariaDB(t, "logical")
	if path := chinook(t, "Chinook_MySql.sql"); path != "" {
		m.Load(path)
	} else {
		m.Query("", "CREATE DATABASE Chinook")
		m.Query("Chinook", "CREATE TABLE Album AS SELECT seq id FROM seq_1_to_100")
	}
	m.Query("", "CREATE DATABASE `strange-\u00e4 name`")
	for _, sql := range []string{"CREATE TABLE `a``b` (id INT PRIMARY KEY, t TEXT CHARACTER SET utf8mb4, b BLOB, g INT AS (id * 2) VIRTUAL)", "INSERT INTO `a``b` (id, t, b) VALUES (1, '\u5ba2\u6237 \U0001F6F6 \\\\ '' \n', x'00ff0a1a')", "CREATE VIEW v AS SELECT COUNT(*) n FROM `a``b`",
		"CREATE PROCEDURE p() SELECT 7", "CREATE TRIGGER tr BEFORE INSERT ON `a``b` FOR EACH ROW SET NEW.t = 'by trigger'", "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO SELECT 1", "CREATE SEQUENCE sq START WITH 41", "CREATE TABLE old (a INT) ENGINE=MyISAM"} {
		m.Query("strange-\u00e4 name", sql)
	}
	m.Query("", "CREATE USER 'app'@'%' IDENTIFIED BY 'x'")
	m.Query("", "GRANT SELECT ON crm.* TO 'app'@'%'")
	want := mariaDigests(m.Query, "Chinook") + mariaDigests(m.Query, "strange-\u00e4 name")
	stop := mariaWrites(t, m)
	full := x.row()
	least := balanced(t, m.Query)
	x.want(0, "backup", "crm")
	most := stop()
	x.row()
	m.Query("crm", "UPDATE customer SET note = 'changed' WHERE id = 25000")
	m.Query("crm", "DELETE FROM customer WHERE id = 25001")
	if again := x.row(); again.Stored*2 > full.Stored { // one chunk in the middle and those at both ends: of megabytes each, cut elsewhere in each repository

		t.Errorf("full: %+v; with a row changed and one less: %+v", full, again)
	}
	m.Kill()
	dir, query := x.sailed()
	if n := balanced(t, query); n < least || n != most {
		t.Errorf("%d rows of %d to %d", n, least, most)
	}
	if got := mariaDigests(query, "Chinook") + mariaDigests(query, "strange-\u00e4 name"); got != want {
		t.Errorf("other digests:\n%s\n%s", got, want)
	}
	query("strange-\u00e4 name", "INSERT INTO `a``b` (id) VALUES (2)")
	if got := fmt.Sprint(query("strange-\u00e4 name", "SELECT v.n, a.t, a.g, HEX(b.b), NEXTVAL(sq) FROM v, `a``b` a, `a``b` b WHERE a.id = 2 AND b.id = 1")); got != "[[2 by trigger 4 00FF0A1A 41]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(query("", "SELECT (SELECT COUNT(*) FROM information_schema.EVENTS), (SELECT COUNT(*) FROM mysql.proc WHERE db LIKE 'strange%')")); got != "[[1 1]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(query("", "SHOW GRANTS FOR 'app'@'%'")); !strings.Contains(got, "GRANT SELECT ON `crm`.*") {
		t.Error(got)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.sql")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	out := x.path("sql")
	if s := x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", out); !strings.Contains(s.err, "It is SQL") {
		t.Error(s)
	}
	if b := x.read("sql", "databases.sql"); !strings.Contains(string(b), "CREATE TABLE `ledger`") {
		t.Errorf("%d bytes of SQL", len(b))
	}
}

// TestMariaDBChanges changes definitions of tables, and writes to tables that no transaction covers, while snapshots are taken in either mode: each comes back whole.
func TestMariaDBChanges(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"physical", "logical"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			x, m := newMariaDB(t, mode)
			m.Query("crm", "CREATE TABLE first (a INT PRIMARY KEY) ENGINE=MyISAM")
			m.Query("crm", "CREATE TABLE second (a INT PRIMARY KEY) ENGINE=MyISAM")
			ctx, cancel := context.WithCancel(t.Context())
			var wait sync.WaitGroup
			repeat := func(do func(i int)) {
				wait.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						do(i)
					}
				})
			}
			repeat(func(i int) { mariaLedger(m.Query, i) })
			repeat(func(i int) {
				m.Query("crm", fmt.Sprintf("INSERT INTO first VALUES (%d)", i))
				m.Query("crm", fmt.Sprintf("INSERT INTO second VALUES (%d)", i))
			})
			var pause sync.Mutex
			repeat(func(i int) {
				pause.Lock()
				defer pause.Unlock()
				for _, sql := range []string{"CREATE TABLE t%[1]d (id INT PRIMARY KEY, n INT) ENGINE=InnoDB", "INSERT INTO t%[1]d VALUES (1, 1), (2, 2)", "ALTER TABLE t%[1]d ADD COLUMN more VARCHAR(20) DEFAULT 'x', ADD KEY (n)", "RENAME TABLE t%[1]d TO u%[1]d",
					"ALTER TABLE u%[1]d DROP COLUMN n, ALGORITHM=COPY", "TRUNCATE TABLE u%[1]d", "INSERT INTO u%[1]d (id) VALUES (%[1]d)"} {
					m.Query("crm", fmt.Sprintf(sql, i))
				}
				if i%2 == 0 {
					m.Query("crm", fmt.Sprintf("DROP TABLE u%d", i))
				}
			})
			for taken := 0; taken < 3; {
				s := x.run("backup", "crm")
				switch {
				case s.code == 0:
					taken++
				case mode == "physical", !strings.Contains(s.err, "mariadb-dump: ") && !strings.Contains(s.err, "the definition of table"):
					t.Error(s)
					taken = 3
				case t.Context().Err() != nil:
					t.Fatal(s)
				}
				if mode == "logical" {
					pause.Lock() // or a table changes in each
					time.AfterFunc(400*time.Millisecond, pause.Unlock)
				}
			}
			cancel()
			wait.Wait()
			m.Kill()
			var rows []snapshotRow
			x.must(json.Unmarshal([]byte(x.want(0, "snapshots", "crm", "--json").out), &rows))
			for _, row := range rows {
				id := row.ID
				_, query := x.sailed("--at", "snapshot:"+id)
				balanced(t, query)
				var names []string
				for _, r := range query("", "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'crm'") {
					names = append(names, r[0])
				}
				for _, r := range query("crm", "CHECK TABLE "+strings.Join(names, ", ")+" EXTENDED") {
					if r[3] != "OK" {
						t.Errorf("%s: %v", id, r)
					}
				}
				got := query("crm", "SELECT (SELECT COUNT(*) FROM first) - (SELECT COUNT(*) FROM second), (SELECT COUNT(*) - COALESCE(MAX(a), 0) FROM second)")[0]
				if mode == "physical" && got[0] != "0" && got[0] != "1" {
					t.Errorf("%s: the tables without transactions are of different moments: %v", id, got)
				}
			}
		})
	}
}
