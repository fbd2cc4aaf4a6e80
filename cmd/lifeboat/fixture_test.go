package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/clock"
)

// soak reports whether a test may take hours: LIFEBOAT_SOAK=1 tries everything where a usual run takes a sample.
func soak() bool { return os.Getenv("LIFEBOAT_SOAK") != "" }

// soakTimes is n in a long run.
func soakTimes(n int) int {
	if soak() {
		return n
	}
	return 0
}

// built is the directory of realProgram, once it was needed.
var built string

// realProgram is the real program, built without the race detector, once.
var realProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lifeboat-binary-*")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "lifeboat")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, ".") // as it is released
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// fixture is a directory with a configuration, an identity and a small CRM database.
type fixture struct {
	t     *testing.T
	dir   string
	real  bool                // run the real program, which is many times faster than this one under the race detector
	shift time.Duration       // of the clock, not of the real program's
	as    *syscall.Credential // who runs the real program; nil: this user
}

// said is what a run of the program printed.
type said struct {
	code     int
	out, err string
}

func (s said) String() string { return fmt.Sprintf("exit code %d\n%s%s", s.code, s.out, s.err) }

// newFixture founds a repository on the targets of these names.
func newFixture(t *testing.T, targets ...string) *fixture {
	t.Helper()
	x := &fixture{t: t, dir: t.TempDir()}
	b, err := smallCRM()
	x.must(err)
	x.must(os.WriteFile(x.path("crm.db"), b, 0o600))
	x.must(os.WriteFile(x.path("recipients"), []byte(x.want(0, "keygen", "-o", x.path("key")).out), 0o600))
	var list strings.Builder
	for _, name := range targets {
		fmt.Fprintf(&list, "  %s: {type: local, path: %s}\n", name, x.path(name))
	}
	x.configure("lifeboat.yaml", "state", list.String())
	x.want(0, "init", "--identity", x.path("key"))
	return x
}

func (x *fixture) configure(file, state, targets string) {
	x.must(os.WriteFile(x.path(file), fmt.Appendf(nil, "repository: crm\nstate_dir: %s\nkeys: {recipients_file: %s}\nsources:\n  crm: {engine: sqlite, path: %s}\ntargets:\n%s",
		x.path(state), x.path("recipients"), x.path("crm.db"), targets), 0o600))
}

func (x *fixture) path(elem ...string) string {
	return filepath.Join(append([]string{x.dir}, elem...)...)
}

func (x *fixture) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// run runs the program, in this process unless x.real.
func (x *fixture) run(args ...string) said {
	x.t.Helper()
	var out, errw bytes.Buffer
	if x.real {
		path, err := realProgram()
		x.must(err)
		cmd := exec.CommandContext(x.t.Context(), path, append([]string{"-c", x.path("lifeboat.yaml")}, args...)...)
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &out, &errw, &syscall.SysProcAttr{Credential: x.as}
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) {
			x.must(err)
		}
		return said{cmd.ProcessState.ExitCode(), out.String(), errw.String()}
	}
	a := &app{in: strings.NewReader(""), out: &out, err: &errw, now: clock.Clock(func() time.Time { return time.Now().Add(x.shift) }), file: x.path("lifeboat.yaml")}
	if args[0] != "-c" {
		args = append([]string{"-c", x.path("lifeboat.yaml")}, args...)
	}
	code := a.run(context.WithoutCancel(x.t.Context()), args)
	return said{code, out.String(), errw.String()}
}

// want runs the program, which must end with this exit code.
func (x *fixture) want(code int, args ...string) said {
	x.t.Helper()
	s := x.run(args...)
	if s.code != code {
		x.t.Fatalf("lifeboat %s: want %d: %s", strings.Join(args, " "), code, s)
	}
	return s
}

// restored restores and returns the database; nothing but it may stand in the directory.
func (x *fixture) restored(args ...string) []byte {
	x.t.Helper()
	to := filepath.Join(x.t.TempDir(), "out")
	x.want(0, append([]string{"restore", "crm", "--identity", x.path("key"), "--to", to}, args...)...)
	b, err := os.ReadFile(filepath.Join(to, "crm.db"))
	x.must(err)
	return b
}

func (x *fixture) database() []byte {
	x.t.Helper()
	b, err := os.ReadFile(x.path("crm.db"))
	x.must(err)
	return b
}

// objects lists the files of a copy, with slashes.
func (x *fixture) objects(target string) []string {
	x.t.Helper()
	var out []string
	x.must(filepath.WalkDir(x.path(target), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(x.path(target), path)
		out = append(out, filepath.ToSlash(rel))
		return err
	}))
	return out
}
