package files

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

// entry is something in a directory, as it was last looked at.
type entry struct {
	name string   // in the snapshot
	dir  *os.File // that it is in; nil: base is its whole path
	base string
	stat
}

// stat is what the system says of a file.
type stat struct{ unix.Stat_t }

// identity tells files apart.
type identity struct{ dev, ino uint64 }

func (s *stat) identity() identity { return identity{uint64(s.Dev), uint64(s.Ino)} }

func (s *stat) kind() uint32 { return uint32(s.Mode) & unix.S_IFMT }

// same reports whether nothing wrote to the file between the two looks.
func (s *stat) same(o *stat) bool {
	return s.identity() == o.identity() && s.kind() == o.kind() && s.Size == o.Size && s.Mtim == o.Mtim && s.Ctim == o.Ctim
}

// modified is when the file was last written to; zero where no format can say it.
func (s *stat) modified() time.Time {
	t := time.Unix(s.Mtim.Unix()).UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// racy is how long before a snapshot a file may have been written to without that the next write is sure to change its times.
const racy = 2 * time.Second

// state is what Item.State says of a file whose content is read from started on.
func (s *stat) state(started time.Time) string {
	limit := started.Add(-racy)
	if !time.Unix(s.Mtim.Unix()).Before(limit) || !time.Unix(s.Ctim.Unix()).Before(limit) {
		return ""
	}
	return fmt.Sprintf("%x.%x.%x.%x", s.Dev, s.Ino, s.Ctim.Sec, s.Ctim.Nsec)
}

// owner is nil where the file system has none.
func (s *stat) owner() *snapshot.Owner {
	if s.Uid == math.MaxUint32 || s.Gid == math.MaxUint32 {
		return nil
	}
	return &snapshot.Owner{UID: s.Uid, GID: s.Gid}
}

func (s *stat) perm() fs.FileMode { return fs.FileMode(s.Mode) & fs.ModePerm }

// look asks the system about the entry itself, not what it leads to.
func (e *entry) look() error {
	return again(func() error { return unix.Fstatat(descriptor(e.dir), e.base, &e.Stat_t, unix.AT_SYMLINK_NOFOLLOW) })
}

// open opens the entry for reading, and tells what was opened. It follows no symbolic link, and waits for nobody at the other end of a pipe.
func (e *entry) open(flags int) (*os.File, *stat, error) {
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat(descriptor(e.dir), e.base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	file, now := os.NewFile(uintptr(fd), e.base), &stat{}
	if err := now.of(file); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, now, nil
}

func (s *stat) of(file *os.File) error {
	return again(func() error { return unix.Fstat(int(file.Fd()), &s.Stat_t) })
}

// target is what a symbolic link leads to.
func (e *entry) target() (string, error) {
	b := make([]byte, unix.PathMax)
	var n int
	err := again(func() (err error) {
		n, err = unix.Readlinkat(descriptor(e.dir), e.base, b)
		return err
	})
	if err == nil && (n == 0 || n == len(b)) {
		err = unix.ENAMETOOLONG
	}
	return string(b[:max(n, 0)]), err
}

func descriptor(dir *os.File) int {
	if dir == nil {
		return unix.AT_FDCWD
	}
	return int(dir.Fd())
}

// again repeats a call that a signal interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
