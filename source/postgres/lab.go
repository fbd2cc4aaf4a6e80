package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/cell"
	"lifeboat/internal/phrase"
	"lifeboat/restore"
	"lifeboat/verify"
)

// Lab restores a cluster for a drill and runs it there, out of reach of everything else. What the cluster's own configuration says does not count.
type Lab struct {
	Manifest Manifest
	Replay   *restore.Replay
	Bin      string         // directory of the server programs, see Binaries
	Owner    *restore.Owner // whom the cluster belongs to and who runs it; nil: this user, who must not be root
	// Database is the one that statements are put to; empty: the largest.
	Database string
}

var _ verify.Engine = (*Lab)(nil)

// Version implements verify.Engine.
func (l *Lab) Version() string {
	if v := l.Manifest.Settings["server_version"]; v != "" {
		return "PostgreSQL " + v
	}
	return fmt.Sprintf("PostgreSQL %d.%d", l.Manifest.Version/10000, l.Manifest.Version%10000)
}

// Sink implements verify.Engine. Tablespaces come into the directory of the same name with -tablespaces behind it.
func (l *Lab) Sink(dir string, size int64) (verify.Sink, error) {
	s, err := NewSink(Layout{Dir: dir, Owner: l.Owner}, l.Manifest, size, l.Replay)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Start implements verify.Engine. The cluster runs until Stop, or until ctx ends, which kills it. Errors end with the end of the server's log; they wrap
// ErrNotReached where it did not come as far as it should.
func (l *Lab) Start(ctx context.Context, dir string) (verify.Database, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir) // as the system names the working directory of its processes
	}
	if err != nil {
		return nil, fmt.Errorf("start the restored cluster: %w", err)
	}
	s, err := cell.Start(ctx, program(l.Bin, dir, l.Owner, l.Manifest.Version))
	if err != nil {
		return nil, fmt.Errorf("start the restored cluster in %s: %w", dir, err)
	}
	d := &Restored{lab: l, server: s}
	if err = ready(ctx, s); err == nil {
		err = d.begin(ctx)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what the server says when it is killed is only its consequence
		}
		err = fmt.Errorf("start the restored cluster in %s: %w%s", dir, err, tail(filepath.Join(dir, labLog)))
		_, serr := d.Stop(context.WithoutCancel(ctx))
		return nil, errors.Join(err, serr)
	}
	return d, nil
}

// begin finds out who may ask, and makes sure that the server is the one that was restored, where it should be, and alone.
func (d *Restored) begin(ctx context.Context) (err error) {
	if err := d.findAdmin(ctx); err != nil {
		return err
	}
	left, err := arrived(d.server.Dir, d.lab.Manifest, d.lab.Replay)
	if err != nil {
		return err
	}
	d.left = left
	d.reached = verify.Reached{Position: left.String()}
	err = d.with(ctx, d.home, func(c *conn) error {
		rows, err := c.ask(ctx, `SELECT system_identifier, pg_is_in_recovery(), (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint,
			(SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY pg_database_size(oid) DESC, oid LIMIT 1)
			FROM pg_control_system()`)
		if err != nil {
			return fmt.Errorf("ask the restored cluster: %w", err)
		}
		row := rows[0] // one row always
		if row[0] != d.lab.Manifest.System || row[1] != "f" {
			return fmt.Errorf("the server is of cluster %s (in recovery: %s), not %s", row[0], row[1], d.lab.Manifest.System)
		}
		if micro, err := strconv.ParseInt(row[2], 10, 64); err == nil {
			d.reached.Last = time.UnixMicro(micro).UTC()
		} else if last := d.lab.Replay.Last; last != nil { // the server saw none after its start
			d.reached.Last = last.Time.UTC()
		}
		if d.target = d.lab.Database; d.target == "" {
			d.target = row[3]
		}
		return d.alone(ctx, c)
	})
	if err != nil {
		return err
	}
	return d.cutOff(ctx)
}

// alone makes sure that the settings that keep the server from everything else are in force.
func (d *Restored) alone(ctx context.Context, c *conn) error {
	for name, want := range map[string]string{"data_directory": d.server.Dir, "listen_addresses": "", "archive_mode": "off", "primary_conninfo": "",
		"shared_preload_libraries": "", "max_logical_replication_workers": "0", "ssl": "off"} {
		rows, err := c.ask(ctx, "SELECT current_setting($1)", name)
		if err != nil {
			return fmt.Errorf("ask the restored cluster for %s: %w", name, err)
		}
		if got := rows[0][0]; got != want {
			return fmt.Errorf("the restored cluster has %s = %q, not %q: it is not isolated", name, got, want)
		}
	}
	return nil
}

// Isolation implements verify.Database.
func (d *Restored) Isolation() evidence.Isolation {
	i := evidence.Isolation{Separate: true, Network: d.server.Network, Listening: phrase.PostgresListening.Say(),
		Archiving: phrase.PostgresArchiving.Say(), User: account(d.lab.Owner),
		Limitation: phrase.PostgresLimitation.Say()}
	return i
}

// account is the name of who runs the server.
func account(o *restore.Owner) string {
	id := strconv.Itoa(os.Geteuid())
	if o != nil {
		id = strconv.Itoa(o.UID)
	}
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id // nobody has a name for it
}
