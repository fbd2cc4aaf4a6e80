package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lifeboat/internal/crm"
	"lifeboat/restore"
	"lifeboat/source/postgres"
)

// The major versions that the demo looks for, the newest first.
const (
	newestPostgres = 18
	oldestPostgres = 14
)

// Where the server has its things, in the demo's directory.
const (
	serverDir  = "server"
	serverData = "server/data"
	serverLog  = "server/log"
)

// installedPostgres finds the programs of the newest PostgreSQL server on this machine; 0 where there is none.
func installedPostgres(ctx context.Context) (bin string, version int) {
	for v := newestPostgres; v >= oldestPostgres; v-- {
		if bin, err := postgres.Binaries(ctx, v*10000, ""); err == nil {
			return bin, v
		}
	}
	return "", 0
}

// postgresStage is a cluster of its own in the demo's directory, which answers on a socket there and nowhere else.
type postgresStage struct {
	*story
	bin     string
	version int
	owner   *restore.Owner // who runs the servers, where root must not
	server  string         // the directory of the server, which has its socket
	capture *background    // `lifeboat stream`
	from    string         // where the log was when it began
	since   time.Time      // when it began
}

// newPostgresStage makes sure that there is a server to play on.
func newPostgresStage(ctx context.Context, s *story) (*postgresStage, error) {
	p := &postgresStage{story: s, server: filepath.Join(s.dir, serverDir)}
	if p.bin, p.version = installedPostgres(ctx); p.version == 0 {
		return nil, usagef("demo: no PostgreSQL from %d to %d is installed here: install a server, such as by `apt-get install postgresql` or `dnf install postgresql-server`, and repeat", oldestPostgres, newestPostgres)
	}
	var err error
	if p.owner, err = owner("", "postgres", true); err != nil {
		return nil, usagef("demo: PostgreSQL cannot be run by root, and there is no other user postgres to run it: repeat as somebody else")
	}
	return p, nil
}

func (p *postgresStage) build(ctx context.Context) (setting, error) {
	if err := p.found(); err != nil {
		return setting{}, err
	}
	p.page.say("A server of its own, which answers on a socket in that directory and nowhere else:")
	p.page.gap = false
	if err := p.tool(ctx, "initdb", "-D", serverData, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-k", "--no-sync"); err != nil {
		return setting{}, err
	}
	if err := p.tool(ctx, "pg_ctl", "start", "-w", "-s", "-D", serverData, "-l", serverLog, "-o", fmt.Sprintf("-h '' -k '%s'", p.server)); err != nil {
		return setting{}, err
	}
	for _, q := range []string{"CREATE DATABASE crm", "CREATE ROLE backup REPLICATION LOGIN"} {
		p.page.command(fmt.Sprintf("psql -h %s -U postgres -c %q", p.server, q))
		p.page.gap = false
		if _, err := p.query(ctx, q); err != nil {
			return setting{}, err
		}
	}
	if err := crm.GeneratePostgres(ctx, p.dsn("postgres"), p.options); err != nil {
		return setting{}, err
	}
	p.page.gap = true
	size, err := p.query(ctx, "SELECT pg_database_size('crm')")
	if err != nil {
		return setting{}, err
	}
	var n int64
	if _, err := fmt.Sscan(size, &n); err != nil {
		return setting{}, fmt.Errorf("read the size of the database: %w", err)
	}
	return setting{engine: "PostgreSQL", name: "crm", about: fmt.Sprintf("PostgreSQL %d, %s", p.version, bytesText(n)), source: fmt.Sprintf("{engine: postgres, dsn: %q}", p.dsn("backup")),
		database: p.dsn("postgres"), prompt: "crm=#", number: "SELECT pg_current_xact_id()::text", logged: true}, nil
}

// found makes the directories of the servers. Whoever runs them must get there, and sees nothing else on the way.
func (p *postgresStage) found() error {
	if err := os.Mkdir(p.server, 0o700); err != nil {
		return err
	}
	if p.owner == nil {
		return nil
	}
	return errors.Join(os.Chmod(p.dir, 0o711), os.Chown(p.server, p.owner.UID, p.owner.GID)) // others only pass
}

// dsn connects a user to the CRM.
func (p *postgresStage) dsn(user string) string {
	return "postgres://" + user + "@/crm?host=" + url.QueryEscape(p.server)
}

// query runs a statement as the superuser and returns the first field of its first row.
func (p *postgresStage) query(ctx context.Context, sql string) (field string, err error) {
	c, err := postgres.Connect(ctx, p.server, 5432, "postgres", "postgres")
	if err != nil {
		return "", fmt.Errorf("connect to the demo's server: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", fmt.Errorf("execute %q: %w", sql, err)
	}
	if rows := results[0].Rows; len(rows) > 0 {
		field = string(rows[0][0])
	}
	return field, nil
}

// tool shows one of the server's programs as a person would call it, and runs it to its end: one that was killed would leave a
// server behind that is just starting.
func (p *postgresStage) tool(ctx context.Context, name string, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	shown := filepath.Join(p.bin, name)
	if p.owner != nil {
		shown = "sudo -u postgres " + shown
	}
	for _, a := range args {
		if strings.ContainsAny(a, " '") {
			a = fmt.Sprintf("%q", a)
		}
		shown += " " + a
	}
	p.page.command(shown)
	p.page.gap = false
	return p.run(name, args...)
}

func (p *postgresStage) run(name string, args ...string) (err error) {
	cmd := exec.CommandContext(context.Background(), filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"} // no setting of somebody's own
	said, err := os.CreateTemp(p.dir, "said-*")                           // a server would keep a pipe open
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, said.Close(), os.Remove(said.Name())) }()
	cmd.Stdout, cmd.Stderr = said, said
	if p.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.owner.UID), Gid: uint32(p.owner.GID)}}
	}
	err = cmd.Run()
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w: the user who runs the server must get to %s: name another place in $TMPDIR", name, err, p.dir)
	}
	if err != nil {
		text, rerr := os.ReadFile(said.Name())
		log, lerr := os.ReadFile(serverLog)
		if absent(lerr) {
			lerr = nil
		}
		return errors.Join(fmt.Errorf("%s: %w: %s%s", name, err, text, log), rerr, lerr)
	}
	return nil
}

// end stops the servers, and then the capture, to which nothing comes any more.
func (p *postgresStage) end() (err error) {
	for _, dir := range []string{restored, serverData} {
		if _, serr := os.Stat(filepath.Join(dir, "postmaster.pid")); serr == nil {
			err = errors.Join(err, p.run("pg_ctl", "stop", "-D", dir, "-m", "fast", "-w", "-s"))
		}
	}
	if p.capture != nil {
		err = errors.Join(err, p.capture.end())
	}
	return err
}
