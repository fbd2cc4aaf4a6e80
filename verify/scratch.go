package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeboat/internal/atomicfile"
)

// Scratch is the directory of one drill. Everything that the drill makes is below it, and nothing else ever is.
type Scratch struct {
	Dir string
	id  string
}

// markFile says whose a scratch directory is.
const markFile = ".lifeboat-drill"

// NewScratch makes a directory for the drill of an ID below parent. Users that run a database server can pass it, and see nothing in it.
func NewScratch(parent, id string) (*Scratch, error) {
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return nil, fmt.Errorf("make the drill's directory: %w", err)
	}
	s := ScratchOf(parent, id)
	if err := os.Mkdir(s.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the drill's directory: %w", err)
	}
	mark, err := json.Marshal(map[string]string{"drill": id})
	if err == nil {
		err = atomicfile.Write(filepath.Join(s.Dir, markFile), mark, 0o600)
	}
	if err == nil {
		err = os.Chmod(s.Dir, 0o711) // whatever the umask was
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the drill's directory: %w", err), os.RemoveAll(s.Dir))
	}
	return s, nil
}

// ScratchOf is the directory that NewScratch makes, or made.
func ScratchOf(parent, id string) *Scratch {
	return &Scratch{Dir: filepath.Join(parent, "lifeboat-drill-"+id), id: id}
}

// Remove ends what runs in the directory and removes it, if it is this drill's. What was not made by a drill stays, and is an error. left is what could not be
// removed or ended.
func (s *Scratch) Remove() (processes, files int, err error) {
	info, err := os.Lstat(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("remove the drill's directory: %w", err)
	}
	mark, err := os.ReadFile(filepath.Join(s.Dir, markFile))
	var m struct {
		Drill string `json:"drill"`
	}
	if !info.IsDir() || err != nil || json.Unmarshal(mark, &m) != nil || m.Drill != s.id {
		if rerr := os.Remove(s.Dir); rerr == nil && info.IsDir() { // empty: the drill died before it had marked it
			return 0, 0, nil
		}
		return 0, 1, fmt.Errorf("remove the drill's directory %s: it has no mark of drill %s, and stays", s.Dir, s.id)
	}
	for _, pid := range processesIn(s.Dir) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it is counted below if it is still there
	}
	if err = os.RemoveAll(s.Dir); err != nil {
		err = fmt.Errorf("remove the drill's directory: %w", err)
	}
	if _, serr := os.Lstat(s.Dir); !errors.Is(serr, fs.ErrNotExist) {
		files = 1
	}
	return len(processesIn(s.Dir)), files, err
}

// processesIn are those whose working directory is below dir, as far as the system tells.
func processesIn(dir string) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err == nil && strings.HasPrefix(strings.TrimSuffix(cwd, " (deleted)")+"/", dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Locked is a file that says that something is under way, for as long as whoever made it lives.
type Locked struct{ *os.File }

// Lock makes a file of this content, durably, and holds it; fs.ErrExist where there is one.
func Lock(path string, content []byte) (*Locked, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("note %s: %w", path, fs.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(path, content, 0o600); err != nil {
		return nil, err
	}
	return Hold(path)
}

// Hold takes a file of Lock whose maker has died; nil where it lives.
func Hold(path string) (*Locked, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, f.Close()
		}
		return nil, errors.Join(err, f.Close())
	}
	return &Locked{f}, nil
}

// End removes the file and lets it go.
func (l *Locked) End() error { return errors.Join(os.Remove(l.Name()), l.Close()) }
