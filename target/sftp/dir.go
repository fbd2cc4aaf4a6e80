package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"
)

// lstat describes several names in one round trip; what is absent is nil. The name "." is the directory of the target,
// which may be a symbolic link.
func (t *Target) lstat(ctx context.Context, c *conn, names ...string) ([]fs.FileInfo, error) {
	return call(ctx, c, func(s *sftp.Client) ([]fs.FileInfo, error) {
		infos := make([]fs.FileInfo, len(names))
		var g errgroup.Group
		for i, name := range names {
			g.Go(func() (err error) {
				if name == "." {
					infos[i], err = s.Stat(t.root)
				} else {
					infos[i], err = s.Lstat(t.at(name))
				}
				if errors.Is(err, fs.ErrNotExist) {
					infos[i], err = nil, nil
				}
				return err
			})
		}
		return infos, g.Wait()
	})
}

// way is what leads to a name: the directories above it, ".", a, a/b, and itself, a/b/c.
func way(name string) []string {
	out := []string{"."}
	for i := range len(name) {
		if name[i] == '/' {
			out = append(out, name[:i])
		}
	}
	return append(out, name)
}

// find describes the object of a name. A directory is no object, so it counts as absent.
func (t *Target) find(ctx context.Context, c *conn, name string) (fs.FileInfo, error) {
	infos, err := t.lstat(ctx, c, way(name)...)
	if err != nil {
		return nil, err
	}
	if infos[0] == nil {
		return nil, errGone
	}
	last := len(infos) - 1
	for _, info := range infos[:last] {
		if err := passable(info); err != nil {
			return nil, absent(err)
		}
	}
	switch info := infos[last]; {
	case info == nil, info.IsDir():
		return nil, fs.ErrNotExist
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, errLink
	case !info.Mode().IsRegular():
		return nil, errSpecial
	default:
		return info, nil
	}
}

// passable reports why a name on the way to an object is no directory.
func passable(info fs.FileInfo) error {
	switch {
	case info == nil:
		return fs.ErrNotExist
	case info.Mode()&fs.ModeSymlink != 0:
		return errLink
	case !info.IsDir():
		return syscall.ENOTDIR
	}
	return nil
}

// absent turns the ways in which a name can lead nowhere into fs.ErrNotExist.
func absent(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fs.ErrNotExist
	}
	return err
}

// prepare makes the directories that an object needs, and reports whether its name is taken.
func (t *Target) prepare(ctx context.Context, c *conn, name string) (taken bool, err error) {
	names := append(way(name), tempDir)
	infos, err := t.lstat(ctx, c, names...)
	if err != nil {
		return false, err
	}
	if infos[0] == nil {
		return false, errGone
	}
	last := len(way(name)) - 1
	for i, info := range infos {
		if i == last {
			continue
		}
		err := passable(info)
		if errors.Is(err, fs.ErrNotExist) {
			err = t.mkdir(ctx, c, names[i])
		}
		if err != nil {
			return false, fmt.Errorf("directory %s: %w", names[i], err)
		}
	}
	return infos[last] != nil, nil
}

// mkdir makes a directory, or finds that somebody else did.
func (t *Target) mkdir(ctx context.Context, c *conn, name string) error {
	err := do(ctx, c, func(s *sftp.Client) error { return s.Mkdir(t.at(name)) })
	if err == nil {
		t.setDurable(name, false)
		return nil
	}
	infos, statErr := t.lstat(ctx, c, name)
	if statErr != nil || infos[0] == nil {
		return t.explain(ctx, c, t.root, err, 0)
	}
	return passable(infos[0])
}

// makeAll makes the directory at a clean path, and those above it.
func makeAll(ctx context.Context, c *conn, dir string) error {
	return do(ctx, c, func(s *sftp.Client) error {
		at := ""
		for i, elem := range strings.Split(dir, "/") {
			if at = path.Join(at, elem); i == 0 && elem == "" {
				at = "/"
				continue
			}
			if info, err := s.Stat(at); err == nil && info.IsDir() {
				continue
			}
			if err := s.Mkdir(at); err != nil {
				return fmt.Errorf("directory %s: %w", at, err)
			}
		}
		return nil
	})
}

// syncEntries flushes the entries of the directory dir, and then the entry of each directory on the way down to it, where
// the server can: it does not tell what it cannot from what failed, so that only the loss of the connection is an error.
func (t *Target) syncEntries(ctx context.Context, c *conn, dir string) error {
	if !c.offers("fsync") {
		return nil
	}
	dirs := []string{dir}
	for at := dir; at != "."; at = path.Dir(at) {
		if !t.isDurable(at) {
			dirs = append(dirs, path.Dir(at))
		}
	}
	var g errgroup.Group
	for _, d := range dirs {
		g.Go(func() error {
			err := do(ctx, c, func(s *sftp.Client) error {
				f, err := s.OpenFile(t.at(d), os.O_RDONLY)
				if err != nil {
					return err
				}
				err = f.Sync()
				go func() { _ = f.Close() }() // nothing waits for that
				return err
			})
			if isAnswer(err) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for at := dir; at != "."; at = path.Dir(at) {
		t.setDurable(at, true)
	}
	return nil
}

func (t *Target) isDurable(dir string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.durable[dir]
}

func (t *Target) setDurable(dir string, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if is {
		t.durable[dir] = true
	} else {
		delete(t.durable, dir)
	}
}
