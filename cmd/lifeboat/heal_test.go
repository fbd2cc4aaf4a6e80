package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/repository"
)

// TestHeal spoils each object of a copy in every way: all come back from the other copy, byte for byte.
func TestHeal(t *testing.T) {
	foreign := newFixture(t, "disk")
	foreign.want(0, "backup", "crm")
	x := newFixture(t, "disk", "usb")
	x.want(0, "backup", "crm")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	for _, name := range x.objects("disk") {
		whole := x.read("disk", name)
		for how, body := range replacements(x, foreign, name, whole) {
			x.put(body, "disk", name)
			if s := x.run("heal"); s.code != 0 || !strings.Contains(s.out, "disk: 1 object repaired") {
				t.Errorf("%s %s: %s", how, name, s)
			}
			if !bytes.Equal(x.read("disk", name), whole) {
				t.Errorf("%s %s is not what it was", how, name)
				x.put(whole, "disk", name)
			}
		}
	}
	x.put(nil, "disk", "lifeboat.json")
	x.put([]byte("x"), "disk", "journal/writer/000000000001")
	if s := x.want(0, "heal"); !strings.Contains(s.out, "disk: 2 objects repaired") {
		t.Errorf("without its marker and its first record: %s", s)
	}
	x.want(0, "check", "--identity", x.path("key"))
	x.want(0, "backup", "crm")

	x.must(os.RemoveAll(x.path("disk")))
	x.must(copyDir(foreign.path("disk"), x.path("disk")))
	if s := x.want(3, "heal"); !strings.Contains(s.err, "belongs to repository") {
		t.Error(s)
	}
	for _, name := range foreign.objects("disk") {
		if !bytes.Equal(x.read("disk", name), foreign.read("disk", name)) {
			t.Errorf("%s of another repository was changed", name)
		}
	}
}

// TestHealBoth spoils both copies, here and there: what is whole on either comes back on both, and what is lost on both is named.
func TestHealBoth(t *testing.T) {
	x := newFixture(t, "disk", "usb")
	x.want(0, "backup", "crm")
	first := x.database()
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	rng := rand.New(rand.NewPCG(7, 7))
	ways := []string{"truncate", "flip", "empty"}
	for range 5 {
		for _, name := range x.objects("disk") {
			where := []string{"disk", "usb"}[rng.IntN(2)]
			if name != "lifeboat.json" && !strings.HasPrefix(name, "journal/") && rng.IntN(2) == 0 {
				x.put(spoil(ways[rng.IntN(3)], x.read(where, name)), where, name)
			}
		}
		x.want(3, "check")
		x.want(0, "heal")
		x.want(0, "check")
	}
	var pack string
	for _, name := range x.objects("disk") {
		if strings.HasPrefix(name, "packs/") && (pack == "" || len(x.read("disk", name)) > len(x.read("disk", pack))) {
			pack = name
		}
	}
	x.put(nil, "disk", pack)
	x.put(spoil("flip", x.read("usb", pack)), "usb", pack)
	s := x.want(3, "heal", "--json")
	var report healReport
	x.must(json.Unmarshal([]byte(s.out), &report))
	for _, c := range report.Copies {
		if !slices.Equal(c.Lost, []string{pack}) {
			t.Errorf("%s is lost on both: %s", pack, s)
		}
	}
	if len(report.Lost) != 2 || report.Lost[0].Snapshot != "s2" || !slices.Equal(report.Lost[0].Files, []string{"crm.db"}) {
		t.Errorf("what is lost of which snapshot: %s", s)
	}
	x.want(0, "backup", "crm") // stores again what the database still has
	if got := x.restored(); !bytes.Equal(got, x.database()) || bytes.Equal(got, first) {
		t.Error("the backup after it does not restore")
	}
}

// TestHealBreaksOff heals a copy of which a record and what that names are lost everywhere: what stands behind it is not healed, and not forgotten.
func TestHealBreaksOff(t *testing.T) {
	x := newFixture(t, "disk", "usb")
	x.want(0, "backup", "crm")
	early := x.objects("disk")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	want := []string{"journal/writer/000000000002"}
	x.put(nil, "usb", want[0])
	for _, name := range x.objects("disk") {
		if !strings.HasPrefix(name, "packs/") {
			continue
		}
		x.put(nil, "usb", name)
		want = append(want, name)
		if slices.Contains(early, name) {
			x.put(nil, "disk", name)
		}
	}
	if s := x.want(3, "heal"); !strings.Contains(s.err, "do not stand there") {
		t.Errorf("a copy that cannot be healed further: %s", s)
	}
	if got := repository.LastCheck(x.path("state"), "usb").Damaged; !slices.Equal(got, want) {
		t.Errorf("damaged is %q, and known to be is %q", want, got)
	}
}

