//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/strike"
	"lifeboat/internal/testenv"
)

// reuseKills is how many kills of a restore of SQLite a usual run makes; with LIFEBOAT_SOAK=1 it is every one, whole and torn.
const reuseKills = 16

// TestReuseKill kills a restore over another state before calls that write and in the middle of writes. The database then stands there as it
// was, as it shall be, or not at all; only the same restore again touches what is left, and completes it.
func TestReuseKill(t *testing.T) {
	inMemory(t)
	x := newFixture(t, "disk")
	x.real = true
	first := x.database()
	x.want(0, "backup", "crm")
	x.rewrite()
	second := x.database()
	x.want(0, "backup", "crm", "--full")
	x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", x.path("back"))
	x.put([]byte("not empty"), "back", "crm.db-wal")
	s := stage{"reuse", []string{"restore", "crm", "--to", "back", "--identity", "key", "--from", "disk", "--at", "snapshot:s2", "--reuse", "--yes"}, x, nil}
	twin := func(t *testing.T) *fixture {
		y := &fixture{t: t, dir: t.TempDir(), real: true}
		y.must(copyDir(x.dir, y.dir))
		y.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", y.path("disk")))
		return y
	}
	calls, err := strike.Count(s.command(twin(t)))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 0))
	at := rng.Perm(calls)
	if !soak() {
		at = at[:min(calls, reuseKills)]
	}
	t.Logf("%d calls that write", calls)
	ends := map[string]int{}
	for i, k := range at {
		for _, torn := range [][]*rand.Rand{{nil}, {rng}, {nil, rng}}[min(i%2+soakTimes(2), 2)] {
			y := twin(t)
			r, err := strike.Run(s.command(y), k+1, torn)
			y.must(err)
			t.Run(fmt.Sprintf("%d %s %d", k+1, filepath.Base(r.Call.Path), r.Kept), func(t *testing.T) {
				y.t = t
				t.Logf("killed at call %d, %s, kept %d", k+1, r.Call, r.Kept)
				ends[y.reuseEnd(first, second)]++
				y.t = t
				y.want(0, append([]string{"restore", "crm", "--to", y.path("back")}, append([]string{"--identity", y.path("key")}, s.args[6:]...)...)...)
				if !bytes.Equal(y.read("back", "crm.db"), first) {
					t.Error("the restore again brings something else")
				}
				if left := y.objects("back"); len(left) != 1 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
	if ends["absent"] == 0 {
		t.Errorf("no kill was in the middle: %v", ends)
	}
	t.Log(ends)
}

// reuseEnd tells how a killed restore left the directory.
func (x *fixture) reuseEnd(first, second []byte) string {
	x.t.Helper()
	b, err := os.ReadFile(x.path("back", "crm.db"))
	wal, werr := os.ReadFile(x.path("back", "crm.db-wal"))
	switch {
	case os.IsNotExist(err):
		if s := x.want(4, "restore", "crm", "--to", x.path("back"), "--identity", x.path("key")); !strings.Contains(s.err, "repeat with --reuse") {
			x.t.Error(s)
		}
		return "absent"
	case err != nil:
		x.t.Error(err)
	case bytes.Equal(b, first) && os.IsNotExist(werr):
		return "done"
	case bytes.Equal(b, second) && string(wal) == "not empty":
		return "as it was"
	}
	x.t.Errorf("a database of %d bytes stands there, which is neither state, with a log of %d bytes (%v)", len(b), len(wal), werr)
	return "wrong"
}

// killReuse kills a restore over a cluster again and again, later each time: no server starts there until one completes, and then everything
// is as in a fresh restore.
func (x *fixture) killReuse(t *testing.T, pg *testenv.Postgres, dir, before string, args []string) {
	t.Helper()
	path, err := realProgram()
	x.must(err)
	command := func() *exec.Cmd {
		return exec.CommandContext(t.Context(), path, append([]string{"-c", x.path("lifeboat.yaml")}, args...)...)
	}
	rng := rand.New(rand.NewPCG(4, 0))
	kill := func(at int) {
		r, err := strike.Run(command(), at, rng)
		x.must(err)
		t.Logf("killed at call %d, %s, kept %d", at, r.Call, r.Kept)
		if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
			if r.Status.Signaled() && withoutPartial(tree(t, dir)) != before {
				t.Error("a server could start in what is neither the old nor the new state")
			}
			return
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(pg.Bin, "pg_ctl"), "start", "-D", dir, "-w", "-s")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(ownerOf(t, pg.Dir))}}
		cmd.Dir = os.TempDir()
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not a database cluster directory") {
			t.Errorf("a server takes the directory: %v: %s", err, out)
		}
		if s := x.want(4, "restore", "crm", "--identity", x.path("key"), "--to", dir); !strings.Contains(s.err, "repeat with --reuse") {
			t.Error(s)
		}
	}
	for _, at := range []int{1, 4, 8, 12, 40, 150, 500, 1500} {
		kill(at)
	}
	x.must(command().Run())
	after := tree(t, dir)
	damaged := filepath.Join(dir, "base", "1", "1259")
	damage := func() {
		b, err := os.ReadFile(damaged)
		x.must(err)
		x.must(os.WriteFile(damaged, spoil("flip", b), 0o600))
	}
	damage()
	calls, err := strike.Count(command())
	x.must(err)
	for _, fromEnd := range []int{100, 30, 20, 10, 4, 1} {
		damage()
		r, err := strike.Run(command(), calls-fromEnd, nil)
		x.must(err)
		t.Logf("killed at call %d of %d, %s", calls-fromEnd, calls, r.Call)
		if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil && withoutPartial(tree(t, dir)) != after {
			t.Error("a server could start in what is not the new state")
		}
		x.must(command().Run())
	}
}

func withoutPartial(tree string) string {
	var b strings.Builder
	for line := range strings.Lines(tree) {
		if !strings.HasPrefix(line, ".lifeboat-partial") {
			b.WriteString(line)
		}
	}
	return b.String()
}
