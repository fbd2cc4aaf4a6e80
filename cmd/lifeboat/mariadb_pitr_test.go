package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/capture"
	"lifeboat/internal/testenv"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/source/mysql"
)

// mariaAt is where the log of a server ends.
func mariaAt(t *testing.T, m *testenv.MariaDB) uint64 {
	t.Helper()
	row := m.Query("", "SHOW MASTER STATUS")[0]
	file, err1 := strconv.ParseUint(row[0][len("binlog."):], 10, 64)
	at, err2 := strconv.ParseUint(row[1], 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return snapshot.BinlogOffset(file, at)
}

// caughtMaria waits until the log of a server stands on the disk up to where it ends now.
func (x *fixture) caughtMaria(m *testenv.MariaDB) {
	x.t.Helper()
	x.caughtLine(1, m)
}

// caughtLine is caughtMaria for a line of the log.
func (x *fixture) caughtLine(line uint64, m *testenv.MariaDB) {
	x.t.Helper()
	at := mariaAt(x.t, m)
	for range 600 {
		paths, err := filepath.Glob(x.path("disk/log/*/*"))
		x.must(err)
		for _, p := range paths {
			n, ok := capture.ParseName("log/" + filepath.Base(filepath.Dir(p)) + "/" + filepath.Base(p))
			if ok && n.To.Line == line && n.To.Offset >= at {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	x.t.Fatalf("the log was not captured up to %s: %s", snapshot.FormatBinlog(at), x.read("stream.log"))
}

// transfer is one of the test's own list of what was committed.
type transfer struct {
	gtid, position string
	before, after  time.Time // the second in which the commit began, and that in which it was done
}

// transfers moves money between accounts of a live server, each time in one transaction that says in the ledger what it moved.
func transfers(t *testing.T, m *testenv.MariaDB, done []transfer, n int) []transfer {
	t.Helper()
	ses := m.Session("crm")
	defer ses.Close()
	second := func() time.Time {
		s, err := strconv.ParseInt(ses.Query("SELECT FLOOR(UNIX_TIMESTAMP(SYSDATE()))")[0][0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Unix(s, 0).UTC()
	}
	for range n {
		i := len(done) + 1
		amount := 1 + i*31%97
		ses.Query("BEGIN")
		ses.Query(fmt.Sprintf("UPDATE account SET balance = balance - %d WHERE id = %d", amount, 1+i%7))
		ses.Query(fmt.Sprintf("UPDATE account SET balance = balance + %d WHERE id = %d", amount, 1+(i+3)%7))
		ses.Query(fmt.Sprintf("INSERT INTO ledger VALUES (%d, %d, 0, REPEAT('n', %d))", i, amount, i*7%3000))
		x := transfer{before: second()}
		ses.Query("COMMIT")
		x.after = second()
		x.gtid = ses.Query("SELECT @@last_gtid")[0][0]
		at := mariaAt(t, m)
		x.position = snapshot.FormatBinlog(at)
		if done = append(done, x); i%37 == 0 {
			m.Query("", "FLUSH BINARY LOGS")
		}
		if i%9 == 0 {
			time.Sleep(300 * time.Millisecond) // so that there are seconds between them
		}
	}
	return done
}

// TestMariaDBPoints captures the log of a live server while it and the stream are killed and taken up again, and restores to points of every kind: exactly the
// transactions up to the point are there.
func TestMariaDBPoints(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"physical", "logical"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			mariaPoints(t, mode)
		})
	}
}

func mariaPoints(t *testing.T, mode string) {
	x, m := newMariaDB(t, mode, "sync_binlog=1", "innodb_flush_log_at_trx_commit=1")
	m.Query("crm", "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB")
	m.Query("crm", "INSERT INTO account SELECT seq, 1000 FROM seq_1_to_7")
	done := transfers(t, m, nil, 5)
	x.row()
	first := len(done)
	end := x.stream()
	done = transfers(t, m, done, 60)
	x.row() // beside the stream
	done = transfers(t, m, done, 60)
	end(syscall.SIGKILL)
	m.Kill()
	m.Start()
	done = transfers(t, m, done, 20)
	end = x.stream()
	done = transfers(t, m, done, 40)
	m.Kill()
	m.Start()
	done = transfers(t, m, done, 20)
	within := time.Now().UTC().Add(time.Second).Truncate(time.Second) // a time within one transaction, which is not in it
	ses := m.Session("crm")
	defer ses.Close()
	ses.Query("BEGIN")
	ses.Query("INSERT INTO account VALUES (99, 0)")
	time.Sleep(3 * time.Second)
	ses.Query("COMMIT")
	m.Query("crm", "CREATE TABLE late (id INT PRIMARY KEY) ENGINE=InnoDB")
	m.Query("crm", "INSERT INTO late VALUES (1)")
	x.caughtMaria(m)
	time.Sleep(2 * time.Second) // up to when all is known is said each second
	end(syscall.SIGTERM)
	m.Kill()

	// check restores to a point, and compares what is there with the list: between least and most transactions, all of them, and nothing of another.
	check := func(point string, least, most int, args ...string) {
		t.Helper()
		t.Run(point, func(t *testing.T) {
			y := *x
			y.t = t
			_, query := y.sailed(append([]string{"--at", point}, args...)...)
			row := query("crm", "SELECT (SELECT COUNT(*) FROM ledger), (SELECT COALESCE(MAX(id), 0) FROM ledger), (SELECT SUM(balance) FROM account)")[0]
			n, err := strconv.Atoi(row[0])
			y.must(err)
			if row[0] != row[1] || row[2] != "7000" || n < least || n > most {
				t.Errorf("%s of %s transactions, %s in all accounts; %d to %d were committed then", row[0], row[1], row[2], least, most)
			}
			balances := map[int]int{1: 1000, 2: 1000, 3: 1000, 4: 1000, 5: 1000, 6: 1000, 7: 1000}
			for i := 1; i <= n; i++ {
				balances[1+i%7] -= 1 + i*31%97
				balances[1+(i+3)%7] += 1 + i*31%97
			}
			for id, want := range balances {
				if got := query("crm", fmt.Sprintf("SELECT balance FROM account WHERE id = %d", id))[0][0]; got != strconv.Itoa(want) {
					t.Errorf("account %d has %s, want %d", id, got, want)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(7, uint64(len(mode))))
	points := 20
	if mode == "logical" {
		points = 4 // the way behind the snapshot is the same
	}
	for k := range points {
		i := first + r.IntN(len(done)-first)
		switch d := done[i]; k % 4 {
		case 0:
			check("gtid:"+d.gtid, i+1, i+1)
		case 1:
			check(d.position, i+1, i+1)
		case 2:
			least, most := 0, 0
			for j, e := range done {
				if !e.after.After(d.after) {
					least = j + 1
				}
				if !e.before.After(d.after) {
					most = j + 1
				}
			}
			check(d.after.Format(time.RFC3339), least, most)
		case 3:
			check("gtid:"+d.gtid, i, i, "--before")
		}
	}
	check("latest", len(done), len(done))
	check(within.In(time.FixedZone("", 8*3600)).Format("2006-01-02 15:04:05-07:00"), len(done), len(done))
	t.Run("within", func(t *testing.T) {
		y := *x
		y.t = t
		for point, want := range map[string]string{within.Format(time.RFC3339): "0", "latest": "1"} {
			if _, query := y.sailed("--at", point); query("crm", "SELECT COUNT(*) FROM account WHERE id = 99")[0][0] != want {
				t.Errorf("at %s: not %s", point, want)
			}
		}
	})
	x.foreign()
	x.loaded(mode, done[len(done)/2], len(done)/2+1)
	x.want(4, "restore", "crm", "--identity", x.path("key"), "--to", x.path("no"), "--at", "gtid:9-9-9")
	x.listed(done[first:])
	if _, err := os.Stat(x.path("no")); err == nil {
		t.Error("something was made for a point that is not there")
	}
}

// listed compares what `log show` says with the list of what was committed.
func (x *fixture) listed(done []transfer) {
	x.t.Helper()
	rows := map[string]logRow{}
	for _, r := range x.logged() {
		rows[r.GTID] = r
	}
	for _, d := range done {
		r := rows[d.gtid]
		at := slices.IndexFunc(r.Changes, func(c mysql.Change) bool { return c.Table == "crm.account" && c.Updated == 2 })
		end, err := restore.ParsePoint("binlog:" + r.End)
		x.must(err)
		behind, err := restore.ParsePoint(d.position)
		x.must(err)
		if r.Event != "commit" || *behind.Position-*end.Position > 100 || r.Time.Before(d.before) || r.Time.After(d.after) || at < 0 || len(r.Changes) != 2 {
			x.t.Errorf("%+v is listed as %+v", d, r)
		}
	}
	if late := x.logged("--table", "late"); len(late) == 0 || len(late) > 3 || late[len(late)-1].Changes[0] != (mysql.Change{Table: "crm.late", Inserted: 1}) {
		x.t.Errorf("with a table: %+v", late)
	}
	if s := x.want(0, "log", "show", "crm", "--identity", x.path("key"), "--table", "crm.late"); !strings.Contains(s.out, "  crm.late +1\n") || !strings.HasPrefix(s.out, "TIME  ") {
		x.t.Error(s)
	}
}

// loaded restores into a server that runs, which must be empty and of use.
func (x *fixture) loaded(mode string, to transfer, n int) {
	x.t.Helper()
	other := testenv.StartMariaDB(x.t)
	other.Query("", "CREATE USER loader@localhost IDENTIFIED BY 'se''cret'")
	other.Query("", "GRANT ALL PRIVILEGES ON *.* TO loader@localhost")
	x.must(os.WriteFile(x.path("loader"), []byte("se'cret\n"), 0o600))
	restore := func(code int, dsn string, more ...string) said {
		x.t.Helper()
		dir := filepath.Join(x.t.TempDir(), "sql")
		return x.want(code, append([]string{"restore", "crm", "--identity", x.path("key"), "--to", dir, "--at", "gtid:" + to.gtid, "--into", dsn, "--into-password-file", x.path("loader")}, more...)...)
	}
	if mode == "physical" {
		if s := restore(4, other.DSN("loader", "")); !strings.Contains(s.err, "is a physical one") {
			x.t.Error(s)
		}
		return
	}
	if s := restore(2, "mysql://loader:se'cret@127.0.0.1/"); !strings.Contains(s.err, "everybody sees who lists processes") || strings.Contains(s.err, "cret@") {
		x.t.Error(s)
	}
	restore(2, other.DSN("loader", ""), "--start")
	other.Query("", "CREATE DATABASE there")
	if s := restore(4, other.DSN("loader", "")); !strings.Contains(s.err, `it has the database "there"`) {
		x.t.Error(s)
	}
	other.Query("", "DROP DATABASE there")
	if s := restore(0, other.DSN("loader", "")); !strings.Contains(s.err, "its databases are in the server at 127.0.0.1:") {
		x.t.Error(s)
	}
	if got := fmt.Sprint(other.Query("crm", "SELECT COUNT(*), MAX(id), (SELECT SUM(balance) FROM account) FROM ledger")[0]); got != fmt.Sprintf("[%d %d 7000]", n, n) {
		x.t.Errorf("%s in the server, %d were committed", got, n)
	}
	restore(4, other.DSN("loader", ""))
}

// foreign restores with programs of another version: nothing is touched.
func (x *fixture) foreign() {
	x.t.Helper()
	bin := x.t.TempDir()
	for _, name := range []string{"mariadb-backup", "mariadbd", "mariadb", "mariadb-binlog", "mariadb-install-db"} {
		x.must(os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho '"+name+" from 11.4.2-MariaDB'\n"), 0o755))
	}
	s := x.want(4, "restore", "crm", "--identity", x.path("key"), "--to", x.path("no"), "--start", "--engine-bin", bin)
	if _, err := os.Stat(x.path("no")); !strings.Contains(s.err, "of MariaDB 10.11, found: "+bin) || err == nil {
		x.t.Errorf("%v: %s", err, s)
	}
}
