package sftp_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/internal/testenv"
	"lifeboat/target/sftp"
)

// limited is a configuration with a key that may do no more than a command does.
func limited(d *testenv.SSHD, dir, command string) sftp.Config {
	cfg := at(d, filepath.Join(d.Home, dir))
	cfg.KeyFile = d.Keygen("limited")
	d.Allow(cfg.KeyFile, fmt.Sprintf("restrict,command=%q", command))
	return cfg
}

func TestReadOnlyKey(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	put(t, create(t, at(d, "target")), "a/b")
	tg := open(t, limited(d, "target", "internal-sftp -R"))
	wantObject(t, tg, "a/b", []byte("a/b"))
	wantNames(t, tg, "", "a/b")
	for _, name := range []string{"a/c", "c/d"} {
		if err := tg.Put(t.Context(), name, section(nil)); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "may not write") {
			t.Errorf("Put(%s): %v", name, err)
		}
	}
	if err := tg.Put(t.Context(), "a/b", section(nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of a taken name: %v", err)
	}
	if err := tg.Replace(t.Context(), "a/b", section(nil)); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Replace: %v", err)
	}
	if err := tg.Delete(t.Context(), "a/b"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "may not delete") {
		t.Errorf("Delete: %v", err)
	}
}

// appendOnly is what doc/targets.md has a key do that can only add.
const appendOnly = "internal-sftp -p open,close,read,write,lstat,stat,fstat,opendir,readdir,mkdir,realpath,hardlink,fsync,statvfs,limits"

func TestAppendOnlyKey(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	full := create(t, at(d, "target"))
	tg := open(t, limited(d, "target", appendOnly))
	put(t, tg, "a/b", "c")
	wantObject(t, tg, "a/b", []byte("a/b"))
	wantNames(t, tg, "", "a/b", "c")
	if err := tg.Put(t.Context(), "a/b", section(nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of a taken name: %v", err)
	}
	if err := tg.Delete(t.Context(), "a/b"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Delete: %v", err)
	}
	if err := tg.Replace(t.Context(), "a/b", section(nil)); err == nil {
		t.Error("Replace succeeded")
	}
	if err := tg.Clean(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Clean: %v", err)
	}
	wantObject(t, tg, "a/b", []byte("a/b"))
	if n := leftovers(t, filepath.Join(d.Home, "target")); n == 0 {
		t.Error("nothing is left for Clean, although the account may not remove")
	}
	if err := full.Clean(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := leftovers(t, filepath.Join(d.Home, "target")); n != 0 {
		t.Errorf("%d unfinished objects are left after Clean", n)
	}
	wantObject(t, tg, "a/b", []byte("a/b"))
}

// TestAppendOnlyAttack is somebody on the backup host, with its key and OpenSSH's own client.
func TestAppendOnlyAttack(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	cfg := limited(d, "target", appendOnly)
	tg := create(t, cfg)
	put(t, tg, "a/b", "c")
	lie := filepath.Join(t.TempDir(), "lie")
	write(t, lie, "lie")
	attacks := []string{
		"rm a/b", "rename c a/b", "rename a/b gone", "chmod 600 a/b", "put " + lie + " a/b", "put -a " + lie + " a/b", "reput " + lie + " a/b",
		"rmdir a", "symlink /tmp a/b", "ln c a/b", "cp c a/b", "chmod 000 a", "rename a gone", "rename -l a/b gone", "rm .tmp/*",
	}
	cmd := exec.Command("sftp", "-q", "-b", "-", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile="+d.KnownHosts, "-i", cfg.KeyFile, "-P", strconv.Itoa(d.Port), d.User+"@127.0.0.1:"+cfg.Path)
	cmd.Stdin = strings.NewReader("-" + strings.Join(attacks, "\n-") + "\nput " + lie + " new\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sftp: %v: %s", err, out)
	}
	wantObject(t, tg, "a/b", []byte("a/b"))
	wantObject(t, tg, "c", []byte("c"))
	wantNames(t, tg, "", "a/b", "c", "new") // what was tried last, and is allowed
	if n := leftovers(t, cfg.Path); n != 2 {
		t.Errorf("%d names in .tmp; want those of both objects", n)
	}
}

func TestDirectoryOfAnother(t *testing.T) {
	d := testenv.StartSSHD(t)
	dir := filepath.Join(d.Base, "foreign")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 1, 1); err != nil {
		t.Fatalf("%v: run this test as root", err)
	}
	wantRefused(t, at(d, filepath.Join(dir, "sub")), fs.ErrNotExist)
	if tg, err := sftp.Create(t.Context(), at(d, filepath.Join(dir, "sub"))); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Create: %v, %v", tg, err)
	}
	tg := open(t, at(d, dir))
	if err := tg.Put(t.Context(), "a/b", section(nil)); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), d.User) {
		t.Errorf("Put: %v", err)
	}
}

func TestDiskFull(t *testing.T) {
	d := testenv.StartSSHD(t)
	dir := filepath.Join(d.Home, "full")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a tmpfs: %v: run this test as root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d.Give(dir)
	tg := open(t, at(d, dir))
	put(t, tg, "packs/old")
	before, err := tg.Free()
	if err != nil || before == 0 || before > 1<<20 {
		t.Fatalf("Free: %d, %v", before, err)
	}
	for range 3 {
		if err := tg.Put(t.Context(), "packs/big", section(content(1, 2<<20))); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Put on a full disk: %v", err)
		}
	}
	if after, err := tg.Free(); err != nil || after != before {
		t.Errorf("a failed Put leaves %d bytes free of %d, %v", after, before, err)
	}
	put(t, tg, "packs/big")
	wantNames(t, tg, "", "packs/big", "packs/old")
}
