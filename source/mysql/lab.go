package mysql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/cell"
	"lifeboat/internal/phrase"
	"lifeboat/restore"
	"lifeboat/verify"
)

// Lab restores a server for a drill and runs it there, out of reach of everything else. What the original's configuration says does not count.
type Lab struct {
	Manifest Manifest
	Replay   *restore.Replay
	Programs Programs
	Owner    *restore.Owner // whom it belongs to and who runs it; nil: this user, who must not be root
}

var _ verify.Engine = (*Lab)(nil)

// Version implements verify.Engine.
func (l *Lab) Version() string { return l.Manifest.Version }

// Sink implements verify.Engine.
func (l *Lab) Sink(dir string, size int64) (verify.Sink, error) {
	s, err := NewSink(Layout{Dir: dir, Owner: l.Owner}, l.Manifest, l.Programs, size, l.Replay)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// drillLog is what the server says, in its directory.
const drillLog = "lifeboat-drill.log"

// program is the server to start. What is given here counts before any file: nobody comes in but through the socket, nothing goes out, and no code runs but the server's own.
func (l *Lab) program(dir string) cell.Program {
	args := []string{"--defaults-file=" + filepath.Join(dir, configFile), "--datadir=" + dir, "--socket=" + socketFile, "--pid-file=" + filepath.Join(dir, pidFile), "--log-error=", "--tmpdir=" + dir,
		"--skip-networking", "--skip-grant-tables", "--skip-log-bin", "--skip-slave-start", "--event-scheduler=DISABLED", "--local-infile=OFF", "--secure-file-priv=" + filepath.Join(dir, "performance_schema"),
		"--innodb-buffer-pool-load-at-startup=OFF", "--innodb-buffer-pool-dump-at-shutdown=OFF", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=256M", "--max-allowed-packet=64M", "--sql-mode="}
	return cell.Program{Path: l.Programs.server, Name: filepath.Base(l.Programs.server), Args: args, Dir: dir, Log: drillLog, User: (*cell.User)(l.Owner),
		Stop: []cell.Step{{Signal: syscall.SIGTERM, Wait: time.Minute}}, Orphan: syscall.SIGKILL}
}

// Start implements verify.Engine. The server runs until Stop, or until ctx ends, which kills it. Errors end with the end of the server's log.
func (l *Lab) Start(ctx context.Context, dir string) (verify.Database, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir) // as the system names the working directory of its processes
	}
	if err != nil {
		return nil, fmt.Errorf("start the restored server: %w", err)
	}
	s, err := cell.Start(ctx, l.program(dir))
	if err != nil {
		return nil, fmt.Errorf("start the restored server in %s: %w", dir, err)
	}
	d := &Restored{lab: l, server: s, tables: map[string]table{}}
	if d.socket, err = os.Open(dir); err == nil {
		err = d.ready(ctx)
	}
	if err == nil {
		err = d.begin(ctx)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what the server says when it is killed is only its consequence
		}
		err = fmt.Errorf("start the restored server in %s: %w\nthe end of its log:\n%s", dir, err, lastLines(filepath.Join(dir, drillLog)))
		_, serr := d.Stop(context.WithoutCancel(ctx))
		return nil, errors.Join(err, serr)
	}
	return d, nil
}

// Restored is a restored server that runs.
type Restored struct {
	lab    *Lab
	server *cell.Server
	socket *os.File // the directory of it

	admin, reader account

	mu     sync.Mutex
	tables map[string]table // by name
	target string           // database that statements are put to; empty: there is none
}

// account is one that was made for the drill.
type account struct{ name, password string }

func newAccount() account { return account{"lifeboat_" + rand.Text(), rand.Text()} }

var _ verify.Database = (*Restored)(nil)

