package verify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// scratched is a scratch directory with something in it, below a parent that a link leads to.
func scratched(t *testing.T) (s *Scratch, parent string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	must(err)
	must(os.MkdirAll(filepath.Join(base, "real"), 0o755))
	parent = filepath.Join(base, "link")
	must(os.Symlink("real", parent))
	s, err = NewScratch(parent, "1")
	must(err)
	if want := filepath.Join(base, "real", "lifeboat-drill-1"); s.Dir != want {
		t.Fatalf("made %s, not %s", s.Dir, want)
	}
	must(os.MkdirAll(filepath.Join(s.Dir, "data", "a b\\c"), 0o700))
	must(os.WriteFile(filepath.Join(s.Dir, "data", "plain"), []byte("secret"), 0o600))
	return s, parent
}

// removes fails unless an end comes out as wanted: an error that says it, or none.
func removes(t *testing.T, s *Scratch, processes, files int, says string) {
	t.Helper()
	p, f, err := s.Remove()
	if p != processes || f != files || (says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("remove: %d, %d, %v; not %d, %d, %q", p, f, err, processes, files, says)
	}
}

func there(path string) bool { _, err := os.Lstat(path); return err == nil }

// TestScratch removes what a drill made, in its process and in a later one, and nothing that links in it lead to.
func TestScratch(t *testing.T) {
	for _, later := range []bool{false, true} {
		s, parent := scratched(t)
		outside := filepath.Join(t.TempDir(), "outside")
		if err := errors.Join(os.Mkdir(outside, 0o700), os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600), os.Symlink(outside, filepath.Join(s.Dir, "data", "tablespace"))); err != nil {
			t.Fatal(err)
		}
		if _, err := NewScratch(parent, "1"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("made twice: %v", err)
		}
		if later {
			s = ScratchOf(parent, "1")
		}
		removes(t, s, 0, 0, "")
		if there(s.Dir) || !there(filepath.Join(outside, "kept")) {
			t.Error("the directory is left, or what it links to is gone")
		}
	}
}

// TestScratchRelative finds a directory from its relative name, and one whose parent is gone.
func TestScratchRelative(t *testing.T) {
	s, parent := scratched(t)
	t.Chdir(filepath.Dir(parent))
	if o := ScratchOf("link", "1"); o.Dir != s.Dir || o.err != nil {
		t.Errorf("%s, %v; not %s", o.Dir, o.err, s.Dir)
	}
	if o := ScratchOf("link/no/such", "1"); o.Dir != filepath.Join(filepath.Dir(s.Dir), "no", "such", "lifeboat-drill-1") || o.err != nil {
		t.Errorf("%s, %v", o.Dir, o.err)
	}
}

// TestScratchGone moves the directory away: what made it says so, and what did not make it says that it does not know.
func TestScratchGone(t *testing.T) {
	s, parent := scratched(t)
	if err := os.Rename(s.Dir, s.Dir+"-aside"); err != nil {
		t.Fatal(err)
	}
	removes(t, s, 0, 0, "may be elsewhere")
	if _, _, err := s.Remove(); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was made looks like what never was: %v", err)
	}
	for _, o := range []*Scratch{ScratchOf(parent, "1"), ScratchOf(filepath.Join(parent, "gone"), "1")} {
		removes(t, o, 0, 0, "not known what became of it")
		if _, _, err := o.Remove(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), o.Dir) {
			t.Error(err)
		}
	}
	// A copy of it, with its mark, stands in its place.
	if err := os.CopyFS(s.Dir, os.DirFS(s.Dir+"-aside")); err != nil {
		t.Fatal(err)
	}
	removes(t, s, 0, 1, "something else")
	removes(t, ScratchOf(parent, "1"), 0, 1, "no mark")
	if err := errors.Join(os.RemoveAll(s.Dir), os.Rename(s.Dir+"-aside", s.Dir)); err != nil {
		t.Fatal(err)
	}
	removes(t, s, 0, 0, "")
}

// TestScratchMark leaves what has no mark of the drill, unless nothing is in it.
func TestScratchMark(t *testing.T) {
	s, parent := scratched(t)
	mark := filepath.Join(s.Dir, markFile)
	for _, content := range []string{"", "{", `{"drill":"2"}`, `{"drill":"1","dev":1,"ino":1}`} {
		if err := os.WriteFile(mark, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		removes(t, ScratchOf(parent, "1"), 0, 1, s.Dir+": it has no mark")
		removes(t, s, 0, 1, "no mark")
	}
	if err := errors.Join(os.Remove(mark), os.RemoveAll(filepath.Join(s.Dir, "data")), os.WriteFile(filepath.Join(s.Dir, "."+markFile+".tmp-1"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	removes(t, ScratchOf(parent, "1"), 0, 0, "")
	if err := os.Symlink(parent, s.Dir); err != nil {
		t.Fatal(err)
	}
	removes(t, ScratchOf(parent, "1"), 0, 1, "no mark")
	if !there(s.Dir) {
		t.Error("a link that no drill made is gone")
	}
}

// TestScratchRepeat breaks a removal off: the mark is left, so that it can be repeated.
func TestScratchRepeat(t *testing.T) {
	s, parent := scratched(t)
	at := filepath.Join(s.Dir, "data", "a b\\c")
	mend := func() error { return os.Chmod(filepath.Dir(at), 0o700) }
	err := os.Chmod(filepath.Dir(at), 0o500)
	if os.Geteuid() == 0 { // to whom a mode is nothing
		err, mend = unix.Mount("none", at, "tmpfs", 0, ""), func() error { return unix.Unmount(at, 0) }
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mend() })
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.clear(root), root.Close()); err == nil || !there(filepath.Join(s.Dir, markFile)) {
		t.Errorf("it was to break off, and to leave the mark: %v", err)
	}
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	removes(t, ScratchOf(parent, "1"), 0, 0, "")
}

// TestScratchParent refuses a parent in which somebody else could exchange the directory.
func TestScratchParent(t *testing.T) {
	for mode, says := range map[fs.FileMode]string{0o777: "chmod go-w", 0o720: "chmod go-w", 0o702: "chmod go-w", 0o777 | fs.ModeSticky: "", 0o755: ""} {
		parent := t.TempDir()
		if err := os.Chmod(parent, mode); err != nil {
			t.Fatal(err)
		}
		s, err := NewScratch(parent, "1")
		if (says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), says) || s == nil && there(filepath.Join(parent, "lifeboat-drill-1")) {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if os.Geteuid() != 0 {
		return // nobody else can give a directory away
	}
	parent := t.TempDir()
	if err := os.Chown(parent, 65534, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := NewScratch(parent, "1"); err == nil || !strings.Contains(err.Error(), "65534") {
		t.Errorf("of another user: %v", err)
	}
}
