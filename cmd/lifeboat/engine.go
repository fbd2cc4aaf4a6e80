package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/internal/secretfile"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/source/files"
	"lifeboat/source/mysql"
	"lifeboat/source/postgres"
	"lifeboat/source/sqlite"
)

// engineOptions are the flags of a restore that only some engines know.
type engineOptions struct {
	tablespaces []string
	owner, bin  string
	action      string
	port        int
	into        string // dsn
	intoFile    string // with its password
}

func (o *engineOptions) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.tablespaces, "tablespace", nil, "`NAME=DIR` puts a tablespace there; NAME is its OID or its original directory (default: beside DIR)")
	f.StringVar(&o.owner, "owner", "", "`USER` whom the restored files belong to (default: who restores; for root postgres or mysql)")
	f.StringVar(&o.bin, "engine-bin", "", "`DIR` with the programs of the database server")
	f.StringVar(&o.action, "action", "promote", "what the server does at the point: promote, or `pause` read-only")
	f.StringVar(&o.into, "into", "", "`DSN` of an empty MariaDB server that runs: what was restored to DIR as SQL is loaded into it (mysql://user@host:3306/)")
	f.StringVar(&o.intoFile, "into-password-file", "", "`FILE` with the password for --into (default: $MYSQL_PWD)")
	f.IntVar(&o.port, "port", 0, "`N` is the port of the restored server (default 5432; MariaDB listens on its socket only)")
}

// sink is where a restore writes.
type sink interface {
	restore.Sink
	restore.Reuser // of use only where the goal says so
	Work() string
	Close() error
}

// engine is what a restore needs of a database engine.
type engine struct {
	sink  func(size int64) (sink, error)
	start func(context.Context) error
	tell  func() error // what to know of what was restored; nil: nothing
}

// goal is what a restore is to bring back, and where.
type goal struct {
	tree   *snapshot.Tree
	to     string
	start  bool // it will be started
	reuse  bool // another state of it stands there
	replay *restore.Replay
	engineOptions
}

// engine prepares what the snapshot's engine needs for a goal.
func (a *app) engine(ctx context.Context, g goal) (*engine, error) {
	tree, to := g.tree, g.to
	if g.into != "" && config.Engine(tree.Root.Engine) != config.MySQL {
		return nil, usagef("--into is for MariaDB: restore into a directory with --to alone")
	}
	switch config.Engine(tree.Root.Engine) {
	case config.Postgres:
		return a.postgres(ctx, g)
	case config.SQLite:
		return &engine{
			sink: func(size int64) (sink, error) {
				if !g.reuse {
					return restore.NewDirectory(to, size)
				}
				for f, err := range tree.Files(ctx) {
					if err != nil {
						return nil, err
					}
					return restore.ReuseDirectory(to, size, sqlite.Reuse(f.Name)) // it has one
				}
				return nil, fmt.Errorf("the snapshot has no database: %w", crypto.ErrDamaged)
			},
			start: func(ctx context.Context) error { return a.verifySQLite(ctx, to) },
		}, nil
	case config.Files:
		return a.files(g)
	case config.MySQL:
		return a.mysql(ctx, g)
	}
	return nil, usagef("engine %q is not in this version", tree.Root.Engine)
}