// ready waits until the server takes connections.
func (d *Restored) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if answers(ctx, d.at()) == nil {
			return nil
		}
		select {
		case <-d.server.Ended:
			return d.server.How()
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// at is the address of the socket, however long its path is.
func (d *Restored) at() string { return cell.Reachable(d.socket) + "/" + socketFile }

// begin lets accounts count again, with two that are made in what was restored, which is thrown away: nobody knows the passwords of the others. Then it makes sure that the server is the
// one that was restored, and alone, and chooses the largest database for statements.
func (d *Restored) begin(ctx context.Context) error {
	d.admin, d.reader = newAccount(), newAccount()
	s, err := dial(ctx, &server{network: "unix", addr: d.at(), user: "root"})
	if err != nil {
		return fmt.Errorf("connect to the restored server: %w", err)
	}
	defer s.close()
	for _, sql := range []string{"FLUSH PRIVILEGES", "CREATE USER " + d.admin.name + "@localhost IDENTIFIED BY '" + d.admin.password + "'", "CREATE USER " + d.reader.name + "@localhost IDENTIFIED BY '" + d.reader.password + "'",
		"GRANT ALL PRIVILEGES ON *.* TO " + d.admin.name + "@localhost", "GRANT SELECT, SHOW VIEW ON *.* TO " + d.reader.name + "@localhost"} {
		if _, err := s.rows(sql); err != nil {
			return fmt.Errorf("make accounts for the drill: %w", err)
		}
	}
	return d.with(ctx, "", func(s *session) error {
		rows, err := s.rows("SELECT @@datadir, @@skip_networking, @@log_bin, @@event_scheduler, @@secure_file_priv <> ''")
		if err != nil {
			return fmt.Errorf("ask the restored server: %w", err)
		}
		r := rows[0] // one row always
		if filepath.Clean(r[0]) != d.server.Dir || r[1] != "1" || r[2] != "0" || r[3] != "DISABLED" || r[4] != "1" {
			return fmt.Errorf("the restored server has %q: it is not isolated", r)
		}
		rows, err = s.rows(`SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN (` + systemList + `) GROUP BY TABLE_SCHEMA ORDER BY SUM(COALESCE(DATA_LENGTH, 0)) DESC, TABLE_SCHEMA LIMIT 1`)
		if err == nil && len(rows) > 0 {
			d.target = rows[0][0]
		}
		return err
	})
}

// Isolation implements verify.Database.
func (d *Restored) Isolation() evidence.Isolation {
	id := os.Geteuid()
	if d.lab.Owner != nil {
		id = d.lab.Owner.UID
	}
	name := strconv.Itoa(id)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return evidence.Isolation{Separate: true, Network: d.server.Network, Listening: phrase.PostgresListening.Say(), Archiving: phrase.PostgresArchiving.Say(), User: name,
		Limitation: phrase.MariaLimitation.Say()}
}

// Reached implements verify.Database: the last transaction that was replayed, if one was.
func (d *Restored) Reached(context.Context) (verify.Reached, error) {
	return readReached(d.socket.Name())
}

// Stop implements verify.Database.
func (d *Restored) Stop(ctx context.Context) (left int, err error) {
	left = d.server.End(ctx)
	if d.socket != nil {
		err = d.socket.Close()
		d.socket = nil
	}
	return left, err
}

// with opens a session that may do everything.
func (d *Restored) with(ctx context.Context, database string, do func(*session) error) error {
	return d.as(ctx, d.admin, database, do)
}

// as opens a session of an account in a database, in a transaction that only reads. When ctx ends the server is told to end what it does.
func (d *Restored) as(ctx context.Context, a account, database string, do func(*session) error) error {
	at := &server{network: "unix", addr: d.at(), user: a.name, password: a.password, database: database}
	s, err := dial(ctx, at)
	if err != nil {
		return fmt.Errorf("connect to the restored server: %w", err)
	}
	defer s.close()
	id := s.GetConnectionID()
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
		defer cancel()
		if k, err := dial(ctx, at); err == nil {
			_, _ = k.rows(fmt.Sprintf("KILL %d", id)) // it may have ended
			k.close()
		}
	})
	defer stop()
	for _, sql := range []string{"SET SESSION time_zone = '+00:00'", "START TRANSACTION READ ONLY"} {
		if _, err := s.rows(sql); err != nil {
			return err
		}
	}
	err = do(s)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s: %w", phrase.StatementLate.Say(), ctx.Err())
	}
	return err
}
