package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeboat/target"
)

// plant makes dir hold links to a victim outside and to an object inside, as someone with access to the disk could.
func plant(t *testing.T, dir string) (victim string) {
	t.Helper()
	victim = filepath.Join(filepath.Dir(dir), "victim")
	if err := os.MkdirAll(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(victim, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"file-out": victim + "/secret", "file-up": "../victim/secret", "file-in": "real/object",
		"dir-out": victim, "dir-up": "../victim", "dir-in": "real", "dangling": victim + "/new", "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return victim
}

func TestSymlinksAreNotFollowed(t *testing.T) {
	tg, dir := create(t)
	put(t, tg, "real/object")
	victim := plant(t, dir)
	for _, name := range []string{
		"file-out", "file-up", "file-in", "dangling", "loop",
		"dir-out/secret", "dir-up/secret", "dir-in/object", "dir-out/new", "dir-in/new", "loop/new",
	} {
		if err := tg.Put(t.Context(), name, body("bad")); err == nil {
			t.Errorf("Put(%s) succeeded", name)
		}
		if got, err := read(t, tg, name); err == nil || !strings.Contains(err.Error(), "symbolic links are not followed") {
			t.Errorf("Get(%s): %q, %v", name, got, err)
		}
		if err := tg.Delete(t.Context(), name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Delete(%s): %v", name, err)
		}
	}
	if got, err := list(t, tg, ""); err != nil || len(got) != 1 || got[0] != "real/object" {
		t.Errorf("List: %q, %v", got, err)
	}
	for _, prefix := range []string{"dir-out/", "dir-in/o", "loop/"} {
		if got, err := list(t, tg, prefix); err == nil {
			t.Errorf("List(%s): %q; want an error, not a silent emptiness", prefix, got)
		}
	}
	if got, err := read(t, tg, "real/object"); err != nil || got != "real/object" {
		t.Errorf("Get(real/object): %q, %v", got, err)
	}
	wantVictim(t, victim)
}

func wantVictim(t *testing.T, victim string) {
	t.Helper()
	entries, err := os.ReadDir(victim)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside the target stand %v, %v; want the secret only", entries, err)
	}
	if b, err := os.ReadFile(filepath.Join(victim, "secret")); err != nil || string(b) != "secret" {
		t.Errorf("the secret is %q, %v", b, err)
	}
}

// TestTempIsNotFollowed plants a link in place of the directory of unfinished objects.
func TestTempIsNotFollowed(t *testing.T) {
	for _, to := range []string{"../victim", "real"} {
		tg, dir := create(t)
		put(t, tg, "real/object")
		victim := plant(t, dir)
		tmp := filepath.Join(dir, ".tmp")
		if err := os.Remove(tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, tmp); err != nil {
			t.Fatal(err)
		}
		if err := tg.Put(t.Context(), "a", body("a")); err == nil {
			t.Errorf("Put by way of .tmp -> %s succeeded", to)
		}
		if err := tg.Clean(t.Context(), future()); err == nil {
			t.Errorf("Clean by way of .tmp -> %s succeeded", to)
		}
		wantVictim(t, victim)
		if got, err := list(t, tg, ""); err != nil || len(got) != 1 {
			t.Errorf("List: %q, %v", got, err)
		}
	}
}

// TestSpecialFiles plants what would block or mislead a reader, and names that no object has.
func TestSpecialFiles(t *testing.T) {
	tg, dir := create(t)
	put(t, tg, "real")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Upper", ".hidden", "sp ace", "new\nline"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := read(t, tg, "fifo"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Get of a named pipe: %v", err)
	}
	if err := tg.Delete(t.Context(), "fifo"); err == nil {
		t.Error("Delete of a named pipe succeeded")
	}
	if _, err := read(t, tg, ".hidden"); !errors.Is(err, target.ErrName) {
		t.Errorf("Get of a hidden file: %v", err)
	}
	if got, err := list(t, tg, ""); err != nil || len(got) != 1 || got[0] != "real" {
		t.Errorf("List: %q, %v", got, err)
	}
}