// mysql prepares the restore of a MariaDB server.
func (a *app) mysql(ctx context.Context, g goal) (*engine, error) {
	if g.reuse {
		return nil, usagef("--reuse is not for this engine: restore into a new directory")
	}
	m, err := mysql.ParseManifest(g.tree.Root.Manifest)
	if err != nil {
		return nil, err
	}
	l := mysql.Layout{Port: g.port}
	if l.Dir, err = filepath.Abs(g.to); err != nil {
		return nil, err
	}
	if l.Owner, err = owner(g.owner, "mysql", g.start || len(g.replay.Log) > 0); err != nil {
		return nil, err
	}
	if g.into != "" {
		return a.mysqlInto(ctx, g, m)
	}
	run := g.start || len(g.replay.Log) > 0
	programs, err := mysql.FindPrograms(ctx, m, g.bin, run)
	if err != nil { // before anything is written
		return nil, fmt.Errorf("%w: %w, or name their directory with --engine-bin", restore.ErrRefused, err)
	}
	return &engine{
		sink: func(size int64) (sink, error) {
			d, err := mysql.NewSink(l, m, programs, size, g.replay)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
		tell: func() error {
			if m.Mode == mysql.Logical && !run {
				a.note("It is SQL, for a new server: mariadb --binary-mode <%[1]s/databases.sql, then the same with accounts.sql; or repeat with --start, which makes one.", g.to)
			}
			return nil
		},
		start: func(ctx context.Context) error {
			how, err := programs.Boot(ctx, l)
			if err != nil {
				return verdictError{err}
			}
			a.note("%s", how)
			return nil
		},
	}, nil
}

// files prepares the restore of files, which belong to whom they belonged to where root restores.
func (a *app) files(g goal) (*engine, error) {
	switch {
	case g.reuse:
		return nil, usagef("--reuse is for databases: restore into a new directory, and move from there what is needed")
	case g.start:
		return nil, usagef("--start is for databases: there is nothing to start in a snapshot of files")
	}
	var whom *restore.Owner
	if g.owner != "" {
		var err error
		if whom, err = owner(g.owner, "", false); err != nil {
			return nil, err
		}
	}
	return &engine{
		sink: func(size int64) (sink, error) {
			d, err := restore.NewDirectory(g.to, size)
			if err != nil {
				return nil, err
			}
			d.Tree, d.Owner = true, whom
			if os.Geteuid() != 0 {
				a.note("everything will belong to you: only root can give files back to their owners")
			}
			return d, nil
		},
		tell: func() error { return a.fingerprints(g.to) },
	}, nil
}

// fingerprints says which keys have to come from elsewhere.
func (a *app) fingerprints(dir string) error {
	list, err := files.ReadFingerprints(dir)
	if err != nil {
		return fmt.Errorf("read the fingerprints that were restored: %w", err)
	}
	if len(list) == 0 {
		return nil
	}
	a.note("not in the backup, because only their fingerprints are kept:")
	for _, f := range list {
		a.note("  %s  %s", f.SHA256, snapshot.Escape(f.Path))
	}
	a.note("bring them from where your keys are kept, and compare what `sha256sum FILE` says of each before the application starts")
	return nil
}

// mysqlInto prepares the restore of a MariaDB server into one that runs: the SQL goes to a directory, and from there into it.
func (a *app) mysqlInto(ctx context.Context, g goal, m mysql.Manifest) (*engine, error) {
	if g.start {
		return nil, usagef("--start is for a directory, and the server of --into runs: choose one of them")
	}
	if u, err := url.Parse(g.into); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			return nil, usagef("--into has a password, which everybody sees who lists processes: take it out, and use --into-password-file or $MYSQL_PWD")
		}
	}
	password, err := secretfile.Read(g.intoFile, "--into-password-file")
	if err != nil {
		return nil, usageError{err}
	}
	programs, err := mysql.FindPrograms(ctx, m, g.bin, true)
	if err != nil {
		return nil, fmt.Errorf("%w: %w, or name their directory with --engine-bin", restore.ErrRefused, err)
	}
	server, err := mysql.FindRunning(ctx, m, programs, g.into, password)
	if err != nil {
		return nil, err
	}
	return &engine{
		sink: func(size int64) (sink, error) {
			d, err := restore.NewDirectory(g.to, size)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
		tell: func() error {
			if err := server.Load(ctx, g.to, g.replay); err != nil {
				return err
			}
			a.note("its databases are in the server at %s; the accounts of the original are not, for it has its own: they stand in %s/accounts.sql", server, g.to)
			return nil
		},
	}, nil
}

// verifySQLite lets SQLite open and check what was restored.
func (a *app) verifySQLite(ctx context.Context, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := sqlite.Verify(ctx, f); err != nil {
			return verdictError{fmt.Errorf("%s does not pass the engine's check: %w", f, err)}
		}
		a.note("%s passes integrity_check and foreign_key_check\nput it in place only with the old -wal and -shm moved away; look at it with: sqlite3 -readonly %s", f, f)
	}
	return nil
}

func (a *app) postgres(ctx context.Context, g goal) (*engine, error) {
	start, o := g.start, g.engineOptions
	m, err := postgres.ParseManifest(g.tree.Root.Manifest)
	if err != nil {
		return nil, err
	}
	l := postgres.Layout{Dir: g.to, Tablespaces: map[string]string{}, Port: o.port, Pause: o.action == "pause", Reuse: g.reuse}
	if o.action != "promote" && o.action != "pause" {
		return nil, usagef("--action %q: expected promote or pause", o.action)
	}
	for _, t := range o.tablespaces {
		name, dir, ok := strings.Cut(t, "=")
		if !ok || name == "" || dir == "" {
			return nil, usagef("--tablespace %q: expected NAME=DIR", t)
		}
		l.Tablespaces[name] = dir
	}
	if l.Owner, err = owner(o.owner, "postgres", start); err != nil {
		return nil, err
	}
	bin := ""
	if start { // before anything is written
		if bin, err = postgres.Binaries(ctx, m.Version, o.bin); err != nil {
			return nil, fmt.Errorf("%w: %w, or name its programs with --engine-bin", restore.ErrRefused, err)
		}
	}
	return &engine{
		sink: func(size int64) (sink, error) {
			s, err := postgres.NewSink(l, m, size, g.replay)
			if err != nil {
				return nil, err
			}
			for _, dir := range s.Left() {
				a.note("what is in %s stays there: the restored cluster will not lead to it", dir)
			}
			return s, nil
		},
		start: func(ctx context.Context) error {
			how, err := postgres.Boot(ctx, bin, l, m, g.replay)
			if err != nil {
				return verdictError{err}
			}
			a.note("%s", how)
			return nil
		},
	}, nil
}

// owner is whom the files of a database server shall belong to: root cannot run one. Where nobody is named it is the user that its package makes.
func owner(name, usual string, start bool) (*restore.Owner, error) {
	if os.Geteuid() != 0 {
		if name != "" {
			return nil, usagef("--owner %s: only root can give files away", name)
		}
		return nil, nil
	}
	given := name != ""
	if !given {
		name = usual
	}
	u, err := user.Lookup(name)
	if err != nil {
		if !given && !start {
			return nil, nil
		}
		return nil, usagef("--owner %s: %w: name the user that runs the database server, which cannot be root", name, err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil || uid == 0 {
		return nil, usagef("--owner %s: %w", name, syscall.EINVAL)
	}
	return &restore.Owner{UID: uid, GID: gid}, nil
}