// TestRestoreFallsBack spoils three copies so that none is whole, but each object is somewhere: a restore takes each from where it is.
func TestRestoreFallsBack(t *testing.T) {
	x := newFixture(t, "disk", "usb", "vault")
	x.want(0, "backup", "crm")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	want := x.database()
	rng := rand.New(rand.NewPCG(3, 3))
	ways := []string{"truncate", "flip", "empty", "gone"}
	names := x.objects("disk")
	for _, name := range names {
		if name == "lifeboat.json" || strings.HasPrefix(name, "journal/") {
			continue
		}
		keep := rng.IntN(3) // the copy that keeps it
		for i, where := range []string{"disk", "usb", "vault"} {
			if way := ways[rng.IntN(len(ways))]; i != keep && way == "gone" {
				x.put(nil, where, name)
			} else if i != keep {
				x.put(spoil(way, x.read(where, name)), where, name)
			}
		}
	}
	// While the host is busy no restore is recorded: a record would reach one of the copies alone, which is then the first to be read, and may be whole.
	lock, err := os.OpenFile(x.path("state", "lock"), os.O_RDWR, 0)
	x.must(err)
	x.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	for _, at := range []string{"latest", "snapshot:s2"} {
		to := x.path("out-" + at[:2])
		s := x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", to, "--at", at)
		if got := x.read("out-"+at[:2], "crm.db"); at == "latest" && !bytes.Equal(got, want) {
			t.Error("other bytes came back")
		}
		if !strings.Contains(s.err, "reading another copy") {
			t.Errorf("nothing is said of the damage: %s", s)
		}
	}
	x.must(lock.Close())
	s := x.run("restore", "crm", "--identity", x.path("key"), "--to", x.path("forced"), "--from", "disk")
	if s.code == 0 {
		t.Errorf("a copy that was named was not the only one read: %s", s)
	}
	x.want(0, "heal")
	x.want(0, "check", "--identity", x.path("key"))
	for _, where := range []string{"disk", "usb"} {
		x.must(os.RemoveAll(x.path(where)))
	}
	if !bytes.Equal(x.restored("--from", "file://"+x.path("vault")), want) {
		t.Error("the last copy does not restore")
	}
}

// TestHealScattered spoils three copies so that none can be read to its end: one lost its marker, one its beginning, one a record behind that.
func TestHealScattered(t *testing.T) {
	x := newFixture(t, "disk", "usb", "vault")
	x.want(0, "backup", "crm")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	want := x.database()
	for _, spoilt := range [][]string{{"disk", "lifeboat.json"}, {"usb", "journal/writer/000000000001"}, {"vault", "lifeboat.json"}, {"vault", "journal/writer/000000000002"}} {
		x.put(spoil("flip", x.read(spoilt...)), spoilt...)
	}
	x.want(0, "heal")
	x.want(0, "check", "--identity", x.path("key"))
	for _, name := range []string{"disk", "usb", "vault"} {
		if !bytes.Equal(x.restored("--from", name), want) {
			t.Errorf("%s yields other bytes", name)
		}
	}
	x.put(nil, "disk", "journal/writer/000000000003")
	x.put(spoil("flip", x.read("usb", "journal/writer/000000000003")), "usb", "journal/writer/000000000003")
	x.put(nil, "vault", "lifeboat.json") // which alone has record 3
	x.want(0, "heal")
	x.want(0, "check", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
}

// TestHealRemembersWhatIsLost heals what cannot be healed: retention goes on taking the snapshot for damaged, and keeps the one before it in its place.
func TestHealRemembersWhatIsLost(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	x.must(os.WriteFile(x.path("lifeboat.yaml"), append(x.read("lifeboat.yaml"), "policies:\n  p: {sources: [crm], schedule: {incremental: '0 0 */10 * *'}, retention: {pitr: 3d, allow_below_90d: a test}}\n"...), 0o600))
	for _, days := range []time.Duration{0, 1, 10} {
		x.shift = days * 24 * time.Hour
		x.want(0, "backup", "crm")
		x.must(churnRows(t.Context(), x.path("crm.db"), uint64(days), 20))
	}
	x.lose(3) // which the last one does not need
	base := func() string {
		t.Helper()
		var r pruneReport
		x.must(json.Unmarshal([]byte(x.want(0, "prune", "--dry-run", "--json").out), &r))
		for _, s := range r.Snapshots {
			if s.Keep {
				return s.ID
			}
		}
		return ""
	}
	if got := base(); got != "s3" {
		t.Fatalf("before anybody knows, the window is reached from %s", got)
	}
	x.want(3, "check")
	if got := base(); got != "s2" {
		t.Fatalf("behind a check the window is reached from %s", got)
	}
	if s := x.want(3, "heal"); !strings.Contains(s.out, "LOST of s3") {
		t.Fatal(s)
	}
	if got := base(); got != "s2" {
		t.Errorf("behind a heal that could not help the window is reached from %s", got)
	}
}

// TestForgetKeepsWhatCanBeRestored refuses to drop the last snapshot that can be restored, until there is another.
func TestForgetKeepsWhatCanBeRestored(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	for range 3 {
		x.want(0, "backup", "crm", "--full")
		x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	}
	x.lose(3)
	x.lose(4)
	x.want(3, "check")
	if s := x.want(4, "forget", "s2", "--yes"); !strings.Contains(s.err, "s2 is the newest snapshot of its source that can be restored") {
		t.Error(s)
	}
	x.want(4, "forget", "s4", "--yes")
	x.want(0, "backup", "crm")
	for _, id := range []string{"s3", "s4", "s2"} {
		if s := x.run("forget", id, "--yes"); strings.Contains(s.err, "take another backup first") {
			t.Error(s)
		}
	}
}

// lose removes the packs of a record from both copies.
func (x *fixture) lose(seq int) {
	x.t.Helper()
	for _, o := range x.records("disk")[seq-1].Objects {
		if strings.HasPrefix(o.Name, "packs/") {
			x.must(os.Remove(x.path("disk", o.Name)))
			x.must(os.Remove(x.path("usb", o.Name)))
		}
	}
}
