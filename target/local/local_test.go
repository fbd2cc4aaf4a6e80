package local_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/target"
	"lifeboat/target/local"
	"lifeboat/target/targettest"
)

func TestConformance(t *testing.T) {
	targettest.Run(t, func(t *testing.T) target.Target {
		tg, _ := create(t)
		return tg
	})
}

// create makes a target in a new directory.
func create(t *testing.T) (*local.Target, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "target")
	tg, err := local.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tg.Close(); err != nil {
			t.Error(err)
		}
	})
	return tg, dir
}

func body(b string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(b), 0, int64(len(b)))
}

func put(t *testing.T, tg target.Target, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := tg.Put(t.Context(), name, body(name)); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, tg target.Target, name string) (string, error) {
	t.Helper()
	r, err := tg.Get(t.Context(), name, 0, -1)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func list(t *testing.T, tg target.Target, prefix string) ([]string, error) {
	t.Helper()
	var all []string
	for info, err := range tg.List(t.Context(), prefix) {
		if err != nil {
			return all, err
		}
		all = append(all, info.Name)
	}
	return all, nil
}

// wantTemps expects n files in the directory of unfinished objects.
func wantTemps(t *testing.T, dir string, n int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if len(entries) != n {
		t.Errorf("%d unfinished objects stand; want %d: %v", len(entries), n, entries)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := local.Open(filepath.Join(dir, "absent"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "mount the disk") {
		t.Errorf("Open of an absent directory: %v", err)
	}
	for _, open := range []func(string) (*local.Target, error){local.Open, local.Create} {
		if _, err := open(file); err == nil || !strings.Contains(err.Error(), "has to be a directory") {
			t.Errorf("a file in place of the directory: %v", err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("refused calls left %v, %v", entries, err)
	}
}

func TestCreateAndReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for i := range 2 {
		tg, err := local.Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		put(t, tg, fmt.Sprint("packs/", i))
		if err := tg.Close(); err != nil {
			t.Error(err)
		}
	}
	tg, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := list(t, tg, ""); err != nil || len(got) != 2 {
		t.Errorf("after reopening: %q, %v", got, err)
	}
	if err := tg.Close(); err != nil {
		t.Error(err)
	}
}

func TestPermissions(t *testing.T) {
	tg, dir := create(t)
	put(t, tg, "packs/ab/cd", "top")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if err == nil && info.Mode() != want {
			t.Errorf("mode of %s is %v; want %v", path, info.Mode(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantTemps(t, dir, 0)
}

func TestFree(t *testing.T) {
	tg, _ := create(t)
	if free, err := tg.Free(); err != nil || free == 0 {
		t.Errorf("Free: %d, %v", free, err)
	}
}

// TestLargeDirectory lists more entries than are read from a directory at a time.
func TestLargeDirectory(t *testing.T) {
	tg, dir := create(t)
	var want []string
	for i := range 2500 {
		want = append(want, fmt.Sprintf("packs/%04d", i))
	}
	put(t, tg, want[0])
	for _, name := range want[1:] {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := list(t, tg, "")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d objects listed, %v; want %d in order", len(got), err, len(want))
	}
}

// TestObjectAndDirectory shows what no file system can hold: a name that also begins another.
func TestObjectAndDirectory(t *testing.T) {
	tg, dir := create(t)
	put(t, tg, "a/b")
	if err := tg.Put(t.Context(), "a", body("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put in place of a directory: %v", err)
	}
	if err := tg.Put(t.Context(), "a/b/c", body("x")); err == nil {
		t.Error("Put below an object succeeded")
	}
	if got, err := list(t, tg, ""); err != nil || len(got) != 1 {
		t.Errorf("List: %q, %v", got, err)
	}
	wantTemps(t, dir, 0)
}

// TestMessages holds what an operator reads: verb, object, directory, cause.
func TestMessages(t *testing.T) {
	tg, dir := create(t)
	put(t, tg, "a/b")
	_, getErr := tg.Get(t.Context(), "a/c", 0, -1)
	for want, err := range map[string]error{
		`put "a/b" in DIR: file already exists`:                        tg.Put(t.Context(), "a/b", body("x")),
		`get "a/c" in DIR: file does not exist`:                        getErr,
		`delete "a/c" in DIR: file does not exist`:                     tg.Delete(t.Context(), "a/c"),
		`put "A" in DIR: object name "A": not a valid object name`:     tg.Put(t.Context(), "A", body("x")),
		`put "a/b/c" in DIR: open: not a directory`:                    tg.Put(t.Context(), "a/b/c", body("x")),
		`put "s" in DIR: body ends after 1 of 2 bytes: unexpected EOF`: tg.Put(t.Context(), "s", io.NewSectionReader(bytes.NewReader([]byte("x")), 0, 2)),
	} {
		if want = strings.Replace(want, "DIR", dir, 1); err == nil || err.Error() != want {
			t.Errorf("error is\n %v; want\n %s", err, want)
		}
	}
}
