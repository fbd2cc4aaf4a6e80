package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"lifeboat/internal/atomicfile"
)

// expect fails unless dir holds exactly the file named name, with contents and mode.
func expect(t *testing.T, dir, name, contents string, perm fs.FileMode) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Fatalf("directory holds %v, want only %s", entries, name)
	}
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != contents {
		t.Errorf("%s holds %q, want %q", name, got, contents)
	}
	info, err := entries[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != perm {
		t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), perm)
	}
}

func TestWriteReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := atomicfile.Write(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, "f", "one", 0o600)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	if err := atomicfile.Write(path, []byte("two"), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, "f", "two", 0o644)
}

func TestWriteToRelativePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := atomicfile.Write("f", []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, "f", "here", 0o600)
}

func TestNothingStandsBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f, err := atomicfile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("slow"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before Commit: %v, want not exist", err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort() // as a deferred one would
	expect(t, dir, "f", "slow", 0o600)
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Commit: %v, want closed", err)
	}
}

func TestAbortKeepsTheOldContents(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := atomicfile.Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	expect(t, dir, "f", "old", 0o600)
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Abort: %v, want closed", err)
	}
}

func TestFailedCommitLeavesNoTemporary(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	f, err := atomicfile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Fatal("Commit over a directory succeeded")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v (%v), want only the directory in the way", entries, err)
	}
}

func TestErrorsNameThePath(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "absent", "f"), t.TempDir() + "/"} {
		err := atomicfile.Write(path, nil, 0o600)
		if _, ok := errors.AsType[*fs.PathError](err); !ok && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Write(%q): %v, want a reason", path, err)
		}
	}
}
