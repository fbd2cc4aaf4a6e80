package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"lifeboat/restore"
)

// Reuse is for a directory that holds the database of this name, with its journals, and nothing else. Nobody may have it open, as far as
// that can be seen.
func Reuse(name string) restore.Reuse {
	own := []string{name, name + "-wal", name + "-shm", name + "-journal"}
	return restore.Reuse{Key: name, Identity: name, Only: own, Check: func(dir string) error {
		path := filepath.Join(dir, name)
		switch info, err := os.Lstat(path); {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil || !info.Mode().IsRegular():
			return fmt.Errorf("it has no database file %s that could be reused: without --reuse a new or empty directory is restored into", name)
		}
		return unused(path)
	}}
}

// The bytes of a database file that connections lock: https://sqlite.org/lockingv3.html
const (
	lockStart = 1 << 30
	lockBytes = 512
)

// unused refuses a database that another process has open: by the locks of its connections, and by the open files that this user may see.
func unused(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: lockStart, Len: lockBytes}
	if err = errors.Join(unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock), f.Close()); err != nil {
		return err
	}
	if lock.Type != unix.F_UNLCK {
		return inUse(strconv.Itoa(int(lock.Pid)))
	}
	abs, err := filepath.EvalSymlinks(path)
	if err == nil {
		abs, err = filepath.Abs(abs)
	}
	if err != nil {
		return err
	}
	open, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return err
	}
	for _, link := range open {
		pid := filepath.Base(filepath.Dir(filepath.Dir(link)))
		if to, err := os.Readlink(link); err == nil && to == abs && pid != strconv.Itoa(os.Getpid()) {
			return inUse(pid)
		}
	}
	return nil
}

func inUse(pid string) error {
	return fmt.Errorf("process %s has the database open: stop what uses it first", pid)
}
