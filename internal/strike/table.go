//go:build linux && amd64

package strike

import "golang.org/x/sys/unix"

// shape says where a system call has its file. Numbers are of arguments, from 0; none is -1.
type shape struct {
	name    string
	fd      int // the open file that it modifies
	dir     int // what path is relative to; none: the working directory
	path    int
	toDir   int // the same, for a second path
	to      int
	bytes   int  // how much it is asked to write
	flags   int  // open flags: the call counts only if they create or truncate
	tearing bool // a part of it can be let happen, by cutting the third argument
}

const none = -1

func onFD(name string, fd, bytes int) shape {
	return shape{name: name, fd: fd, dir: none, path: none, toDir: none, to: none, bytes: bytes, flags: none}
}

func onPath(name string, dir, path int) shape {
	return shape{name: name, fd: none, dir: dir, path: path, toDir: none, to: none, bytes: none, flags: none}
}

func onTwo(name string, dir, path, toDir, to int) shape {
	return shape{name: name, fd: none, dir: dir, path: path, toDir: toDir, to: to, bytes: none, flags: none}
}

func opening(name string, dir, path, flags int) shape {
	s := onPath(name, dir, path)
	s.flags = flags
	return s
}

func tearable(s shape) shape {
	s.tearing = true
	return s
}

// creating are the open flags that change something.
const creating = unix.O_CREAT | unix.O_TRUNC

// shapes are the calls that count.
var shapes = map[uint64]shape{
	unix.SYS_WRITE:           tearable(onFD("write", 0, 2)),
	unix.SYS_PWRITE64:        tearable(onFD("pwrite64", 0, 2)),
	unix.SYS_WRITEV:          onFD("writev", 0, none),
	unix.SYS_PWRITEV:         onFD("pwritev", 0, none),
	unix.SYS_PWRITEV2:        onFD("pwritev2", 0, none),
	unix.SYS_COPY_FILE_RANGE: onFD("copy_file_range", 2, 4),
	unix.SYS_SENDFILE:        onFD("sendfile", 0, 3),
	unix.SYS_FSYNC:           onFD("fsync", 0, none),
	unix.SYS_FDATASYNC:       onFD("fdatasync", 0, none),
	unix.SYS_SYNCFS:          onFD("syncfs", 0, none),
	unix.SYS_FTRUNCATE:       onFD("ftruncate", 0, none),
	unix.SYS_FALLOCATE:       onFD("fallocate", 0, none),
	unix.SYS_FCHMOD:          onFD("fchmod", 0, none),
	unix.SYS_TRUNCATE:        onPath("truncate", none, 0),
	unix.SYS_CHMOD:           onPath("chmod", none, 0),
	unix.SYS_FCHMODAT:        onPath("fchmodat", 0, 1),
	unix.SYS_FCHMODAT2:       onPath("fchmodat2", 0, 1),
	unix.SYS_UNLINK:          onPath("unlink", none, 0),
	unix.SYS_UNLINKAT:        onPath("unlinkat", 0, 1),
	unix.SYS_RMDIR:           onPath("rmdir", none, 0),
	unix.SYS_MKDIR:           onPath("mkdir", none, 0),
	unix.SYS_MKDIRAT:         onPath("mkdirat", 0, 1),
	unix.SYS_LINK:            onTwo("link", none, 0, none, 1),
	unix.SYS_LINKAT:          onTwo("linkat", 0, 1, 2, 3),
	unix.SYS_RENAME:          onTwo("rename", none, 0, none, 1),
	unix.SYS_RENAMEAT:        onTwo("renameat", 0, 1, 2, 3),
	unix.SYS_RENAMEAT2:       onTwo("renameat2", 0, 1, 2, 3),
	unix.SYS_SYMLINK:         onPath("symlink", none, 1),
	unix.SYS_SYMLINKAT:       onPath("symlinkat", 1, 2),
	unix.SYS_CREAT:           onPath("creat", none, 0),
	unix.SYS_OPEN:            opening("open", none, 0, 1),
	unix.SYS_OPENAT:          opening("openat", 0, 1, 2),
}

// arguments are those of the call that a thread is stopped at.
func arguments(r *unix.PtraceRegs) [6]uint64 {
	return [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}
}
