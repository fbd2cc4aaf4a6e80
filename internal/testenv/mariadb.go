package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// MariaDB is a throw-away server, of the version that scripts/setup installs.
type MariaDB struct {
	Dir  string // data directory
	Base string // holds Dir, and may hold more of this server
	Port int
	Env  []string // of the next Start
	t    TB
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// StartMariaDB makes a server with a binary log and starts it; lines are added to its configuration. Its user root needs no password.
func StartMariaDB(t TB, lines ...string) *MariaDB {
	t.Helper()
	base := tempDir(t)
	must(t, give(base))
	m := &MariaDB{Dir: filepath.Join(base, "data"), Base: base, Port: FreePort(t), t: t}
	conf := append([]string{"[mariadbd]", "datadir=" + m.Dir, "tmpdir=" + base, "socket=" + m.Socket(), "pid_file=" + filepath.Join(base, "pid"), "log_error=" + filepath.Join(base, "log"),
		"bind_address=127.0.0.1", fmt.Sprintf("port=%d", m.Port), "log_bin=binlog", "server_id=1", "binlog_format=ROW", "innodb_flush_log_at_trx_commit=2", "innodb_buffer_pool_size=64M"}, lines...)
	must(t, os.WriteFile(m.configuration(), []byte(strings.Join(conf, "\n")+"\n"), 0o600))
	must(t, give(m.configuration()))
	m.Run("mariadb-install-db", "--no-defaults", "--datadir="+m.Dir, "--auth-root-authentication-method=normal", "--skip-test-db")
	m.Start()
	t.Cleanup(m.Kill)
	return m
}

func (m *MariaDB) configuration() string { return filepath.Join(m.Base, "my.cnf") }

// Socket is where the server listens.
func (m *MariaDB) Socket() string { return filepath.Join(m.Base, "s") }

// Start starts the server and waits until it takes connections.
func (m *MariaDB) Start() {
	m.t.Helper()
	m.cmd, m.done = command(context.WithoutCancel(m.t.Context()), "mariadbd", "--defaults-file="+m.configuration()), make(chan struct{})
	m.cmd.Env = append(m.cmd.Env, m.Env...)
	must(m.t, m.cmd.Start())
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}(m.cmd, m.done)
	for {
		_, err := m.query("", "SELECT 1")
		if err == nil {
			return
		}
		select {
		case <-m.done:
			log, _ := os.ReadFile(filepath.Join(m.Base, "log")) // for the message only
			m.t.Fatalf("mariadbd ended: %s", log)
		case <-m.t.Context().Done():
			m.t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop lets the server end by itself.
func (m *MariaDB) Stop() { m.end(syscall.SIGTERM) }

// Kill ends the server at once, if it runs.
func (m *MariaDB) Kill() { m.end(syscall.SIGKILL) }

func (m *MariaDB) end(how syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.t.Errorf("end the server: %v", err)
	}
	<-m.done
}

// Run runs a program as the user that the server runs as, and returns what it prints.
func (m *MariaDB) Run(program string, args ...string) string {
	m.t.Helper()
	cmd := command(m.t.Context(), program, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+m.Base) // a server that starts removes all temporary tables in its directory
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Load runs a file of SQL with the server's own client.
func (m *MariaDB) Load(path string) {
	m.t.Helper()
	sql, err := os.Open(path)
	must(m.t, err)
	defer sql.Close()
	cmd := command(m.t.Context(), "mariadb", "--no-defaults", "--socket="+m.Socket(), "--user=root", "--default-character-set=utf8mb4")
	cmd.Stdin = sql
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v: %s", path, err, out)
	}
}

// DSN connects a user to a database.
func (m *MariaDB) DSN(user, database string) string {
	return fmt.Sprintf("mysql://%s@127.0.0.1:%d/%s", user, m.Port, database)
}

// Query runs a statement in a database as root and returns its rows.
func (m *MariaDB) Query(database, sql string) [][]string {
	m.t.Helper()
	rows, err := m.query(database, sql)
	if err != nil {
		m.t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

func (m *MariaDB) query(database, sql string) ([][]string, error) {
	return QueryMariaDB(m.Socket(), database, sql)
}

// QueryMariaDB runs a statement as root on the server of a socket and returns its rows.
func QueryMariaDB(socket, database, sql string) (out [][]string, err error) {
	c, err := connectMariaDB(socket, database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // the answer is there
	return ask(c, sql)
}

func connectMariaDB(socket, database string) (*client.Conn, error) {
	return client.Connect(socket, "root", "", database, func(c *client.Conn) error { return c.SetCollation("utf8mb4_general_ci") })
}

func ask(c *client.Conn, sql string) (out [][]string, err error) {
	r, err := c.Execute(sql)
	if err != nil || r.Resultset == nil {
		return nil, err
	}
	for i := range r.RowNumber() {
		row := make([]string, r.ColumnNumber())
		for j := range row {
			v, err := r.GetString(i, j)
			if err != nil {
				return nil, err
			}
			row[j] = strings.Clone(v) // it stands in memory that the next answer may use
		}
		out = append(out, row)
	}
	return out, nil
}

// MariaSession is one connection as root.
type MariaSession struct {
	t TB
	c *client.Conn
}

// Session connects to a database.
func (m *MariaDB) Session(database string) *MariaSession {
	m.t.Helper()
	c, err := connectMariaDB(m.Socket(), database)
	must(m.t, err)
	return &MariaSession{m.t, c}
}

// Query runs a statement and returns its rows.
func (s *MariaSession) Query(sql string) [][]string {
	s.t.Helper()
	rows, err := ask(s.c, sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

// Close ends the connection.
func (s *MariaSession) Close() { _ = s.c.Close() } // the answers are there
