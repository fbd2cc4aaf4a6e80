package postgres

import (
	"context"
	"errors"
	"fmt"
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

	"lifeboat/restore"
	"lifeboat/snapshot"
)

// ErrNoServer is wrapped where the machine has no PostgreSQL of the version that a cluster needs.
var ErrNoServer = errors.New("no PostgreSQL of this version is installed here")

// ErrNotReached is wrapped where a restored cluster does not reach the position that it should.
var ErrNotReached = errors.New("the cluster did not reach the position")

// Binaries finds the directory of the server programs for a version: bin itself where it is not empty.
func Binaries(ctx context.Context, version int, bin string) (string, error) {
	major := strconv.Itoa(version / 10000)
	dirs := []string{bin}
	if bin == "" {
		dirs = []string{"/usr/lib/postgresql/" + major + "/bin", "/usr/pgsql-" + major + "/bin", "/usr/local/pgsql/bin"}
		if p, err := exec.LookPath("postgres"); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	var found []string
	for _, dir := range dirs {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		fields := strings.Fields(string(out))
		if len(fields) < 3 {
			continue
		}
		if have, _, _ := strings.Cut(fields[2], "."); have == major {
			return dir, nil
		}
		found = append(found, fmt.Sprintf("%s in %s", fields[2], dir))
	}
	if len(found) == 0 {
		found = []string{"nothing"}
	}
	return "", fmt.Errorf("%w: %s is needed, found: %s: install it", ErrNoServer, major, strings.Join(found, ", "))
}

// startTimeout bounds the replay: a restored cluster may have hours of log.
const startTimeout = 24 * time.Hour

// Boot starts a restored cluster with the programs in bin, waits until the log is replayed, and makes sure that it reached
// the end of its snapshot. It goes on running; the text says how to connect.
func Boot(ctx context.Context, bin string, l Layout, m Manifest, r *restore.Replay) (string, error) {
	dir, err := filepath.Abs(l.Dir)
	if err != nil {
		return "", err
	}
	log := filepath.Join(dir, ours, "start.log")
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pg_ctl"), "start", "--pgdata="+dir, "--log="+log, "--wait", fmt.Sprintf("--timeout=%d", int(startTimeout.Seconds())), "--silent")
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PG") }), "LC_ALL=C.UTF-8")
	if l.Owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(l.Owner.UID), Gid: uint32(l.Owner.GID)}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("start the cluster in %s: %w: %s%s", dir, err, strings.TrimSpace(string(out)), tail(log))
	}
	port := l.Port
	if port == 0 {
		port = 5432
	}
	if err := reached(ctx, l, dir, port, m, r); err != nil {
		return "", err
	}
	as := asOwner(l.Owner)
	return fmt.Sprintf("it runs: connect with %spsql -h %s -p %d; stop it with %s%s -D %s stop", as, dir, port, as, filepath.Join(bin, "pg_ctl"), dir), nil
}

// asOwner is what root puts before a command for whom the cluster belongs to: it has no role in it, and pg_ctl refuses it.
func asOwner(o *restore.Owner) string {
	if o == nil || o.UID == os.Geteuid() {
		return ""
	}
	u, err := user.LookupId(strconv.Itoa(o.UID))
	if err != nil { // nobody has a name for it
		return fmt.Sprintf("setpriv --reuid %d --regid %d --clear-groups -- ", o.UID, o.GID)
	}
	return "runuser -u " + u.Username + " -- "
}

// reached asks a started cluster how far it came.
func reached(ctx context.Context, l Layout, dir string, port int, m Manifest, r *restore.Replay) error {
	c, err := Connect(ctx, dir, port, m.User, "postgres")
	if err != nil {
		return fmt.Errorf("connect to the restored cluster: %w", err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the answers are there
	for {
		rows, err := c.Exec(ctx, "SELECT pg_is_in_recovery(), system_identifier FROM pg_control_system()").ReadAll()
		if err != nil {
			return fmt.Errorf("ask the restored cluster: %w", err)
		}
		row := rows[0].Rows[0] // one row always
		if string(row[1]) != m.System {
			return fmt.Errorf("%w: the server in %s is of cluster %s, not %s", snapshot.ErrOther, dir, row[1], m.System)
		}
		if string(row[0]) == "f" {
			break
		}
		if l.Pause && r.Stop != nil {
			return nil // it serves reads, and how far it came only shows when it is promoted
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err = arrived(dir, m, r)
	return err
}

// arrived is where a promoted cluster left the timeline of its replay, which must be where the replay should end.
func arrived(dir string, m Manifest, r *restore.Replay) (lsn, error) {
	left, err := branch(dir, r.End.Line)
	if err != nil {
		return 0, err
	}
	least, err := parseLSN(m.End)
	if err != nil {
		return 0, err
	}
	if r.Last != nil {
		least = max(least, lsn(r.Last.End))
	}
	switch {
	case left < least:
		return 0, fmt.Errorf("%w: it left timeline %d at %s, before %s: do not use it, and report this", ErrNotReached, r.End.Line, left, least)
	case r.Stop != nil && !r.Through && left > lsn(*r.Stop):
		return 0, fmt.Errorf("%w: it left timeline %d at %s, behind %s where it should have stopped: do not use it, and report this", ErrNotReached, r.End.Line, left, lsn(*r.Stop))
	}
	return left, nil
}

// branch is where the cluster left a timeline, as the history that it wrote says.
func branch(dir string, timeline uint64) (lsn, error) {
	histories, err := filepath.Glob(filepath.Join(dir, "pg_wal", "*.history"))
	if err != nil {
		return 0, err
	}
	slices.Sort(histories)
	for _, path := range slices.Backward(histories) {
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == strconv.FormatUint(timeline, 10) {
				return parseLSN(f[1])
			}
		}
	}
	return 0, fmt.Errorf("%w: it opened no timeline of its own", ErrNotReached)
}

// Connect opens a session with the server whose socket stands in dir.
func Connect(ctx context.Context, dir string, port int, user, database string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database, cfg.Fallbacks, cfg.Password = dir, uint16(port), user, database, nil, ""
	cfg.RuntimeParams["search_path"] = "pg_catalog" // whoever owns the database may have another in mind
	return pgconn.ConnectConfig(ctx, cfg)
}

// tail is the end of a log for a message.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return "\nthe end of " + path + ":\n" + strings.Join(lines[max(0, len(lines)-8):], "\n")
}
