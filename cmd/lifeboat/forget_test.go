package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is who runs the program where a test runs as root, whom no mode of a directory keeps out.
const nobody = 65534

// asNobody runs the real program as nobody, who owns the fixture from then on; as who runs the test, unless that is root.
func (x *fixture) asNobody(args ...string) said {
	x.t.Helper()
	path, err := realProgram()
	x.must(err)
	cmd := exec.CommandContext(x.t.Context(), path, append([]string{"-c", x.path("lifeboat.yaml")}, args...)...)
	cmd.Dir = x.dir
	if os.Geteuid() == 0 {
		x.must(errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(filepath.Dir(x.dir), 0o755)))
		x.must(filepath.WalkDir(x.dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, nobody, nobody))
		}))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var out, errw bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errw
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) {
		x.must(err)
	}
	return said{cmd.ProcessState.ExitCode(), out.String(), errw.String()}
}

// TestForgetDenied forgets where a target does not let everything be deleted: the others are cleaned, it is told, and the next
// one cleans the rest.
func TestForgetDenied(t *testing.T) {
	x := newFixture(t, "disk", "usb")
	x.real = true
	for n := range 3 {
		x.want(0, "backup", "crm", "--full")
		x.must(churnRows(t.Context(), x.path("crm.db"), uint64(n), 20))
	}
	orphan := "packs/00/" + strings.Repeat("0", 64)
	for _, name := range []string{"disk", "usb"} {
		x.must(os.MkdirAll(x.path(name, "packs/00"), 0o700))
		x.must(os.WriteFile(x.path(name, orphan), []byte("of a run that died"), 0o600))
	}
	closed := x.path("disk", "packs/00")
	x.must(os.Chmod(closed, 0o500))
	s := x.asNobody("forget", "s2", "--yes", "--json")
	x.must(os.Chmod(closed, 0o700))
	var got struct {
		Orphans int
		Left    []struct {
			Target, Error string
			Failed        int
		}
	}
	x.must(json.Unmarshal([]byte(s.out), &got))
	if s.code != exitVerdict || !strings.Contains(s.err, "target disk: not everything") || got.Orphans != 1 || len(got.Left) != 1 ||
		got.Left[0].Target != "disk" || got.Left[0].Failed != 1 || !strings.Contains(got.Left[0].Error, "permission denied") {
		t.Errorf("denied: %s", s)
	}
	if s := x.asNobody("forget", "s3", "--yes"); s.code != 0 || !strings.Contains(s.out, "deleted 1 object that nothing needs") {
		t.Errorf("allowed again: %s", s)
	}
	for _, name := range []string{"disk", "usb"} {
		if _, err := os.Stat(x.path(name, orphan)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s/%s: %v", name, orphan, err)
		}
		if s := x.asNobody("check", "--from", name); s.code != 0 {
			t.Errorf("check: %s", s)
		}
	}
}
