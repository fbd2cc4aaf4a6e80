// Package atomicfile replaces files so that a crash at any moment leaves either the old contents or the new, never a
// mixture and never nothing. A crash can leave a hidden temporary file (".NAME.tmp-*") beside the file; it is never
// read.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// private is the mode of a file until its writer says otherwise: what is written may be a secret.
const private fs.FileMode = 0o600

// Write replaces path by data and returns once that is durable. The file gets exactly perm, whatever the umask. An
// error from the last step, making the new name durable, leaves the new contents in place.
func Write(path string, data []byte, perm fs.FileMode) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if perm != private {
		if err := f.Chmod(perm); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return f.Commit()
}

// File is a file under construction. Nothing stands under its path until Commit. It is not safe for concurrent use.
type File struct {
	*os.File // the temporary file, for writing; leave closing to Commit and Abort
	path     string
	done     bool
}

// Create begins a replacement of path, with mode 0600. The caller ends it with Commit or Abort; a deferred Abort after
// Commit does nothing.
func Create(path string) (*File, error) {
	dir, base := filepath.Split(path)
	if base == "" {
		return nil, fmt.Errorf("create %s: %w: not a file name", path, fs.ErrInvalid)
	}
	if dir == "" {
		dir = "." // CreateTemp would take the system's temporary directory, from which nothing can be renamed safely
	}
	tmp, err := os.CreateTemp(dir, "."+base+".tmp-*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &File{File: tmp, path: path}, nil
}

// Commit makes the contents durable, puts them in the place of the path and makes that durable too. After an error the
// old contents still stand, except when the last step failed; the file is closed either way.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("commit %s: %w", f.path, fs.ErrClosed)
	}
	defer f.Abort()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	f.done = true
	return SyncDir(filepath.Dir(f.path))
}

// Abort drops what was written and leaves the path as it was. Failing to remove the temporary file is harmless: nobody
// reads it.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// SyncDir makes the names in dir durable: what was created, renamed or removed there.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// Clean removes the temporary files in dir that crashes left of files which of picks by their names. Nobody may be writing one of these.
func Clean(dir string, of func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name, _, temporary := strings.Cut(e.Name(), ".tmp-")
		name, hidden := strings.CutPrefix(name, ".")
		if temporary && hidden && of(name) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("remove what a crash left in %s: %w", dir, err)
	}
	return nil
}
