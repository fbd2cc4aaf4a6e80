//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/internal/strike"
	"lifeboat/repository"
)

// killBudget is how many kills of one command a usual run makes; with LIFEBOAT_SOAK=1 it is every one.
const killBudget = 7

// stage is a command to kill, in a directory that is ready for it.
type stage struct {
	name     string
	args     []string
	x        *fixture
	contents map[string][]byte // what each snapshot holds, the one that the command may commit included
}

func (s stage) command(x *fixture) *exec.Cmd {
	path, err := realProgram()
	x.must(err)
	cmd := exec.CommandContext(x.t.Context(), path, append([]string{"-c", x.path("lifeboat.yaml")}, s.args...)...)
	cmd.Dir = x.dir
	return cmd
}

// twin is a copy of the stage's directory, to be killed in.
func (s stage) twin(t *testing.T) *fixture {
	x := &fixture{t: t, dir: t.TempDir(), real: true}
	x.must(copyDir(s.x.dir, x.dir))
	x.configureTwo()
	return x
}

func (x *fixture) configureTwo() {
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n  usb: {type: local, path: %s}\n", x.path("disk"), x.path("usb")))
}

// stages are the commands of a repository's life, each in the state that the ones before it leave.
func stages(t *testing.T) []stage {
	x := newFixture(t, "disk", "usb")
	x.real = true
	bare := &fixture{t: t, dir: t.TempDir()}
	for _, name := range []string{"crm.db", "recipients", "key"} {
		text, _, _ := bytes.Cut(x.read(name), []byte("# lifeboat: ")) // another repository's fingerprint
		bare.put(text, name)
	}
	bare.configureTwo()
	contents := map[string][]byte{"s2": x.database()}
	out := []stage{{"init", []string{"init"}, bare, nil}}
	add := func(args ...string) {
		s := stage{strings.Join(args[:min(len(args), 3)], " "), args, &fixture{t: t, dir: t.TempDir()}, map[string][]byte{}}
		x.must(copyDir(x.dir, s.x.dir))
		for id, b := range contents {
			s.contents[id] = b
		}
		out = append(out, s)
	}
	add("backup", "crm")
	x.want(0, "backup", "crm")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	contents["s3"] = x.database()
	add("backup", "crm")
	x.want(0, "backup", "crm")
	x.rewrite()
	contents["s4"] = x.database()
	x.want(0, "backup", "crm", "--full")
	add("forget", "s2", "--yes")
	x.want(0, "forget", "s2", "--yes")
	x.rewrite()
	contents["s7"] = x.database()
	x.want(0, "backup", "crm", "--full")
	add("forget", "s3", "--yes")
	out = append(out, compacting(x), sweeping(x))
	add("keys", "reseal", "--identity", x.path("key"), "--yes")
	add("keys", "rotate", "--identity", x.path("key"), "--yes")
	x.must(os.RemoveAll(x.path("state")))
	add("init", "--take-over", "--identity", x.path("key"))
	return out
}

// compacting is a forget that moves frames, in a copy of x.
func compacting(x *fixture) stage {
	x.t.Helper()
	y := stage{x: x}.twin(x.t)
	y.real = true
	s := stage{name: "forget and compact", x: y, contents: map[string][]byte{}}
	y.rewrite()
	for range 2 {
		y.sqlite("CREATE TABLE IF NOT EXISTS bulk (b); DELETE FROM bulk; INSERT INTO bulk VALUES (randomblob(3000000))")
		y.want(0, []string{"backup", "crm", "--full"}[:3-len(s.contents)]...) // the second time without --full
		ids := y.snapshots("disk")
		s.contents[ids[len(ids)-1]] = y.database()
	}
	ids := y.snapshots("disk")
	s.args = []string{"forget", ids[len(ids)-2], "--yes"}
	var got struct{ Compacted int }
	if out := s.twin(x.t).want(0, append(s.args, "--json")...).out; json.Unmarshal([]byte(out), &got) != nil || got.Compacted == 0 {
		x.t.Fatalf("nothing was compacted: %s", out)
	}
	return s
}

// sweeping is a forget that deletes what was condemned, in a repository whose clock was weeks behind until then.
func sweeping(x *fixture) stage {
	x.t.Helper()
	y := &fixture{t: x.t, dir: x.t.TempDir(), shift: -30 * 24 * time.Hour}
	for _, name := range []string{"crm.db", "recipients", "key"} {
		text, _, _ := bytes.Cut(x.read(name), []byte("# lifeboat: ")) // another repository's fingerprint
		y.put(text, name)
	}
	y.configureTwo()
	y.want(0, "init", "--identity", y.path("key"))
	s := stage{name: "forget and sweep", args: []string{"forget", "s3", "--yes"}, x: y, contents: map[string][]byte{}}
	for _, id := range []string{"s2", "s3", "s4"} {
		s.contents[id] = y.database()
		y.want(0, "backup", "crm", "--full")
		y.rewrite()
	}
	y.want(0, "forget", "s2", "--yes")
	var got struct{ Swept int }
	if out := s.twin(x.t).want(0, append(s.args, "--json")...).out; json.Unmarshal([]byte(out), &got) != nil || got.Swept < 4 {
		x.t.Fatalf("too little was swept: %s", out)
	}
	return s
}

// rewrite changes most pages, so that what a snapshot held before is garbage without it.
func (x *fixture) rewrite() {
	x.t.Helper()
	x.sqlite("UPDATE attachment SET content=randomblob(length(content)); UPDATE activity SET body=hex(randomblob(length(body)/2)); UPDATE account SET notes=hex(randomblob(100))")
}

