package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lifeboat/internal/atomicfile"
)

// Locked is a file that says that something is under way, for as long as whoever made it lives.
type Locked struct {
	*os.File
	path string
}

// Name is the path of the file.
func (l *Locked) Name() string { return l.path }

// Lock makes a file of this content, durably, and holds it; fs.ErrExist where there is one. It is held before it has its name: nobody can Hold it in between.
func Lock(path string, content []byte) (*Locked, error) {
	dir, base := filepath.Dir(path), filepath.Base(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make note: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+base+".tmp-*") // as atomicfile names it
	if err != nil {
		return nil, fmt.Errorf("make note: %w", err)
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = os.Link(f.Name(), path) // a rename would replace another's
	}
	named := err == nil
	if rerr := os.Remove(f.Name()); err == nil {
		err = rerr
	}
	if err == nil {
		err = atomicfile.SyncDir(dir)
	}
	if err != nil {
		err = fmt.Errorf("make note %s: %w", path, err)
		if named {
			err = errors.Join(err, os.Remove(path))
		}
		return nil, errors.Join(err, f.Close())
	}
	return &Locked{f, path}, nil
}

// Hold takes a file of Lock whose maker has died; nil where it lives, and fs.ErrNotExist where it has just ended.
func Hold(path string) (*Locked, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("hold note: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, f.Close()
		}
		return nil, errors.Join(fmt.Errorf("hold note %s: %w", path, err), f.Close())
	}
	mine, err := f.Stat()
	there, lerr := os.Lstat(path)
	if err = errors.Join(err, lerr); err == nil && !os.SameFile(mine, there) {
		err = fs.ErrNotExist // of that name there is another one by now
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hold note %s: %w", path, err), f.Close())
	}
	return &Locked{f, path}, nil
}

// End removes the file and lets it go.
func (l *Locked) End() error { return errors.Join(os.Remove(l.path), l.Close()) }
