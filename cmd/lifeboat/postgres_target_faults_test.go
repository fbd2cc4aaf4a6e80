package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lifeboat/internal/testenv"
)

// small puts a directory on a disk of its own that has room for so many bytes, such as 12m.
func (x *fixture) small(size string, dir string) (grow func(size string)) {
	x.t.Helper()
	path, kept := x.path(dir), x.path(dir)+"-kept"
	x.must(os.MkdirAll(path, 0o700))
	x.must(os.Rename(path, kept))
	x.must(os.Mkdir(path, 0o700))
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		x.t.Fatalf("mount a tmpfs: %v: run this test as root", err)
	}
	t := x.t
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	x.must(copyDir(kept, path))
	x.must(os.RemoveAll(kept))
	return func(size string) {
		x.t.Helper()
		x.must(unix.Mount("tmpfs", path, "tmpfs", unix.MS_REMOUNT, "size="+size))
	}
}

// noise is more log than fits on a small disk.
const noise = "DROP TABLE IF EXISTS noise; CREATE TABLE noise AS SELECT g, sha512(g::text::bytea) FROM generate_series(1, 200000) g"

// TestPostgresTargetFaults takes a target from a running stream, then its room, then that of the state directory. It is said, the
// stream goes on when it is mended, and nothing is missing in the end.
func TestPostgresTargetFaults(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.want(0, "backup", "crm")
	end := x.stream()
	x.streaming(pg)
	x.must(os.Rename(x.path("disk"), x.path("away")))
	add(pg, 2)
	x.says("bring it back")
	if s := x.want(1, "backup", "crm"); !strings.Contains(s.err, "mount the disk that holds it") {
		t.Errorf("a backup without its target: %s", s)
	}
	x.must(os.Rename(x.path("away"), x.path("disk")))
	x.says("target disk goes on")
	x.caught(pg)
	end(syscall.SIGTERM)

	grow := x.small("12m", "disk")
	end = x.stream()
	x.streaming(pg)
	pg.Query("postgres", noise)
	add(pg, 2)
	x.says("no space left on device: make room there")
	if s := x.want(1, "backup", "crm"); !strings.Contains(s.err, "no space left on device: make room there") {
		t.Errorf("a backup to a full disk: %s", s)
	}
	grow("200m")
	x.says("target disk goes on")
	x.want(0, "backup", "crm")
	x.caught(pg)
	end(syscall.SIGTERM)

	grow = x.small("2m", "state")
	end = x.stream()
	x.streaming(pg)
	pg.Query("postgres", noise)
	add(pg, 2)
	x.says("no space left on device: make room there")
	if err := os.WriteFile(x.path("state", "ballast"), make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if s := x.want(1, "backup", "crm"); !strings.Contains(s.err, "no space left on device: make room there") {
		t.Errorf("a backup with a full state directory: %s", s)
	}
	grow("200m")
	x.streaming(pg)
	x.whole(pg, end)
	x.want(0, "backup", "crm")
}
