// Package local keeps objects as files in a directory: a disk, a USB drive, a network mount.
//
// The object a/b is the file a/b below the directory. What is being written stands in .tmp until it is whole and
// durable, and gets its name by a hard link, which never replaces. Symbolic links below the directory are not
// followed. A file system cannot hold both a and a/b: whichever comes second is refused.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeboat/target"
)

// tempDir holds unfinished objects. CheckName refuses its name, so it is never an object nor part of one.
const tempDir = ".tmp"

var (
	errGone    = errors.New("the directory was removed, moved or unmounted while in use: bring it back and start again")
	errLink    = errors.New("symbolic links are not followed")
	errSpecial = errors.New("not a regular file")
)

// Target is a directory of objects. It implements target.Target. Failures of the file system, such as
// syscall.ENOSPC or syscall.EROFS, can be recognised with errors.Is.
type Target struct {
	path string // absolute, for messages only
	root *os.Root

	mu      sync.Mutex
	durable map[string]bool // directories whose own entry is known to be on disk
}

var (
	_ target.Target   = (*Target)(nil)
	_ target.Repairer = (*Target)(nil)
)

// Open opens the directory path as a target. It writes nothing, so a read-only directory can be opened. It does not
// create the directory, because an absent one is more likely a disk that is not mounted than a new target.
func Open(path string) (*Target, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open target directory %s: %w", path, err)
	}
	info, err := os.Stat(abs)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(abs)
	}
	if err != nil {
		return nil, fmt.Errorf("open target directory %s: %w%s", abs, cause(err), hint(err))
	}
	return &Target{path: abs, root: root, durable: make(map[string]bool)}, nil
}

// hint says what to do about a directory that cannot be opened.
func hint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ": mount the disk that holds it, or create the directory"
	case errors.Is(err, syscall.ENOTDIR):
		return ": a target has to be a directory"
	case errors.Is(err, fs.ErrPermission):
		return ": give this user read, write and search permission"
	}
	return ""
}

// Create makes the directory path, with those above it as needed, durably and with mode 0700, and opens it. An
// existing directory is opened as it is.
func Create(path string) (*Target, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("create target directory %s: %w", path, err)
	}
	if err := mkdirDurable(abs); err != nil {
		return nil, fmt.Errorf("create target directory %s: %w", abs, cause(err))
	}
	return Open(abs)
}

// Close releases the directory. Readers that Get returned stay usable.
func (t *Target) Close() error { return t.root.Close() }

// Free returns how many bytes this process may still write to the file system that holds the directory.
func (t *Target) Free() (uint64, error) {
	dir, err := t.root.Open(".")
	if err != nil {
		return 0, fmt.Errorf("measure free space in %s: %w", t.path, cause(err))
	}
	defer release(dir)
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, fmt.Errorf("measure free space in %s: %w", t.path, err)
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// Put implements target.Target. When it returns, the file, its entry and those of all directories above it are
// flushed to disk. If only the last flush fails, the object stands although Put returns an error.
func (t *Target) Put(ctx context.Context, name string, body *io.SectionReader) error {
	return t.store(ctx, "put", name, body, false)
}

// Replace implements target.Repairer.
func (t *Target) Replace(ctx context.Context, name string, body *io.SectionReader) error {
	return t.store(ctx, "replace", name, body, true)
}

func (t *Target) store(ctx context.Context, verb, name string, body *io.SectionReader, replace bool) error {
	err := t.put(ctx, name, body, replace)
	if err == nil && t.gone() {
		err = errGone
	}
	if err != nil {
		return t.fail(verb, name, err)
	}
	return nil
}

// Get implements target.Target. Anything but a regular file is refused. A negative offset is fs.ErrInvalid.
func (t *Target) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := t.get(ctx, name, off, n)
	if err != nil {
		return nil, t.fail("get", name, err)
	}
	return r, nil
}

// List implements target.Target. It holds the entries of one directory per level in memory, and skips what is not an
// object: unfinished ones, invalid names, symbolic links and special files.
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[target.Info, error] {
	return func(yield func(target.Info, error) bool) {
		if err := t.list(ctx, prefix, yield); err != nil && !errors.Is(err, errStop) {
			yield(target.Info{}, t.fail("list", prefix, err))
		}
	}
}

// Delete implements target.Target. Directories stay, even when empty.
func (t *Target) Delete(ctx context.Context, name string) error {
	if err := t.remove(ctx, name); err != nil {
		return t.fail("delete", name, err)
	}
	return nil
}

// fail says what was done to what.
func (t *Target) fail(verb, name string, err error) error {
	return fmt.Errorf("%s %q in %s: %w", verb, name, t.path, t.reason(err))
}

// reason is cause, except that an absence in a removed directory is no statement about an object.
func (t *Target) reason(err error) error {
	if errors.Is(err, fs.ErrNotExist) && t.gone() {
		return errGone
	}
	return cause(err)
}

// gone reports whether the directory was removed since Open, or is no longer where it was: what is written to it then would
// not be found again.
func (t *Target) gone() bool {
	info, err := t.root.Stat(".")
	if err != nil {
		return false
	}
	there, err := os.Stat(t.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, there)
}

// cause drops the path from an error of package os, where the message already names the object.
func cause(err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}
