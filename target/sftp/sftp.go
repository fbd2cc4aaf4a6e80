// Package sftp keeps objects as files in a directory of another host, through SFTP as OpenSSH speaks it.
//
// The layout is that of package local: the object a/b is the file a/b below the directory. What is being written stands in
// .tmp until it is whole and durable, and gets its name by a hard link, which never replaces. The host's key has to be in a
// known_hosts file, and who connects has a key of their own: there are no passwords and no trust on first use.
//
// Files are made with mode 0400. An account that may neither change modes nor remove is then append-only.
package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/sftp"

	"lifeboat/internal/bandwidth"
	"lifeboat/target"
)

// tempDir holds unfinished objects. CheckName refuses its name, so it is never an object nor part of one.
const tempDir = ".tmp"

// connections is how many are open at most. One is bounded by a window of 2 MiB per round trip, and by one core on each side.
const connections = 4

var (
	errGone    = errors.New("the directory was removed, moved or unmounted while in use: bring it back and start again")
	errLink    = errors.New("symbolic links are not followed")
	errSpecial = errors.New("not a regular file")
	errClosed  = errors.New("the target is closed")
)

// Config says where the directory is, and how to get there.
type Config struct {
	Host       string
	Port       int    // 22 if zero
	User       string // the present user's name if empty
	Path       string // relative to the account's home directory unless absolute
	KeyFile    string // private key; if empty, those of the agent at $SSH_AUTH_SOCK
	KnownHosts string // host keys; ~/.ssh/known_hosts if empty

	Limit *bandwidth.Limit // of all connections together

	beat time.Duration // see conn.watch
}

// Target is a directory on another host. It implements target.Target. A failure that the host explains, such as
// syscall.ENOSPC or fs.ErrPermission, can be recognised with errors.Is.
type Target struct {
	cfg   Config
	place string // for messages only
	host  string // the address that was reached first
	root  string // absolute

	mu      sync.Mutex
	closed  bool
	slots   [connections]*slot
	durable map[string]bool // directories whose own entry is known to be on disk
}

var (
	_ target.Target   = (*Target)(nil)
	_ target.Repairer = (*Target)(nil)
)

// Open connects and opens the directory as a target. It writes nothing, and does not create the directory, because an
// absent one is more likely a disk that is not mounted than a new target.
func Open(ctx context.Context, cfg Config) (*Target, error) { return open(ctx, cfg, false) }

// Create makes the directory, with those above it as needed, and opens it. An existing directory is opened as it is.
func Create(ctx context.Context, cfg Config) (*Target, error) { return open(ctx, cfg, true) }

func open(ctx context.Context, cfg Config, create bool) (*Target, error) {
	t, err := newTarget(cfg)
	if err != nil {
		return nil, fmt.Errorf("open target %s: %w", cfg.Host, err)
	}
	verb := "open"
	if create {
		verb = "create"
	}
	if err := t.enter(ctx, create); err != nil {
		return nil, errors.Join(fmt.Errorf("%s target %s: %w", verb, t.place, cause(err)), t.Close())
	}
	return t, nil
}

// enter connects for the first time and finds the directory.
func (t *Target) enter(ctx context.Context, create bool) error {
	c, release, err := t.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	dir := path.Clean(strings.TrimPrefix(strings.TrimPrefix(t.cfg.Path, "/~/"), "~/"))
	if create {
		if err := makeAll(ctx, c, dir); err != nil {
			return t.explain(ctx, c, path.Dir(dir), err, 0)
		}
	}
	info, err := call(ctx, c, func(s *sftp.Client) (fs.FileInfo, error) { return s.Stat(dir) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: mount the disk that holds it, or create the directory with `lifeboat init`", fs.ErrNotExist)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%w: a target has to be a directory", syscall.ENOTDIR)
	}
	t.host = c.net.RemoteAddr().String()
	t.root, err = call(ctx, c, func(s *sftp.Client) (string, error) { return s.RealPath(dir) })
	return err
}

// Place is where the directory is: the host's address, the account, and the path without symbolic links as the host has it. Targets in one place have
// the same, and what is inside another is below it.
func (t *Target) Place() string { return path.Join("sftp:", t.host, t.cfg.User, t.root) }

// Put implements target.Target. When it returns, the file is flushed to disk where the server offers that, and so is its
// entry where the server can.
func (t *Target) Put(ctx context.Context, name string, body *io.SectionReader) error {
	return t.wrap("put", name, t.put(ctx, name, body, false))
}

// Replace implements target.Repairer.
func (t *Target) Replace(ctx context.Context, name string, body *io.SectionReader) error {
	return t.wrap("replace", name, t.put(ctx, name, body, true))
}

// Get implements target.Target. Anything but a regular file is refused. A negative offset is fs.ErrInvalid.
func (t *Target) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := t.get(ctx, name, off, n)
	if err != nil {
		return nil, t.wrap("get", name, err)
	}
	return r, nil
}

// List implements target.Target. It holds the entries of some directories per level in memory, and skips what is not an
// object: unfinished ones, invalid names, symbolic links and special files.
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[target.Info, error] {
	return func(yield func(target.Info, error) bool) {
		if err := t.list(ctx, prefix, yield); err != nil && !errors.Is(err, errStop) {
			yield(target.Info{}, t.wrap("list", prefix, err))
		}
	}
}

// Delete implements target.Target. Directories stay, even when empty.
func (t *Target) Delete(ctx context.Context, name string) error {
	return t.wrap("delete", name, t.remove(ctx, name))
}

// Free returns how many bytes the account may still write to the file system that holds the directory.
func (t *Target) Free() (uint64, error) {
	var free uint64
	err := t.retry(context.Background(), func(ctx context.Context, c *conn) error {
		st, err := call(ctx, c, func(s *sftp.Client) (*sftp.StatVFS, error) { return s.StatVFS(t.root) })
		if err == nil {
			free = st.Bavail * st.Frsize
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure free space in %s: %w", t.place, cause(err))
	}
	return free, nil
}

// Close ends all connections, and with them what is under way.
func (t *Target) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, s := range t.slots {
		if c := s.conn.Load(); c != nil {
			c.breakOff(errClosed)
		}
	}
	return nil
}

// wrap says what was done to what.
func (t *Target) wrap(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q in %s: %w", verb, name, t.place, cause(err))
}

// at is the path of a name on the host.
func (t *Target) at(name string) string { return path.Join(t.root, name) }
