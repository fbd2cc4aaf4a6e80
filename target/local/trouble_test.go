package local_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRootRemoved takes the directory away: nothing may look like an empty target or an absent object.
func TestRootRemoved(t *testing.T) {
	tg, dir := create(t)
	put(t, tg, "a/b")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, getErr := tg.Get(t.Context(), "a/b", 0, -1)
	_, listErr := list(t, tg, "")
	_, prefixErr := list(t, tg, "a/")
	for method, err := range map[string]error{
		"Put": tg.Put(t.Context(), "a/b", body("x")), "Get": getErr, "List": listErr, "List(a/)": prefixErr,
		"Delete": tg.Delete(t.Context(), "a/b"), "Clean": tg.Clean(t.Context(), future()),
	} {
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "was removed") {
			t.Errorf("%s in a removed directory: %v", method, err)
		}
	}
}

// TestSubdirectoryRemoved takes a directory of objects away, which Put makes anew.
func TestSubdirectoryRemoved(t *testing.T) {
	tg, dir := create(t)
	put(t, tg, "a/b/c", "d")
	for _, sub := range []string{"a", ".tmp"} {
		if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := read(t, tg, "a/b/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get: %v", err)
	}
	if got, err := list(t, tg, ""); err != nil || len(got) != 1 {
		t.Errorf("List: %q, %v", got, err)
	}
	put(t, tg, "a/b/c")
}

// TestFileInPlaceOfTemp blocks the directory of unfinished objects.
func TestFileInPlaceOfTemp(t *testing.T) {
	tg, dir := create(t)
	if err := os.WriteFile(filepath.Join(dir, ".tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tg.Put(t.Context(), "a", body("a")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("Put: %v", err)
	}
}

type cancelAt struct {
	cancel context.CancelFunc
	at     int64
}

func (c cancelAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) >= c.at {
		c.cancel()
	}
	return len(p), nil
}

func TestFailedPutLeavesNoTemp(t *testing.T) {
	tg, dir := create(t)
	for _, at := range []int64{1, 1 << 20, 4 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		err := tg.Put(ctx, "a/b", io.NewSectionReader(cancelAt{cancel, at}, 0, 4<<20))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled Put: %v", err)
		}
		wantTemps(t, dir, 0)
	}
	put(t, tg, "a/b")
	if err := tg.Put(t.Context(), "a/b", body("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of a taken name: %v", err)
	}
	wantTemps(t, dir, 0)
}

// future is later than any file that a test writes.
func future() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestClean(t *testing.T) {
	tg, dir := create(t)
	if err := tg.Clean(t.Context(), future()); err != nil {
		t.Errorf("Clean of a new target: %v", err)
	}
	put(t, tg, "a/b")
	tmp := filepath.Join(dir, ".tmp")
	cut := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, at := range map[string]time.Time{"old": cut.Add(-time.Second), "new": cut, "newer": cut.Add(time.Hour)} {
		if err := os.WriteFile(filepath.Join(tmp, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(tmp, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := tg.Clean(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	wantTemps(t, dir, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tg.Clean(ctx, future()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Clean: %v", err)
	}
	wantTemps(t, dir, 2)
	if err := tg.Clean(t.Context(), future()); err != nil {
		t.Fatal(err)
	}
	wantTemps(t, dir, 0)
	if got, err := read(t, tg, "a/b"); err != nil || got != "a/b" {
		t.Errorf("Get after Clean: %q, %v", got, err)
	}
}
