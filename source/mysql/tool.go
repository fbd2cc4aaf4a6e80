package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"lifeboat/restore"
)

// The names of the server's programs, the newer first.
var (
	backupPrograms = []string{"mariadb-backup", "mariabackup"}
	dumpPrograms   = []string{"mariadb-dump", "mysqldump"}
	serverPrograms = []string{"mariadbd", "mysqld"}
	clientPrograms = []string{"mariadb", "mysql"}

	// These do not say which server's version they are of.
	installPrograms = []string{"mariadb-install-db", "mysql_install_db"}
	binlogPrograms  = []string{"mariadb-binlog", "mysqlbinlog"}
)

// places are where they stand, beside those of PATH: a server is not in that of most users.
var places = []string{"/usr/sbin", "/usr/bin", "/usr/local/mysql/bin", "/usr/libexec"}

// toolVersion finds the version of the server that a program is of: "10.11.19-MariaDB" in what it says of itself.
var toolVersion = regexp.MustCompile(`\d+\.\d+\.\d+-MariaDB`)

// findTool finds a program of a server's series, in dir where it is not empty.
func findTool(ctx context.Context, names []string, of version, dirs ...string) (string, error) {
	var found []string
	for _, path := range candidates(names, dirs) {
		out, err := exec.CommandContext(ctx, path, "--no-defaults", "--version").CombinedOutput()
		if err != nil {
			continue
		}
		v, err := parseVersion(toolVersion.FindString(string(out)))
		if err != nil {
			continue
		}
		if v.series() == of.series() {
			return path, nil
		}
		found = append(found, fmt.Sprintf("%s of %s", path, v.series()))
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if len(found) == 0 {
		found = []string{"none"}
	}
	return "", hinted{fmt.Errorf("%w: %s of %s, found: %s", ErrTool, names[0], of.series(), strings.Join(found, ", ")),
		"install the packages of the server's version that bring it (Debian: mariadb-backup, mariadb-client, mariadb-server-core)"}
}

// candidates are the files that may be one of the programs.
func candidates(names, dirs []string) (out []string) {
	dirs = slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d == "" })
	if len(dirs) == 0 {
		dirs = append(filepath.SplitList(os.Getenv("PATH")), places...)
	}
	for _, dir := range dirs {
		for _, name := range names {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && filepath.IsAbs(path) && !slices.Contains(out, path) {
				out = append(out, path)
			}
		}
	}
	return out
}

// tool is a program of the server that runs.
type tool struct {
	cmd  *exec.Cmd
	out  io.ReadCloser // what it writes
	said tail
	done chan error // how it ended
}

// begin starts a program. It ends with ctx, and with this process.
func begin(ctx context.Context, at *server, path string, args ...string) (*tool, error) {
	t := &tool{cmd: exec.CommandContext(ctx, path, args...), done: make(chan error, 1)}
	t.cmd.Env = append(environment(), "MYSQL_PWD="+at.password)
	t.cmd.Dir = "/"
	t.cmd.Stderr = &t.said
	t.cmd.Cancel = func() error { return t.cmd.Process.Signal(os.Interrupt) }
	t.cmd.WaitDelay = 10 * time.Second
	t.cmd.SysProcAttr = dying(nil)
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	widen(write)
	t.out, t.cmd.Stdout = read, write
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the child dies with the thread that made it
		defer runtime.UnlockOSThread()
		err := t.cmd.Start()
		_ = write.Close() // the child has its own
		started <- err
		if err == nil {
			t.done <- t.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, read.Close())
	}
	return t, nil
}

// end waits for the program, and says why it failed.
func (t *tool) end() error {
	err := <-t.done
	t.done <- err // for whoever asks again
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", filepath.Base(t.cmd.Path), err, t.said.reason())
}

// close ends the program, if it still runs.
func (t *tool) close() {
	_ = t.out.Close()                 // it can write no more
	_ = t.cmd.Process.Signal(os.Kill) // fails only if it has ended
	err := <-t.done
	t.done <- err
}

// environment is that of a child: nothing of what may lead it elsewhere.
func environment() []string {
	return append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MYSQL") || strings.HasPrefix(v, "MARIADB") || strings.HasPrefix(v, "LIFEBOAT") || strings.HasPrefix(v, "LC_")
	}), "LC_ALL=C.UTF-8", "TZ=UTC")
}

// run runs a program to its end, which keeps temporary files in dir: a server that starts removes all that others have in theirs.
func run(ctx context.Context, owner *restore.Owner, dir, path string, args ...string) error {
	var said tail
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(environment(), "TMPDIR="+dir), &said, &said
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = as(owner)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w: %s", filepath.Base(path), err, said.reason())
	}
	return nil
}

// tail keeps the end of what a program says.
type tail struct {
	mu   sync.Mutex
	said []byte
}

// maxSaid is how much of it is kept, bytes.
const maxSaid = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, b...)
	if len(t.said) > 2*maxSaid {
		t.said = append([]byte(nil), t.said[len(t.said)-maxSaid:]...)
	}
	return len(b), nil
}

// failing is what a line about a failure looks like; stamp is what it begins with.
var (
	failing = regexp.MustCompile(`(?i)\berror\b|failed|cannot|can't|denied|unable|fatal`)
	stamp   = regexp.MustCompile(`^(\[\d\d\] )?(FATAL ERROR: )?\d{4}-\d\d-\d\d +\d+:\d\d:\d\d( \d+)? ?`)
)

// reason is the last that a program said of a failure, else its last line.
func (t *tail) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.said), []byte("\n"))
	best := lines[len(lines)-1]
	for _, l := range slices.Backward(lines) {
		if failing.Match(l) {
			best = l
			break
		}
	}
	text := stamp.ReplaceAllString(string(best), "")
	return text[:min(len(text), 500)]
}
