package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lifeboat/restore"
)

// Layout says where a restored server goes, and whose it is.
type Layout struct {
	Dir   string         // the data directory
	Owner *restore.Owner // nil: whoever restores
	Port  int            // 0: it listens on its socket only
}

// Programs are those of a server that a restore needs.
type Programs struct {
	backup                          string // for a physical snapshot
	server, install, client, binlog string // where something is to be started, or the log replayed
}

// The files in a restored data directory that are not the server's. A directory would be a database.
const (
	configFile = "lifeboat.cnf"
	logFile    = "lifeboat.log"
	socketFile = "lifeboat.sock"
	pidFile    = "lifeboat.pid"
)

// key is what stands in a data directory without which the server refuses it: the tables of its users.
const key = "mysql"

// ParseManifest reads the manifest of a tree.
func ParseManifest(b []byte) (m Manifest, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read the manifest of the server: %w", err)
	}
	if m.Mode != Physical && m.Mode != Logical {
		return m, fmt.Errorf("read the manifest of the server: mode %q is not known", m.Mode)
	}
	_, err = parseVersion(m.Version)
	return m, err
}

// NewSink prepares a directory for size bytes of a snapshot, which becomes a data directory in it, on which the log of r is replayed. Errors are those of restore.NewDirectory.
func NewSink(l Layout, m Manifest, p Programs, size int64, r *restore.Replay) (*restore.Directory, error) {
	for _, o := range r.Log {
		size += o.Size // more or less: what it changes may stand there already
	}
	d, err := restore.NewDirectory(l.Dir, size)
	if err != nil {
		return nil, err
	}
	d.Owner, d.Key = l.Owner, key
	d.Prepare = func(ctx context.Context, dir string) error { return p.prepare(ctx, l, m, r, dir) }
	return d, nil
}

// FindPrograms finds what a restore of m needs, in bin where it is not empty: with run a server runs in what was restored.
func FindPrograms(ctx context.Context, m Manifest, bin string, run bool) (p Programs, err error) {
	v, err := parseVersion(m.Version)
	if err != nil {
		return p, err
	}
	if m.Mode == Physical {
		if p.backup, err = findTool(ctx, backupPrograms, v, bin); err != nil {
			return p, err
		}
	}
	if !run {
		return p, nil
	}
	for _, w := range []struct {
		path  *string
		names []string
	}{{&p.server, serverPrograms}, {&p.client, clientPrograms}} {
		if *w.path, err = findTool(ctx, w.names, v, bin); err != nil {
			return p, err
		}
	}
	for _, w := range []struct {
		path  *string
		names []string
		dir   string
	}{{&p.binlog, binlogPrograms, filepath.Dir(p.client)}, {&p.install, installPrograms, bin}} {
		all := candidates(w.names, []string{w.dir})
		if len(all) == 0 {
			return p, fmt.Errorf("%w: %s", ErrTool, w.names[0])
		}
		*w.path = all[0]
	}
	return p, nil
}

// prepare makes what was restored to dir a data directory: files of a server become consistent, as after a crash; SQL is loaded into a new server where one is to run, and
// else stays as it is; then the log is replayed. A configuration comes beside it that knows nothing of the original's surroundings. Programs run as the owner.
func (p Programs) prepare(ctx context.Context, l Layout, m Manifest, r *restore.Replay, dir string) error {
	if m.Mode == Logical && p.server == "" {
		return nil
	}
	if m.Mode == Physical {
		if err := run(ctx, l.Owner, dir, p.backup, "--no-defaults", "--prepare", "--target-dir="+dir, "--use-memory="+strconv.Itoa(prepareMemory)); err != nil {
			return fmt.Errorf("prepare the restored files: %w", err)
		}
	}
	if m.Mode == Logical || len(r.Log) > 0 {
		if err := p.fill(ctx, l, m, r, dir); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, configFile), []byte(l.configuration(m)), 0o600)
}

// prepareMemory is what the redo log may use while it is replayed, bytes.
const prepareMemory = 512 << 20

