//go:build linux && amd64

package strike

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// killOne kills the process of a thread. One that is gone already is as dead as it is meant to be.
func killOne(tid int) { _ = unix.Kill(tid, unix.SIGKILL) }

// gone reports whether err says that the thread died in the meantime, as any may at any time.
func gone(err error) bool { return errors.Is(err, unix.ESRCH) }

// resume is the error of letting a thread go on, if there is one that matters.
func resume(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

// stopped reports whether a stop is that of a whole process by job control, not the arrival of a signal: only for the
// latter is there information about a signal.
func stopped(tid int, sig unix.Signal) bool {
	switch sig {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
	default:
		return false
	}
	var info [128]byte // siginfo_t
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(tid), 0, uintptr(unsafe.Pointer(&info[0])), 0, 0)
	return errno == unix.EINVAL
}
