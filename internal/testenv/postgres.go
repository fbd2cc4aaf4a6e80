package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Postgres is a throw-away cluster.
type Postgres struct {
	Bin  string // directory of its programs
	Dir  string // data directory
	Base string // holds Dir, and may hold more of this cluster
	Port int
	t    TB
}

// PostgresBin is the directory of the programs of the version that scripts/setup installs.
const PostgresBin = "/usr/lib/postgresql/15/bin"

// PostgresVersion is the directory of the programs of another version that scripts/setup installs.
func PostgresVersion(t TB, major string) string {
	t.Helper()
	dir := filepath.Join("/usr/local/lib/lifeboat-test/postgresql", major, "bin")
	if dir, major := PostgresBin, "/"+major+"/"; strings.Contains(dir, major) {
		return dir
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("%v: run scripts/setup", err)
	}
	return dir
}

// StartPostgres makes a cluster with the programs in bin and starts it; lines are added to its postgresql.conf. The
// superuser is postgres, and needs no password.
func StartPostgres(t TB, bin string, lines ...string) *Postgres {
	t.Helper()
	return StartPostgresWith(t, bin, nil, lines...)
}

// StartPostgresWith is StartPostgres with arguments for initdb.
func StartPostgresWith(t TB, bin string, initdb []string, lines ...string) *Postgres {
	t.Helper()
	base := tempDir(t)
	must(t, give(base))
	p := &Postgres{Bin: bin, Dir: filepath.Join(base, "data"), Base: base, Port: FreePort(t), t: t}
	p.Run("initdb", append([]string{"-D", p.Dir, "-A", "trust", "-U", "postgres", "-k", "--no-sync", "--locale=C.UTF-8"}, initdb...)...)
	conf := append([]string{"listen_addresses = '127.0.0.1'", fmt.Sprintf("port = %d", p.Port), fmt.Sprintf("unix_socket_directories = '%s'", base), "fsync = off", "lc_messages = 'C'"}, lines...)
	f, err := os.OpenFile(filepath.Join(p.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(strings.Join(conf, "\n") + "\n")
	must(t, err)
	must(t, f.Close())
	p.Start()
	t.Cleanup(func() { StopPostgres(t, bin, p.Dir) })
	return p
}

// Start starts the server and waits until it takes connections.
func (p *Postgres) Start() {
	p.t.Helper()
	p.Run("pg_ctl", "start", "-D", p.Dir, "-w", "-s", "-l", filepath.Join(p.Base, "log"))
}

// Restart stops the server as pg_ctl's mode says (smart, fast or immediate) and starts it again.
func (p *Postgres) Restart(mode string) {
	p.t.Helper()
	p.Stop(mode)
	p.Start()
}

// Stop stops the server.
func (p *Postgres) Stop(mode string) {
	p.t.Helper()
	p.Run("pg_ctl", "stop", "-D", p.Dir, "-w", "-s", "-m", mode)
}

// Standby starts a replica of the cluster, which follows it.
func (p *Postgres) Standby() *Postgres {
	p.t.Helper()
	base := tempDir(p.t)
	must(p.t, give(base))
	s := &Postgres{Bin: p.Bin, Dir: filepath.Join(base, "data"), Base: base, Port: FreePort(p.t), t: p.t}
	p.Run("pg_basebackup", "-h", "127.0.0.1", "-p", strconv.Itoa(p.Port), "-D", s.Dir, "-R", "-c", "fast", "--no-sync", "-T", filepath.Join(p.Base, "space")+"="+filepath.Join(base, "space"))
	f, err := os.OpenFile(filepath.Join(s.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	must(p.t, err)
	_, err = fmt.Fprintf(f, "port = %d\nunix_socket_directories = '%s'\n", s.Port, base)
	must(p.t, err)
	must(p.t, f.Close())
	s.Start()
	p.t.Cleanup(func() { StopPostgres(p.t, s.Bin, s.Dir) })
	return s
}

// Kill kills the server's first process, and waits until the others have noticed.
func (p *Postgres) Kill() {
	p.t.Helper()
	lock := filepath.Join(p.Dir, "postmaster.pid")
	b, err := os.ReadFile(lock)
	must(p.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(b), "\n", 2)[0]))
	must(p.t, err)
	must(p.t, syscall.Kill(pid, syscall.SIGKILL))
	for range 600 {
		// The others have a session each, and the data directory as their working directory.
		dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
		must(p.t, err)
		if !slices.ContainsFunc(dirs, func(link string) bool { dir, err := os.Readlink(link); return err == nil && dir == p.Dir }) {
			// Where nobody waits for it, its number is still taken.
			must(p.t, errors.Join(os.Remove(lock), os.Remove(filepath.Join(p.Base, fmt.Sprintf(".s.PGSQL.%d.lock", p.Port)))))
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.t.Fatalf("processes of the server in %s outlive it", p.Dir)
}

// Put writes a file of the data directory, for the server to read.
func (p *Postgres) Put(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.Dir, name)
	must(p.t, os.WriteFile(path, []byte(text), 0o600))
	must(p.t, give(path))
}

// StopPostgres stops the server of a data directory at once, if one runs.
func StopPostgres(t TB, bin, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "postmaster.pid")); err != nil {
		return
	}
	if out, err := command(context.Background(), filepath.Join(bin, "pg_ctl"), "stop", "-D", dir, "-m", "immediate", "-s").CombinedOutput(); err != nil {
		t.Errorf("stop the server in %s: %v: %s", dir, err, out)
	}
}

// Run runs one of the server's programs as the user that the server runs as, and returns what it prints.
func (p *Postgres) Run(program string, args ...string) string {
	p.t.Helper()
	path := filepath.Join(p.Bin, program)
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(PostgresBin, program) // clients work with newer servers too
	}
	cmd := command(p.t.Context(), path, args...)
	var out strings.Builder // a pipe would be kept open by a server
	file, err := os.CreateTemp(p.Base, "out-*")
	must(p.t, err)
	defer func() { must(p.t, os.Remove(file.Name())) }()
	cmd.Stdout, cmd.Stderr = file, file
	err = cmd.Run()
	b, rerr := os.ReadFile(file.Name())
	must(p.t, rerr)
	out.Write(b)
	if err != nil {
		p.t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// DSN connects a user to a database.
func (p *Postgres) DSN(user, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s", user, p.Port, database)
}

// Query runs statements in a database as its superuser and returns the rows of the last one.
func (p *Postgres) Query(database, sql string) [][]string {
	p.t.Helper()
	rows, err := Query(p.t.Context(), p.DSN("postgres", database), sql)
	if err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

// Query runs statements on any server and returns the rows of the last one.
func Query(ctx context.Context, dsn, sql string) ([][]string, error) {
	c, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the answer is there
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var out [][]string
	for _, row := range results[len(results)-1].Rows {
		var fields []string
		for _, f := range row {
			fields = append(fields, string(f))
		}
		out = append(out, fields)
	}
	return out, nil
}

// FreePort is a port of the loopback address that nobody listens on now.
func FreePort(t TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return portOf(l)
}

func portOf(l net.Listener) int {
	return l.Addr().(*net.TCPAddr).Port // a TCP listener has no other
}

// command runs as the user postgres where this process is root, which a server refuses to be run by.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PGUSER=postgres")
	cmd.WaitDelay = 10 * time.Second
	if uid, gid, ok := serverUser(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd
}

// serverUser is the user that servers run as, if it is not the present one.
func serverUser() (uid, gid int, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, false
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, err1 == nil && err2 == nil
}

func give(path string) error {
	uid, gid, ok := serverUser()
	if !ok {
		return nil
	}
	return os.Chown(path, uid, gid)
}
