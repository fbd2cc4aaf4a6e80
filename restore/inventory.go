package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
)

// inventory lists what stands below a directory. It follows no symbolic link, and names in it are relative to the places where the content
// stands: one, or two after a restore that died while it moved things.
type inventory struct {
	root    *os.Root
	entries map[string]standing
	names   []string // of the entries, what is in a directory before it
	size    int64    // on the disk, of the files that are kept
}

// standing is an entry of an inventory.
type standing struct {
	at   string // below the root
	dir  bool
	kept bool // a file that can be changed in place: a regular one that this user may open and that has no other name, which would change too
}

// take lists what stands at these places below dir; one that is not there is empty.
func take(dir string, places ...string) (_ *inventory, err error) {
	v := &inventory{entries: map[string]standing{}}
	top, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	if v.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	for _, place := range places {
		if err := v.walk(filepath.Join(dir, place), place, top); err != nil {
			return nil, errors.Join(err, v.close())
		}
	}
	slices.Sort(v.names) // a directory before what is in it
	slices.Reverse(v.names)
	return v, nil
}

func (v *inventory) walk(base, place string, top fs.FileInfo) error {
	return filepath.WalkDir(base, func(at string, e fs.DirEntry, err error) error {
		if at == base && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || at == base {
			return err
		}
		name, err := filepath.Rel(base, at)
		if err != nil {
			return err
		}
		if name == partial {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if _, twice := v.entries[name]; twice && path.Dir(name) == "." {
			return fmt.Errorf("%s stands there and in %s: move one of them away", name, filepath.Join(partial, content))
		}
		return v.add(name, path.Join(place, name), info, top)
	})
}

func (v *inventory) add(name, at string, info, top fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	above, ok2 := top.Sys().(*syscall.Stat_t)
	if !ok || !ok2 {
		return fmt.Errorf("%s: this system does not tell what it is", name)
	}
	if st.Dev != above.Dev {
		return fmt.Errorf("%s is another file system that is mounted there: unmount it, or choose an empty directory", name)
	}
	me := os.Geteuid()
	if me != 0 && int(st.Uid) != me {
		return fmt.Errorf("%s belongs to another user: restore as that user, or as root", name)
	}
	s := standing{at: at, dir: info.IsDir(), kept: info.Mode().IsRegular() && st.Nlink == 1 && (me == 0 || info.Mode().Perm()&0o600 == 0o600)}
	if s.kept {
		v.size += st.Blocks * 512
	}
	v.entries[name] = s
	v.names = append(v.names, name)
	return nil
}

// file opens a file that is kept, for reading; nil where there is none.
func (v *inventory) file(name string) (*os.File, error) {
	e := v.entries[name]
	if !e.kept {
		return nil, nil
	}
	return v.root.OpenFile(e.at, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func (v *inventory) close() error {
	if v.root == nil {
		return nil
	}
	return v.root.Close()
}
