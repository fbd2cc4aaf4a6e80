package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lifeboat/restore"
	"lifeboat/snapshot"
)

// key is the file without which PostgreSQL refuses a data directory.
const key = "PG_VERSION"

// control is the file that begins with the identifier of the cluster.
const control = "global/pg_control"

// takeOver looks at the directories that are reused, and changes nothing.
func (s *Sink) takeOver(size int64) (err error) {
	s.main, err = restore.ReuseDirectory(s.layout.Dir, 0, restore.Reuse{Key: key, Identity: s.manifest.System, Check: s.check})
	if err != nil {
		s.main = nil
		return err
	}
	s.main.Owner = s.layout.Owner
	size -= s.main.Holds()
	for oid, dir := range s.where {
		d, err := restore.ReuseDirectory(dir, 0, restore.Reuse{Identity: s.manifest.System + "/" + oid, Of: s.main,
			Check: func(dir string) error { return s.checkSpace(oid, dir) }})
		if err != nil {
			return err
		}
		d.Owner, s.spaces[oid] = s.layout.Owner, d
		size -= d.Holds()
	}
	return restore.CheckSpace(s.layout.Dir, max(0, size))
}

// check refuses a data directory that is not of the cluster, or that a server uses.
func (s *Sink) check(dir string) error {
	for _, name := range []string{key, control} {
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("it has no %s and so is no data directory that could be reused: without --reuse a new or empty one is restored into", name)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, control))
	if err != nil {
		return err
	}
	if len(b) < 8 {
		return fmt.Errorf("its %s does not tell which cluster it is: restore into a new directory", control)
	}
	if have := strconv.FormatUint(binary.NativeEndian.Uint64(b), 10); have != s.manifest.System {
		return fmt.Errorf("it holds cluster %s, and the snapshot is of cluster %s: choose another directory", have, s.manifest.System)
	}
	if err := running(dir); err != nil {
		return err
	}
	return s.checkLinks(dir)
}

// running refuses a data directory whose server runs, as a server itself does: by its lock file, and by the memory that its processes
// share, which they may keep without their first one.
func running(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	pid = max(pid, -pid)
	if err != nil || pid == 0 {
		return errors.New("its postmaster.pid names no process: remove it if no server runs there")
	}
	if pid != os.Getpid() && pid != os.Getppid() {
		if err := unix.Kill(pid, 0); err == nil || errors.Is(err, unix.EPERM) {
			return fmt.Errorf("a server runs there, process %d: stop it first (or remove postmaster.pid if that is something else)", pid)
		}
	}
	if len(lines) < 7 {
		return nil
	}
	if f := strings.Fields(lines[6]); len(f) == 2 {
		if id, err := strconv.Atoi(f[1]); err == nil {
			var m unix.SysvShmDesc
			if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &m); err == nil && m.Nattch > 0 {
				return errors.New("processes of a server that died still run there: end them first")
			}
		}
	}
	return nil
}

// checkLinks refuses tablespaces that stand elsewhere than the restore would put them: what is there would neither be reused nor removed.
// Those that the snapshot does not have are left, and noted.
func (s *Sink) checkLinks(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, "pg_tblspc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.left = nil
	if to, err := os.Readlink(filepath.Join(dir, "pg_wal")); err == nil { // the log comes back into the data directory
		s.left = append(s.left, to)
	}
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink {
			continue
		}
		to, err := os.Readlink(filepath.Join(dir, "pg_tblspc", e.Name()))
		if err != nil {
			return err
		}
		where, ok := s.where[e.Name()]
		if !ok {
			s.left = append(s.left, to)
		} else if filepath.Clean(to) != where {
			return fmt.Errorf("its tablespace %s stands in %s, and would be restored to %s: say --tablespace %s=%s, or choose a new directory", e.Name(), to, where, e.Name(), to)
		}
	}
	return nil
}

// Left are the directories that a reused data directory leads to and the restored one does not: they stay as they are.
func (s *Sink) Left() []string { return s.left }

// spaceEntry is what may stand at the top of a tablespace: the directory of a version of the server.
var spaceEntry = regexp.MustCompile(`^PG_([0-9]+)_[0-9]+$`)

// checkSpace refuses a tablespace's directory that the data directory does not lead to, or that holds more than the tablespace.
func (s *Sink) checkSpace(oid, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		m := spaceEntry.FindStringSubmatch(e.Name())
		if m == nil || m[1] != strconv.Itoa(s.manifest.Version/10000) {
			return fmt.Errorf("the directory is not only tablespace %s of this cluster (%s is in it): choose another with --tablespace", oid, e.Name())
		}
	}
	for _, link := range []string{s.layout.Dir, s.main.Content()} {
		if to, err := os.Readlink(filepath.Join(link, "pg_tblspc", oid)); err == nil && filepath.Clean(to) == dir {
			return nil
		}
	}
	return fmt.Errorf("the directory is not empty, and %s does not name it as tablespace %s: choose another with --tablespace", s.layout.Dir, oid)
}

// Take implements restore.Reuser: the data directory goes first, and leads back last.
func (s *Sink) Take() error {
	if err := s.main.Take(); err != nil {
		return err
	}
	for oid, d := range s.spaces {
		if err := d.Take(); err != nil {
			return err
		}
		if err := s.own(oid); err != nil {
			return err
		}
	}
	return nil
}

// Existing implements restore.Reuser.
func (s *Sink) Existing(f snapshot.File) (*os.File, error) {
	dir, f := s.home(f)
	if dir == nil {
		return nil, nil
	}
	return dir.Existing(f)
}

// homes are the files of a snapshot by the directory where they go.
func (s *Sink) homes(files []snapshot.File) map[*restore.Directory][]snapshot.File {
	out := map[*restore.Directory][]snapshot.File{}
	for _, f := range files {
		if dir, f := s.home(f); dir != nil {
			out[dir] = append(out[dir], f)
		}
	}
	return out
}

// Surplus implements restore.Reuser.
func (s *Sink) Surplus(files []snapshot.File) int {
	homes := s.homes(files)
	n := s.main.Surplus(homes[s.main])
	for _, d := range s.spaces {
		n += d.Surplus(homes[d])
	}
	return n
}

// Begin implements restore.Reuser: once the data directory is marked as changed, none of them is given back.
func (s *Sink) Begin(files []snapshot.File) error {
	homes := s.homes(files)
	if err := s.main.Begin(homes[s.main]); err != nil {
		return err
	}
	for _, d := range s.spaces {
		if err := d.Begin(homes[d]); err != nil {
			return err
		}
	}
	return nil
}
