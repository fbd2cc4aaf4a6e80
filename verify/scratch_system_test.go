package verify

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestScratchMounts removes nothing as long as something is mounted below the directory, be it of the same file system.
func TestScratchMounts(t *testing.T) {
	text := func(at string) string {
		return "27 1 254:0 / / rw - ext4 /dev/vda rw\nshort\n29 27 254:0 /x " + at + " rw,relatime shared:1 - ext4 /dev/vda rw\n"
	}
	for at, want := range map[string]string{"/s/d": "/s/d", "/s/d/a\\040b\\134c\\012": "/s/d/a b\\c\n", "/s/d2": "", "/s": "", "/s/\\144": "/s/d"} {
		if got := mountedIn(text(at), "/s/d"); got != want {
			t.Errorf("%s: %q, not %q", at, got, want)
		}
	}
	s, parent := scratched(t)
	if os.Geteuid() != 0 {
		return // nobody else can mount
	}
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{filepath.Join(s.Dir, "data", "a b\\c"), s.Dir} {
		if err := unix.Mount(outside, at, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
		removes(t, s, 0, 1, "mounted at "+at+",")
		removes(t, ScratchOf(parent, "1"), 0, 1, "mounted at "+at+",")
		if err := unix.Unmount(at, 0); err != nil || !there(filepath.Join(outside, "kept")) || !there(filepath.Join(s.Dir, "data", "plain")) {
			t.Errorf("something is gone: %v", err)
		}
	}
	removes(t, s, 0, 0, "")
}

// program starts a copy of a program that only waits, under a name.
func program(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(t.TempDir(), name))
	if err := os.WriteFile(cmd.Path, b, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return cmd
}

// TestScratchProcesses ends the servers that work in the directory, and nothing and nobody else.
func TestScratchProcesses(t *testing.T) {
	s, parent := scratched(t)
	server, elsewhere := program(t, "postgres", filepath.Join(s.Dir, "data")), program(t, "postgres", filepath.Dir(s.Dir))
	stranger := program(t, "editor", s.Dir)
	removes(t, s, 1, 0, fmt.Sprintf("process %d (\"editor\") works there", stranger.Process.Pid))
	if err := server.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the server ended by %v", err)
	}
	for _, cmd := range []*exec.Cmd{elsewhere, stranger} {
		if err := cmd.Process.Signal(unix.Signal(0)); err != nil || programOf(fmt.Sprintf("/proc/%d", cmd.Process.Pid)) != filepath.Base(cmd.Path) {
			t.Errorf("%s was ended: %v", cmd.Path, err)
		}
	}
	if there(s.Dir) {
		t.Error("the files are left")
	}
	removes(t, ScratchOf(parent, "1"), 1, 0, "not known")
}
