package cell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// attributes let a child die with this process, of orphan, and run as somebody; apart gives it a network, processes and shared memory of its own.
//
// With processes of its own its first one takes all others with it when it is killed.
func attributes(u *User, apart bool, orphan syscall.Signal) *syscall.SysProcAttr {
	a := As(u)
	a.Pdeathsig = orphan
	if !apart {
		return a
	}
	a.Pdeathsig = syscall.SIGKILL
	a.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// ownNetwork reports whether a process has another network namespace than this one.
func ownNetwork(pid int) (bool, error) {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	here, err2 := os.Readlink("/proc/self/ns/net")
	if err := errors.Join(err, err2); err != nil {
		return false, err
	}
	return theirs != here, nil
}

// processes are all that the system shows.
func processes() (out []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// worksIn reports whether dir is the working directory of a process or above it, or an argument of it.
func worksIn(pid int, dir string) bool {
	at := filepath.Join("/proc", strconv.Itoa(pid))
	if cwd, err := os.Readlink(filepath.Join(at, "cwd")); err == nil && strings.HasPrefix(strings.TrimSuffix(cwd, " (deleted)")+"/", dir+"/") {
		return true
	}
	line, err := os.ReadFile(filepath.Join(at, "cmdline"))
	return err == nil && slices.Contains(strings.Split(string(line), "\x00"), dir)
}

// called is the name of a process.
func called(pid int) string {
	name, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm")) // it may have ended
	return strings.TrimSpace(string(name))
}

// Reachable is a name for an open directory that fits into the address of a socket, however long its path is.
func Reachable(dir *os.File) string {
	if len(dir.Name()) <= maxSocketDir {
		return dir.Name()
	}
	return fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
}
