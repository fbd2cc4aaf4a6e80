package local_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lifeboat/target/local"
)

// onTmpfs opens a target on a small file system of its own, which is then made read-only if so asked.
func onTmpfs(t *testing.T, size string, readOnly bool) *local.Target {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs: %v: run this test as root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	tg, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, tg, "packs/old")
	if readOnly {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := tg.Close(); err != nil {
			t.Error(err)
		}
	})
	return tg
}

func TestDiskFull(t *testing.T) {
	tg := onTmpfs(t, "1m", false)
	before, err := tg.Free()
	if err != nil || before == 0 || before > 1<<20 {
		t.Fatalf("Free: %d, %v", before, err)
	}
	big := make([]byte, 2<<20)
	err = tg.Put(t.Context(), "packs/big", io.NewSectionReader(bytes.NewReader(big), 0, int64(len(big))))
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Put on a full disk: %v", err)
	}
	if after, err := tg.Free(); err != nil || after != before {
		t.Errorf("a failed Put leaves %d bytes free of %d, %v", after, before, err)
	}
	put(t, tg, "packs/big")
	if got, err := list(t, tg, ""); err != nil || len(got) != 2 {
		t.Errorf("List: %q, %v", got, err)
	}
}

func TestReadOnly(t *testing.T) {
	tg := onTmpfs(t, "1m", true)
	if err := tg.Put(t.Context(), "packs/new", body("x")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Put: %v", err)
	}
	if err := tg.Put(t.Context(), "new/dir", body("x")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Put in a new directory: %v", err)
	}
	if err := tg.Put(t.Context(), "packs/old", body("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of a taken name: %v", err)
	}
	if err := tg.Delete(t.Context(), "packs/old"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Delete: %v", err)
	}
	if got, err := read(t, tg, "packs/old"); err != nil || got != "packs/old" {
		t.Errorf("Get: %q, %v", got, err)
	}
}
