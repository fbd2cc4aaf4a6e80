package mysql

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeboat/restore"
)

// dying lets a child run as owner and end with the thread that made it.
func dying(owner *restore.Owner) *syscall.SysProcAttr {
	a := as(owner)
	a.Pdeathsig = syscall.SIGKILL
	return a
}

// widen makes a pipe hold more: each of its ends waits less for the other. It is of no harm where that is refused.
func widen(pipe *os.File) { _, _ = unix.FcntlInt(pipe.Fd(), unix.F_SETPIPE_SZ, 1<<20) }
