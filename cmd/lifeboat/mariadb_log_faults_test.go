package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mariaAll are digests of all tables of some databases, and of what stands in views.
func mariaAll(query func(database, sql string) [][]string, databases ...string) (out string) {
	for _, d := range databases {
		out += d + mariaDigests(query, d) + "\n"
	}
	return out
}

// TestMariaDBStatements replays a log in which statements stand that depend on everything around them.
func TestMariaDBStatements(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"physical", "logical"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			x, m := newMariaDB(t, mode, map[string]string{"physical": "binlog_row_image=MINIMAL", "logical": "log_bin_compress=ON"}[mode], "binlog_format=MIXED", "explicit_defaults_for_timestamp=OFF", "local_infile=ON", "log_bin_trust_function_creators=ON")
			m.Stop()
			m.Env = []string{"TZ=Europe/Berlin"}
			m.Start()
			m.Query("", "CREATE DATABASE `strange-\u00e4 name`")
			x.row()
			end := x.stream()
			ses := m.Session("strange-\u00e4 name")
			defer ses.Close()
			csv := x.path("rows.csv")
			x.must(os.WriteFile(csv, []byte("1\tone\n2\ttw\\\to\n"), 0o644))
			for _, sql := range []string{
				"CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, at DATETIME(6), ts TIMESTAMP, d DATE, note TEXT CHARACTER SET utf8mb4, r DOUBLE)",
				"SET TIMESTAMP = 1774750000.123456", // an hour after the clocks of Berlin were put forward
				"INSERT INTO t (at, d, note) VALUES (NOW(6), CURDATE(), 'winter')",
				"SET TIMESTAMP = 1782000000",
				"INSERT INTO t (at, d, note) VALUES (NOW(6), FROM_UNIXTIME(1793000000), 'summer')",
				"SET TIMESTAMP = DEFAULT",
				"INSERT INTO t (at, ts, note) VALUES (NOW(), NOW(), CONCAT('\u5ba2\u6237 \U0001F6F6', ' \\\\ '' \\0'))",
				"SET time_zone = '+05:30'", "INSERT INTO t (at, ts) VALUES (NOW(), '2026-03-29 02:30:00')", "SET time_zone = 'SYSTEM'",
				"SET @a = 'user''s', @b = 7.5", "INSERT INTO t (note, r) VALUES (@a, @b)", "INSERT INTO t (note, r) VALUES (UUID(), RAND())", "INSERT INTO t (r) SELECT RAND(3)",
				"CREATE TEMPORARY TABLE tmp AS SELECT id, note FROM t", "INSERT INTO tmp VALUES (100, 'temporary')", "INSERT INTO t (note) SELECT note FROM tmp WHERE id = 100", "DROP TEMPORARY TABLE tmp",
				"SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", `INSERT INTO "t" ("note") VALUES ('back\slash')`, "SET sql_mode = DEFAULT",
				"CREATE TABLE log (n INT, what VARCHAR(50)) ENGINE=MyISAM", "CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id, LEFT(NEW.note, 50))",
				"INSERT INTO t (note) VALUES ('by trigger')", "CREATE PROCEDURE p(IN n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO INSERT INTO t (note) VALUES (CONCAT('proc ', i)); SET i = i + 1; END WHILE; END", "CALL p(3)",
				"CREATE FUNCTION f(n INT) RETURNS INT DETERMINISTIC RETURN n * 2", "UPDATE t SET r = f(id) WHERE note LIKE 'proc%'",
				"BEGIN", "INSERT INTO t (note) VALUES ('kept')", "SAVEPOINT s", "INSERT INTO t (note) VALUES ('undone')", "ROLLBACK TO s", "COMMIT",
				"BEGIN", "INSERT INTO log VALUES (0, 'stays')", "INSERT INTO t (note) VALUES ('rolled back')", "ROLLBACK",
				"XA START 'x'", "INSERT INTO t (note) VALUES ('xa')", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'",
				"SET gtid_domain_id = 5", "INSERT INTO t (note) VALUES ('another domain')", "SET gtid_domain_id = 0",
				"CREATE TABLE old (ts TIMESTAMP, other TIMESTAMP)", "INSERT INTO old () VALUES ()", "CREATE SEQUENCE sq START WITH 41", "INSERT INTO t (r) VALUES (NEXTVAL(sq))",
				"CREATE TABLE cp AS SELECT * FROM t", "ALTER TABLE cp ADD COLUMN c INT DEFAULT 3, DROP COLUMN r", "RENAME TABLE cp TO `we``ird`", "CREATE VIEW v AS SELECT COUNT(*) n FROM t", "CREATE OR REPLACE TABLE old2 (a INT)", "TRUNCATE log",
				"CREATE DATABASE gone", "CREATE TABLE gone.a (b INT)", "DROP DATABASE gone", "CREATE USER later@localhost IDENTIFIED BY 'x'", "GRANT SELECT ON crm.* TO later@localhost",
				"SET NAMES latin1", "INSERT INTO t (note) VALUES ('\xe4\xf6')", "SET NAMES utf8mb4", "SET foreign_key_checks = 0", "CREATE TABLE child (p INT, FOREIGN KEY (p) REFERENCES parent (id))", "INSERT INTO child VALUES (9)", "SET foreign_key_checks = 1",
				"LOAD DATA INFILE '" + csv + "' INTO TABLE t FIELDS TERMINATED BY '\\t' (r, note)", "INSERT INTO t (id, note) VALUES (LAST_INSERT_ID() + 1000, 'ids')", "SET insert_id = 5000", "INSERT INTO t (note) VALUES ('5000')",
			} {
				ses.Query(sql)
			}
			for i := range 20 {
				mariaLedger(m.Query, i)
			}
			want := mariaAll(m.Query, "crm", "strange-\u00e4 name")
			x.caughtMaria(m)
			end(syscall.SIGTERM)
			m.Kill()
			_, query := x.sailed()
			if got := mariaAll(query, "crm", "strange-\u00e4 name"); got != want {
				t.Errorf("other digests:\n%s\n%s\n%v", got, want, query("strange-\u00e4 name", "SELECT * FROM t"))
			}
			if got := fmt.Sprint(query("strange-\u00e4 name", "SELECT at, d FROM t WHERE note IN ('winter', 'summer')")); got != "[[2026-03-29 04:06:40.123456 2026-03-29] [2026-06-21 02:00:00.000000 2026-10-26]]" {
				t.Error(got)
			}
			if got := fmt.Sprint(query("", "SHOW GRANTS FOR later@localhost")); !strings.Contains(got, "GRANT SELECT ON `crm`.*") {
				t.Error(got)
			}
			if got := query("", "SELECT COUNT(*) FROM mysql.global_priv WHERE User LIKE 'lifeboat%'")[0][0]; got != "0" {
				t.Errorf("%s accounts of ours are left", got)
			}
		})
	}
}