func (x *fixture) sqlite(statements string) {
	x.t.Helper()
	if out, err := exec.CommandContext(x.t.Context(), "sqlite3", x.path("crm.db"), statements).CombinedOutput(); err != nil {
		x.t.Fatalf("sqlite3: %v: %s (scripts/setup installs it)", err, out)
	}
}

// TestKill kills each command before every call that writes, and in the middle of writes. Whatever a copy has committed
// then restores from it, the same command works again, and a later one clears away what the dead run left.
func TestKill(t *testing.T) {
	inMemory(t)
	for n, s := range stages(t) {
		t.Run(fmt.Sprintf("%d %s", n, s.name), func(t *testing.T) {
			calls, err := strike.Count(s.command(s.twin(t)))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d calls that write", calls)
			rng := rand.New(rand.NewPCG(1, uint64(n)))
			at := rng.Perm(calls)
			if !soak() {
				at = at[:min(len(at), killBudget)]
			}
			for i, k := range at {
				torn := rng
				if i%2 == 0 && !soak() {
					torn = nil
				}
				s.kill(t, k+1, torn)
				if soak() {
					s.kill(t, k+1, nil)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// inMemory puts the temporary directories of a test on a disk of their own, where one can be mounted: thousands of flushes
// would take minutes on a busy disk.
func inMemory(t *testing.T) {
	if _, err := realProgram(); err != nil { // it stays where it is
		t.Fatal(err)
	}
	dir := t.TempDir()
	if unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size=2g") != nil {
		return
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
}

func (s stage) kill(t *testing.T, at int, torn *rand.Rand) {
	t.Helper()
	x := s.twin(t)
	r, err := strike.Run(s.command(x), at, torn)
	x.must(err)
	t.Run(fmt.Sprintf("%d %s %d", at, strings.ReplaceAll(filepath.Base(r.Call.Path), x.dir, ""), r.Kept), func(t *testing.T) {
		x.t = t
		t.Logf("killed at call %d, %s, kept %d", at, r.Call, r.Kept)
		for _, name := range []string{"disk", "usb"} {
			s.restores(x, name)
		}
		again := x.run(s.args...)
		if again.code != 0 && (s.args[0] != "forget" || again.code != 4) {
			t.Fatalf("the same command again: %s", again)
		}
		x.want(0, "init")
		x.want(0, "backup", "crm")
		if !bytes.Equal(x.restored(), x.database()) {
			t.Fatal("the next backup restores to something else")
		}
		x.must(churnRows(t.Context(), x.path("crm.db"), 9, 5))
		x.want(0, "backup", "crm")
		ids := x.snapshots("disk")
		x.want(0, "forget", ids[0], "--yes")
		for _, name := range []string{"disk", "usb"} {
			s.restores(x, name)
			x.want(0, "check", "--from", name, "--identity", x.path("key"))
			x.tidy(name)
		}
		x.tidyState()
	})
}

// snapshots lists what a copy holds, with the identity alone.
func (x *fixture) snapshots(target string) []string {
	x.t.Helper()
	var rows []struct{ ID string }
	x.must(json.Unmarshal([]byte(x.want(0, "snapshots", "--json", "--from", "file://"+x.path(target), "--identity", x.path("key")).out), &rows))
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

// restores restores every snapshot that a copy has committed.
func (s stage) restores(x *fixture, target string) {
	x.t.Helper()
	for _, name := range []string{"lifeboat.json", "journal/writer/000000000001"} {
		if _, err := os.Stat(x.path(target, name)); err != nil {
			return // init did not come so far
		}
	}
	x.configure("elsewhere.yaml", "elsewhere", fmt.Sprintf("  %s: {type: local, path: %s}\n", target, x.path(target)))
	for _, id := range x.snapshots(target) {
		got := x.restored("--from", "file://"+x.path(target), "--at", "snapshot:"+id, "-c", x.path("elsewhere.yaml")) // on the host it would be recorded
		if want, ok := s.contents[id]; ok && !bytes.Equal(got, want) {
			x.t.Errorf("%s from %s is not what was backed up", id, target)
		}
	}
}

// tidy wants nothing on a copy but what its journal names.
func (x *fixture) tidy(target string) {
	x.t.Helper()
	named := map[string]bool{"lifeboat.json": true}
	journal, err := filepath.Glob(x.path(target, "journal/writer/*"))
	x.must(err)
	for _, path := range journal {
		named["journal/writer/"+filepath.Base(path)] = true
		b, err := os.ReadFile(path)
		x.must(err)
		var r struct{ Objects []struct{ Name string } }
		x.must(json.NewDecoder(bytes.NewReader(b)).Decode(&r))
		for _, o := range r.Objects {
			named[o.Name] = true
		}
	}
	for _, name := range x.objects(target) {
		if !named[name] {
			x.t.Errorf("%s/%s is left behind", target, name)
		}
	}
}

// tidyState wants nothing unknown in the state directory.
func (x *fixture) tidyState() {
	x.t.Helper()
	entries, err := os.ReadDir(x.path("state"))
	x.must(err)
	for _, e := range entries {
		if !slices.Contains([]string{"secrets.json", "head.json", "lock", "catalog.db", "pagemaps", "checks", "targets.json", "outbox"}, e.Name()) {
			x.t.Errorf("state/%s is left behind", e.Name())
		}
	}
	if n, _ := repository.Unrecorded(x.path("state")); n > 0 {
		x.t.Errorf("%d notes were not recorded", n)
	}
	maps, err := os.ReadDir(x.path("state", "pagemaps"))
	x.must(err)
	if len(maps) != 2 {
		x.t.Errorf("page maps left behind: %v", maps)
	}
}
