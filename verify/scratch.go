package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"lifeboat/internal/atomicfile"
)

// Scratch is the directory of one drill. Everything that the drill makes is below it, and nothing else ever is.
type Scratch struct {
	Dir  string // absolute, and no symbolic link leads to it
	id   string
	made fs.FileInfo // what NewScratch made; nil of ScratchOf
	err  error       // why Dir could not be found out
}

// markFile says whose a scratch directory is.
const markFile = ".lifeboat-drill"

// drillMark is its content. The number of a device may be another after the system was started anew; that of the directory stays.
type drillMark struct {
	Drill string `json:"drill"`
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
}

// NewScratch makes a directory for the drill of an ID below parent. Users that run a database server can pass it, and see nothing in it. A parent in which
// somebody else could exchange it is refused: nothing could be said of its removal.
func NewScratch(parent, id string) (*Scratch, error) {
	err := os.MkdirAll(parent, 0o711)
	s := ScratchOf(parent, id)
	if err = errors.Join(err, s.err); err == nil {
		err = trust(filepath.Dir(s.Dir))
	}
	if err == nil {
		err = os.Mkdir(s.Dir, 0o711)
	}
	if err != nil {
		return nil, fmt.Errorf("make the drill's directory: %w", err)
	}
	if err := s.mark(); err != nil {
		_ = os.Remove(filepath.Join(s.Dir, markFile)) // what is left of it keeps the directory, which is an error
		return nil, errors.Join(fmt.Errorf("make the drill's directory: %w", err), syscall.Rmdir(s.Dir))
	}
	return s, nil
}

// ScratchOf is the directory that NewScratch makes, or made.
func ScratchOf(parent, id string) *Scratch {
	at, err := resolve(parent)
	return &Scratch{Dir: filepath.Join(at, "lifeboat-drill-"+id), id: id, err: err}
}

// resolve is a path that is absolute and without symbolic links, as far as it exists.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	for dir, rest := abs, ""; err == nil; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		at, rerr := filepath.EvalSymlinks(dir)
		if rerr == nil {
			return filepath.Join(at, rest), nil
		}
		if !errors.Is(rerr, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			err = rerr
		}
	}
	return abs, fmt.Errorf("resolve %s: %w", path, err)
}

// mark notes which directory was made, in it and here.
func (s *Scratch) mark() (err error) {
	if s.made, err = os.Lstat(s.Dir); err != nil {
		return err
	}
	st := s.made.Sys().(*syscall.Stat_t)
	b, err := json.Marshal(drillMark{s.id, uint64(st.Dev), st.Ino})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(s.Dir, markFile), b, 0o600); err != nil {
		return err
	}
	return os.Chmod(s.Dir, 0o711) // whatever the umask was
}

// Remove ends the servers that run in the directory and removes it, if it is this drill's and nothing is mounted there. What was not made by a drill stays, and
// is an error, and so does any other process that works there. A directory that is not there is an error, too: NewScratch made it, or, with ScratchOf and as
// fs.ErrNotExist, it is not known whether it ever was made. What breaks off can be repeated. processes and files are what is left.
func (s *Scratch) Remove() (processes, files int, err error) {
	root, err := s.open()
	gone := errors.Is(err, errGone)
	if err == nil || gone {
		endServers(s.Dir)
	}
	if root != nil {
		err = errors.Join(s.clear(root), root.Close())
	}
	left, _ := workersIn(s.Dir, false)
	for _, who := range left {
		err = errors.Join(err, fmt.Errorf("%s works there, and goes on", who))
	}
	if _, serr := os.Lstat(s.Dir); !errors.Is(serr, fs.ErrNotExist) {
		files = 1
	}
	if err != nil && !gone {
		err = errors.New(err.Error()) // what else is missing is no fs.ErrNotExist of the directory
	}
	if err != nil {
		err = fmt.Errorf("remove the drill's directory %s: %w", s.Dir, err)
	}
	return len(left), files, err
}

// errGone is wrapped where there is no directory.
var errGone = errors.New("it is not there")

// open is the directory, as long as it is the one that the drill made. One without anything in it is removed: the drill died before it had marked it, or its
// removal broke off.
func (s *Scratch) open() (*os.Root, error) {
	if err := errors.Join(s.err, unmounted(s.Dir)); err != nil {
		return nil, err
	}
	info, err := os.Lstat(s.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.made != nil:
		return nil, fmt.Errorf("%w: it was moved, removed or unmounted by somebody else, and what was restored may be elsewhere", errGone)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w, and it is not known what became of it: %w", errGone, err)
	case err != nil:
		return nil, err
	case s.made != nil && !os.SameFile(s.made, info):
		return nil, errors.New("something else than what the drill made is there, and stays; what was restored may be elsewhere")
	}
	foreign := fmt.Errorf("it has no mark of drill %s that was made for it, and stays", s.id)
	if !info.IsDir() {
		return nil, foreign
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return nil, err
	}
	if now, err := root.Stat("."); err == nil && os.SameFile(info, now) && s.marked(root, info) {
		return root, nil
	}
	err = atomicfile.Clean(s.Dir, func(name string) bool { return name == markFile })
	if rerr := syscall.Rmdir(s.Dir); rerr != nil {
		return nil, errors.Join(foreign, err, root.Close())
	}
	return nil, root.Close()
}

// marked reports whether a directory has the mark of the drill, made for it and no other.
func (s *Scratch) marked(root *os.Root, dir fs.FileInfo) bool {
	if info, err := root.Lstat(markFile); err != nil || !info.Mode().IsRegular() || info.Size() > 4096 {
		return false
	}
	b, err := root.ReadFile(markFile)
	var m drillMark
	return err == nil && json.Unmarshal(b, &m) == nil && m.Drill == s.id && m.Ino == dir.Sys().(*syscall.Stat_t).Ino
}

// clear removes what is in the directory without following a link, then the mark, and then the directory.
func (s *Scratch) clear(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if e.Name() != markFile {
			err = errors.Join(err, root.RemoveAll(e.Name()))
		}
	}
	for _, step := range []func() error{
		func() error { return atomicfile.SyncDir(s.Dir) },
		func() error { return root.Remove(markFile) },
		func() error { return syscall.Rmdir(s.Dir) },
		func() error { return atomicfile.SyncDir(filepath.Dir(s.Dir)) },
	} {
		if err == nil {
			err = step()
		}
	}
	return err
}
