package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// settings keep everything but the bench itself from writing: no page changes between a backup and the look at it.
const settings = `
listen_addresses = ''
port = 5432
unix_socket_directories = '%s'
shared_buffers = 256MB
max_wal_size = 8GB
checkpoint_timeout = 1d
autovacuum = off
bgwriter_lru_maxpages = 0
lc_messages = 'C'
`

// cluster is a server that only a socket in its directory leads to.
type cluster struct{ bin, base, data string }

// postgres makes a cluster and starts it: one half is the CRM, the other pgbench's tables.
func (b *bench) postgres(ctx context.Context) error {
	c := &cluster{bin: b.bin, base: filepath.Join(b.dir, "cluster"), data: filepath.Join(b.dir, "cluster", "data")}
	version, err := exec.CommandContext(ctx, filepath.Join(c.bin, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("look for PostgreSQL in %s: %w: name its directory with -bin", c.bin, err)
	}
	b.cluster = c
	b.db = &database{name: strings.TrimSpace(string(version)), dir: c.data, page: 8192,
		source: fmt.Sprintf("{engine: postgres, dsn: %q}", "postgres://postgres@/postgres?host="+c.base+"&port=5432"),
		files:  regexp.MustCompile(`^(base/\d+|global|pg_xact|pg_multixact/\w+)/(PG_VERSION|pg_filenode\.map|[0-9A-Ft_]+(_fsm|_vm|_init)?(\.\d+)?)$`),
		churn: func(ctx context.Context, seed int64, n int) error {
			return self(ctx, "churn postgres", c.base, seed, n)
		},
		close: func() error { return c.stop(context.WithoutCancel(ctx)) }}
	if _, err := os.Stat(filepath.Join(c.data, "PG_VERSION")); err == nil {
		err = c.start(ctx)
		if err == nil { // an earlier run's would keep log
			err = c.exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
		}
		return err
	}
	conf := fmt.Sprintf(settings, c.base)
	if major := regexp.MustCompile(` (\d+)`).FindStringSubmatch(b.db.name); major != nil && major[1] >= "17" {
		conf += "summarize_wal = on\n"
	}
	if err := c.make(ctx, conf); err != nil {
		return err
	}
	if err := self(ctx, "load postgres", c.base, b.megabytes<<20/2, 0); err != nil {
		return err
	}
	scale := strconv.FormatInt(max(b.megabytes/2/15, 1), 10) // 15 MiB each
	if err := c.run(ctx, "pgbench", append([]string{"-i", "-q", "-s", scale, "-I", "dtgp", "postgres"}, c.reach()...)...); err != nil {
		return err
	}
	return c.exec(ctx, "VACUUM ANALYZE", "CHECKPOINT")
}

// make makes an empty cluster, and starts it.
func (c *cluster) make(ctx context.Context, conf string) error {
	if err := os.MkdirAll(c.base, 0o700); err != nil {
		return err
	}
	if uid, gid, ok := serverUser(); ok {
		if err := errors.Join(os.Chown(c.base, uid, gid), os.Chmod(filepath.Dir(c.base), 0o711)); err != nil {
			return err
		}
	}
	if err := c.run(ctx, "initdb", "-D", c.data, "-A", "trust", "-U", "postgres", "-k", "--locale=C.UTF-8"); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(c.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(conf)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return c.start(ctx)
}

func (c *cluster) start(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "start", "-D", c.data, "-w", "-s", "-t", "600", "-l", filepath.Join(c.base, "log"))
}

// stop stops the server if one runs.
func (c *cluster) stop(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(c.data, "postmaster.pid")); err != nil {
		return nil
	}
	return c.run(ctx, "pg_ctl", "stop", "-D", c.data, "-m", "fast", "-s", "-t", "600")
}

// reach are the arguments that lead a program to the server.
func (c *cluster) reach() []string { return []string{"-h", c.base, "-p", "5432", "-U", "postgres"} }

// run runs one of the server's programs as the user that the server runs as.
func (c *cluster) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, c.program(program), args...)
	cmd.Dir = c.base
	cmd.WaitDelay = 10 * time.Second
	if uid, gid, ok := serverUser(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// program is one of the server's programs; what stands not among them is looked for by the shell's rules, as a pgbench of another version.
func (c *cluster) program(name string) string {
	path := filepath.Join(c.bin, name)
	if _, err := os.Stat(path); err != nil {
		return name
	}
	return path
}

// serverUser is the user that servers run as where this process is root, which they refuse to be run by.
func serverUser() (uid, gid int, ok bool) {
	u, err := user.Lookup("postgres")
	if err != nil || os.Geteuid() != 0 {
		return 0, 0, false
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, err1 == nil && err2 == nil
}

func connect(ctx context.Context, base string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("host='%s' port=5432 user=postgres dbname=postgres", base))
}

// exec runs statements, each by itself.
func (c *cluster) exec(ctx context.Context, statements ...string) error {
	conn, err := connect(ctx, c.base)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // what it did is done
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}
