package local

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// openDir opens the directory dir, "." being the root, element by element and without following symbolic links.
func (t *Target) openDir(dir string) (*os.Root, error) {
	return t.walkTo(dir, enter)
}

// makeDir is openDir, but makes what is missing. The new entries are durable only after syncDir.
func (t *Target) makeDir(dir string) (*os.Root, error) {
	at := ""
	return t.walkTo(dir, func(parent *os.Root, elem string) (*os.Root, error) {
		at = path.Join(at, elem)
		switch err := parent.Mkdir(elem, 0o700); {
		case err == nil:
			t.setDurable(at, false)
		case !errors.Is(err, fs.ErrExist):
			return nil, err
		}
		return enter(parent, elem)
	})
}

func (t *Target) walkTo(dir string, step func(*os.Root, string) (*os.Root, error)) (*os.Root, error) {
	at, err := t.root.OpenRoot(".")
	if err != nil || dir == "." {
		return at, err
	}
	for elem := range strings.SplitSeq(dir, "/") {
		next, err := step(at, elem)
		release(at)
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// enter opens the directory elem of parent. os.Root keeps it below parent even if elem is exchanged meanwhile.
func enter(parent *os.Root, elem string) (*os.Root, error) {
	info, err := parent.Lstat(elem)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "open", Path: elem, Err: errLink}
	case !info.IsDir():
		return nil, &fs.PathError{Op: "open", Path: elem, Err: syscall.ENOTDIR}
	}
	return parent.OpenRoot(elem)
}

// syncDir flushes the entries of d, which is the directory dir, and then the entry of each directory on the way down
// to it. Directories that another Put made, or one that a crash cut short, count like those made just now.
func (t *Target) syncDir(d *os.Root, dir string) error {
	if err := fsync(d); err != nil {
		return err
	}
	for ; dir != "."; dir = path.Dir(dir) {
		if t.isDurable(dir) {
			continue
		}
		parent, err := t.openDir(path.Dir(dir))
		if err != nil {
			return err
		}
		err = fsync(parent)
		release(parent)
		if err != nil {
			return err
		}
		t.setDurable(dir, true)
	}
	return nil
}

func (t *Target) isDurable(dir string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.durable[dir]
}

func (t *Target) setDurable(dir string, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if is {
		t.durable[dir] = true
	} else {
		delete(t.durable, dir)
	}
}

// fsync flushes the entries of a directory. Some network file systems cannot, and write entries through anyway.
func fsync(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer release(f)
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// mkdirDurable makes the directory at an absolute path, and those above it, with their entries on disk.
func mkdirDurable(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := mkdirDurable(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer release(parent)
	return fsync(parent)
}

// release closes what was opened for reading only, where closing cannot lose anything.
func release(c io.Closer) { _ = c.Close() }
