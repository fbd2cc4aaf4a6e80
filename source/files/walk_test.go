package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

// TestSwappedForALink has directories that become links out of the tree at every moment of the walk: nothing of what they lead to is read.
func TestSwappedForALink(t *testing.T) {
	names := []string{"a", "m/a", "m/b/c", "m/b/d", "m/z", "z"}
	for moment := range 9 {
		for _, swapped := range []string{"m", "m/b"} {
			outside := tree(t, "a", "b/c", "b/d", "c", "d", "z", "secret")
			must(t, os.WriteFile(filepath.Join(outside, "a"), []byte("OUTSIDE"), 0o640))
			for _, n := range []string{"a", "b/c", "b/d", "c", "d", "z"} {
				must(t, os.WriteFile(filepath.Join(outside, n), []byte("OUTSIDE"), 0o640))
			}
			dir := tree(t, names...)
			n := 0
			s := &seen{}
			s.view(t, Options{Paths: []string{dir}}, dir, nil, func(snapshot.Item) {
				if n == moment {
					at := filepath.Join(dir, swapped)
					must(t, errors.Join(os.Rename(at, filepath.Join(t.TempDir(), "moved")), os.Symlink(outside, at)))
				}
				n++
			})
			for name, what := range s.items {
				if what == "OUTSIDE" || strings.Contains(name, "secret") {
					t.Errorf("%s swapped at %d: %s is from outside", swapped, moment, name)
				}
			}
			if s.items["a"] != "a" || s.items["z"] != "z" {
				t.Errorf("%s swapped at %d: %q", swapped, moment, s.items)
			}
		}
	}
}

// deep makes directories in each other, and a file in each.
func deep(t *testing.T, dir, name string, levels int) {
	t.Helper()
	at, err := os.Open(dir)
	must(t, err)
	for i := range levels {
		fd, err := unix.Openat(int(at.Fd()), "a-file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		must(t, err)
		_, err = unix.Write(fd, fmt.Append(nil, i))
		must(t, errors.Join(err, unix.Close(fd), unix.Mkdirat(int(at.Fd()), name, 0o755), unix.Mkdirat(int(at.Fd()), "f-empty", 0o755)))
		next := entry{dir: at, base: name}
		below, _, err := next.open(unix.O_DIRECTORY)
		must(t, errors.Join(err, at.Close()))
		at = below
	}
	must(t, at.Close())
}

// descriptors is how many files this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

func TestDeep(t *testing.T) {
	const levels = 1500
	dir := t.TempDir()
	deep(t, dir, "directory", levels)
	before, most := descriptors(t), 0
	s := &seen{}
	s.view(t, Options{Paths: []string{dir}}, dir, nil, func(item snapshot.Item) {
		if n := strings.Count(item.Name, "/"); n%50 == 0 && item.Kind == snapshot.Stream {
			most = max(most, descriptors(t))
		}
	})
	if len(s.items) != 3*levels+1 || len(s.summary.Findings) > 0 {
		t.Errorf("%d items of %d: %v", len(s.items), 3*levels+1, s.summary.Findings)
	}
	if most == 0 || most > before+maxOpen+8 {
		t.Errorf("%d files were open, %d before", most, before)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d files stay open, %d before", after, before)
	}
}

// TestDeepIsMoved moves directories away whose descriptors were given back, and puts others in their place.
func TestDeepIsMoved(t *testing.T) {
	dir, outside := t.TempDir(), tree(t, "f-empty/OUTSIDE", "x")
	deep(t, dir, "directory", 3*maxOpen)
	before := descriptors(t)
	s := &seen{}
	s.view(t, Options{Paths: []string{dir}}, dir, nil, func(item snapshot.Item) {
		if strings.Count(strings.TrimPrefix(item.Name, itemName(dir)), "/directory") == 3*maxOpen {
			at := filepath.Join(dir, "directory")
			must(t, errors.Join(os.Rename(at, filepath.Join(t.TempDir(), "moved")), os.Symlink(outside, at)))
		}
	})
	if !s.found(snapshot.Fail, "it was moved while it was read, and the rest of it is left out") {
		t.Errorf("findings %v", s.summary.Findings)
	}
	for name := range s.items {
		if strings.Contains(name, "OUTSIDE") {
			t.Errorf("%s is from outside", name)
		}
	}
	if s.items["f-empty"] != "dir" {
		t.Error("the walk ended")
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d files stay open, %d before", after, before)
	}
}

func TestNameTooLong(t *testing.T) {
	dir := t.TempDir()
	deep(t, dir, strings.Repeat("d", 255), maxName/256+20)
	s := look(t, Options{Paths: []string{dir}}, dir)
	if !s.found(snapshot.Fail, "a name of more than 32768 bytes") || len(s.items) < 3*maxName/256-30 {
		t.Errorf("%d items, %d findings", len(s.items), len(s.summary.Findings))
	}
}

func TestDoctor(t *testing.T) {
	dir := tree(t, "up/a", "up/b.tmp", "up/cache/x", "up/sub/c", "up/link -> a", "key")
	must(t, unix.Mkfifo(filepath.Join(dir, "up", "pipe"), 0o600))
	src, err := New(Options{Paths: []string{filepath.Join(dir, "up"), filepath.Join(dir, "absent")}, Exclude: []string{"*.tmp", "cache/"}, Fingerprints: []string{filepath.Join(dir, "key")}, Now: later})
	must(t, err)
	s := &seen{summary: snapshot.Summary{Findings: src.Doctor(t.Context())}}
	for text, level := range map[string]snapshot.Level{
		"/up: 2 files with 12 B, 2 directories, 1 link": snapshot.OK, "/absent: no such file": snapshot.Fail, "2 names fit the patterns": snapshot.OK, "of 1 file;": snapshot.OK, "special files: 1 ": snapshot.Warn,
	} {
		if !s.found(level, text) {
			t.Errorf("no %q of level %s in %v", text, level, s.summary.Findings)
		}
	}
}
