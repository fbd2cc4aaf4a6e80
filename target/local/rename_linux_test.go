package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestRenameExclusive tests what serves file systems without hard links: it must not replace either.
func TestRenameExclusive(t *testing.T) {
	path := t.TempDir()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer release(dir)
	fd := int(dir.Fd())
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := renameExclusive(fd, "one", fd, "two"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("rename to a taken name: %v", err)
	}
	if err := renameExclusive(fd, "one", fd, "three"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"two": "two", "three": "one"} {
		if b, err := os.ReadFile(filepath.Join(path, name)); err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v; want %q", name, b, err, want)
		}
	}
}
