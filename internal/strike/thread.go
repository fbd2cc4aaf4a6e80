//go:build linux && amd64

package strike

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread runs f on an operating system thread that has no child processes and ends with f. ptrace obeys only the
// thread that began it, and only such a thread can wait for "any of mine" without reaping what other parts of the test
// have started.
func onOwnThread(f func() error) error {
	result := make(chan error)
	done := make(chan struct{})
	var try func()
	try = func() {
		runtime.LockOSThread()
		if hasChildren() {
			go try()
			<-done // keep this thread from being picked again, and do not end it: its children may be tied to it
			runtime.UnlockOSThread()
			return
		}
		result <- f() // and never unlock: the thread ends with this goroutine
	}
	go try()
	err := <-result
	close(done)
	return err
}

// hasChildren reports whether the calling thread has child processes, or may inherit some because it leads the process.
func hasChildren() bool {
	peek := unix.WEXITED | unix.WNOHANG | unix.WNOWAIT | unix.WALL | unix.WNOTHREAD
	err := unix.Waitid(unix.P_ALL, 0, nil, peek, nil)
	return !errors.Is(err, unix.ECHILD) || unix.Gettid() == os.Getpid()
}

// wait is wait4 for one process (or any of this thread's, -1), whatever kind of thread it is.
func wait(pid int, ws *unix.WaitStatus) (int, error) {
	for {
		got, err := unix.Wait4(pid, ws, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return got, err
		}
	}
}

// errnoOf is the error that a system call's result stands for, if any.
func errnoOf(result uint64) unix.Errno {
	if n := -int64(result); n > 0 && n < 4096 {
		return unix.Errno(n)
	}
	return 0
}