// inFile is a path as a configuration holds it, where # begins a comment.
func inFile(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// plainValue reports whether a setting's value can be written without quotes, and names no place.
func plainValue(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:;.-") == ""
}

// configuration is a lifeboat.cnf with nothing of the original but what its files need.
func (l Layout) configuration(m Manifest) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Written by lifeboat restore, so that this server starts beside the original without touching it:
# no network, no replica, no event, no binary log. Take from the original's configuration what is missed, before it serves anybody.
[mariadbd]
datadir = %[1]s
tmpdir = %[1]s
socket = %[2]s
pid_file = %[3]s
log_error = %[4]s
skip_slave_start
skip_log_bin
event_scheduler = OFF
`, inFile(l.Dir), socketFile, inFile(filepath.Join(l.Dir, pidFile)), inFile(filepath.Join(l.Dir, logFile)))
	if l.Port == 0 {
		b.WriteString("skip_networking\n")
	} else {
		fmt.Fprintf(&b, "bind_address = 127.0.0.1\nport = %d\n", l.Port)
	}
	for _, name := range kept {
		if v := m.Settings[name]; plainValue(v) {
			fmt.Fprintf(&b, "%s = %s\n", name, v)
		}
	}
	return b.String()
}

// ErrNotStarted is wrapped where a restored server does not start.
var ErrNotStarted = errors.New("the restored server did not start")

// Boot starts a restored server and waits until it takes connections. It goes on running; the text says how to connect.
func (p Programs) Boot(ctx context.Context, l Layout) (string, error) {
	dir, err := filepath.Abs(l.Dir)
	if err != nil {
		return "", err
	}
	socket := filepath.Join(dir, socketFile)
	cmd := exec.Command(p.server, "--defaults-file="+filepath.Join(dir, configFile)) // it outlives ctx
	cmd.SysProcAttr = as(l.Owner)
	cmd.SysProcAttr.Setsid = true // nor does it end with the terminal
	if _, err := serve(ctx, cmd, dir, filepath.Join(dir, logFile)); err != nil {
		return "", err
	}
	connect := "mariadb --socket=" + socket
	if len(socket) > maxSocket {
		connect = fmt.Sprintf("cd '%s' && mariadb --socket=%s", dir, socketFile)
	}
	return fmt.Sprintf("it runs as process %d: connect with %s, as a user of the original; stop it with kill %d", cmd.Process.Pid, connect, cmd.Process.Pid), nil
}

// maxSocket is the longest path that fits into the address of a socket, bytes.
const maxSocket = 107

// serve starts a server in dir, and waits until it takes connections at its socket there. How it ends is sent.
func serve(ctx context.Context, cmd *exec.Cmd, dir, log string) (ended chan error, err error) {
	at, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	if cmd.Dir = dir; cmd.Env == nil {
		cmd.Env = environment()
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if answers(ctx, fmt.Sprintf("/proc/self/fd/%d/%s", at.Fd(), socketFile)) == nil { // however long the path is
			return ended, nil
		}
		select {
		case how := <-ended:
			return nil, fmt.Errorf("%w: it ended (%v); the end of its log:\n%s", ErrNotStarted, how, lastLines(log))
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			return nil, errors.Join(ctx.Err(), <-ended)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers reports whether a server greets whoever connects.
func answers(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })() // whoever reads is told
	head := make([]byte, 5)                                  // length, number, and the version of the protocol or 0xff for an error
	_, err = io.ReadFull(c, head)
	if err == nil && head[4] != 10 {
		err = fmt.Errorf("it answers %x", head)
	}
	return err
}

// lastLines is the end of a log for a message.
func lastLines(path string) string {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "(it was not written)"
	}
	if err != nil {
		return err.Error()
	}
	lines := slices.Collect(strings.Lines(strings.TrimSpace(string(b[max(0, len(b)-maxSaid):]))))
	return strings.Join(lines[max(0, len(lines)-8):], "")
}
