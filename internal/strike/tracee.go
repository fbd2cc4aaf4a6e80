//go:build linux && amd64

package strike

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// describe reads the call at which thread tid stands; ok is false if it is none that counts.
func describe(tid int, r *unix.PtraceRegs) (c Call, _ shape, ok bool, err error) {
	s, known := shapes[r.Orig_rax]
	if !known {
		return Call{}, s, false, nil
	}
	args := arguments(r)
	c = Call{TID: tid, Name: s.name}
	if s.bytes != none {
		c.Bytes = int64(args[s.bytes])
	}
	if s.fd != none {
		c.Path, ok = openFile(tid, int32(args[s.fd]))
		return c, s, ok, nil
	}
	c.Path, err = pathArgument(tid, args, s.dir, s.path)
	if err != nil {
		return c, s, false, err
	}
	if s.to != none {
		c.To, err = pathArgument(tid, args, s.toDir, s.to)
	}
	return c, s, lasting(c.Path) && err == nil, err
}

// openFile is the path behind a descriptor, if that is a file or a directory of a real file system.
func openFile(tid int, fd int32) (string, bool) {
	link := fmt.Sprintf("/proc/%d/fd/%d", tid, fd)
	var st unix.Stat_t
	if err := unix.Stat(link, &st); err != nil {
		return "", false // not open: the call is about to fail
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return "", false
	}
	path, err := os.Readlink(link)
	return path, err == nil && lasting(path)
}

// lasting reports whether a path is of a file system that keeps files.
func lasting(path string) bool {
	for _, prefix := range []string{"/dev/", "/proc/", "/sys/", "/memfd:"} {
		if strings.HasPrefix(path, prefix) {
			return false
		}
	}
	return true
}

// pathArgument is the path in one argument, made absolute by the directory in another.
func pathArgument(tid int, args [6]uint64, dir, path int) (string, error) {
	name, err := cString(tid, uintptr(args[path]))
	if err != nil || filepath.IsAbs(name) {
		return name, err
	}
	link := fmt.Sprintf("/proc/%d/cwd", tid)
	if dir != none && int32(args[dir]) != unix.AT_FDCWD {
		link = fmt.Sprintf("/proc/%d/fd/%d", tid, int32(args[dir]))
	}
	base, err := os.Readlink(link)
	if err != nil {
		return name, nil // no such directory: the call is about to fail
	}
	return filepath.Join(base, name), nil
}

// cString reads a zero-terminated text from a thread's memory, page by page: the next may not be there.
func cString(tid int, at uintptr) (string, error) {
	var text []byte
	for len(text) < unix.PathMax {
		buf := make([]byte, 4096-at%4096)
		local := []unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}
		remote := []unix.RemoteIovec{{Base: at, Len: len(buf)}}
		n, err := unix.ProcessVMReadv(tid, local, remote, 0)
		if err != nil {
			return "", fmt.Errorf("read path of thread %d: %w", tid, err)
		}
		if end := bytes.IndexByte(buf[:n], 0); end >= 0 {
			return string(append(text, buf[:end]...)), nil
		}
		text = append(text, buf[:n]...)
		at += uintptr(n)
	}
	return string(text), nil
}