// TestMariaDBGap loses log that the server dropped before it was captured: a gap, a new full snapshot by itself, and all behind it comes back.
func TestMariaDBGap(t *testing.T) {
	t.Parallel()
	x, m := newMariaDB(t, "physical")
	x.row()
	end := x.stream()
	mariaLedger(m.Query, 1)
	x.caughtMaria(m)
	end(syscall.SIGTERM)
	time.Sleep(1100 * time.Millisecond)
	mariaLedger(m.Query, 2)
	at := time.Now().UTC().Format(time.RFC3339)
	m.Query("", "FLUSH BINARY LOGS")
	for m.Query("", "SHOW BINARY LOGS")[0][0] != "binlog.000002" {
		m.Query("", "PURGE BINARY LOGS TO 'binlog.000002'")
		time.Sleep(50 * time.Millisecond)
	}
	mariaLedger(m.Query, 3)
	end = x.stream()
	x.says("taking a new full snapshot")
	x.says("is a full snapshot of crm")
	mariaLedger(m.Query, 4)
	x.caughtMaria(m)
	time.Sleep(2 * time.Second)
	end(syscall.SIGTERM)
	if s := x.run("restore", "crm", "--identity", x.path("key"), "--to", x.path("never"), "--at", at); s.code != 4 || !strings.Contains(s.err, "is after the captured log") {
		t.Errorf("a time in the gap: %s", s)
	}
	if s := x.want(0, "log", "show", "crm", "--identity", x.path("key")); !strings.Contains(s.out, "gap up to 000002:") || !strings.Contains(s.out, "the server had dropped") {
		t.Errorf("log: %s", s)
	}
	_, query := x.sailed()
	if n := balanced(t, query); n != 4 {
		t.Errorf("%d rows", n)
	}
}

// TestMariaDBReset does not go on from a log that is another one until it is told to; then both can be gone back to.
func TestMariaDBReset(t *testing.T) {
	t.Parallel()
	x, m := newMariaDB(t, "logical")
	x.row()
	end := x.stream()
	for i := range 3 {
		mariaLedger(m.Query, i)
	}
	x.caughtMaria(m)
	time.Sleep(2 * time.Second)
	end(syscall.SIGTERM)
	m.Query("", "RESET MASTER")
	for i := range 9 {
		mariaLedger(m.Query, i)
	}
	for _, args := range [][]string{{"backup", "crm"}, {"stream", "crm"}} {
		if s := x.want(4, args...); !strings.Contains(s.err, "another database answers here") || !strings.Contains(s.err, "`lifeboat backup --full`") {
			t.Error(s)
		}
	}
	x.want(0, "backup", "crm", "--full")
	end = x.stream()
	mariaLedger(m.Query, 10)
	x.caughtMaria(m)
	time.Sleep(2 * time.Second)
	end(syscall.SIGTERM)
	_, query := x.sailed()
	if n := balanced(t, query); n != 13 {
		t.Errorf("%d rows", n)
	}
	rows := x.logged()
	_, query = x.sailed("--at", "gtid:"+rows[len(rows)-1].GTID)
	if n := balanced(t, query); n != 13 {
		t.Errorf("%d rows by its GTID", n)
	}
}
