package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// pastGrace is a time after which what was condemned is deleted.
const pastGrace = 8 * 24 * time.Hour

// newHalfEmpty is a vessel of four snapshots. Once the one that is returned is forgotten, a pack of content is mostly dead: most of
// it was one file that changed since, and the rest of it others need.
func newHalfEmpty(t *testing.T, names ...string) (*vessel, uint64) {
	t.Helper()
	v := newVessel(t, 7, names...)
	v.cargo = maps.Clone(v.cargo)
	v.cargo["1-rest"] = v.noise(50 << 10)
	var first uint64
	for range 3 {
		v.cargo = maps.Clone(v.cargo)
		v.cargo["0-bulk"] = v.noise(3 << 20) // of which less than a third can share a frame with the rest, however it is cut
		v.backUp()
		if first == 0 {
			first = v.head()
		}
	}
	return v, first
}

func (v *vessel) noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(v.rand.Uint32()), byte(v.rand.Uint32())}).Read(b) // never fails
	return b
}

// collect forgets snapshots, those that are forgotten already left out, and collects, in one run.
func (v *vessel) collect(w wrap, forget ...uint64) (got repository.Collected, copies []*repository.Copy, err error) {
	v.t.Helper()
	c := v.config(local.Open, w)
	h, err := repository.OpenHost(v.t.Context(), c)
	if err != nil {
		return got, c.Copies, err
	}
	for _, seq := range forget {
		if err := h.Forget(v.t.Context(), seq, ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return got, c.Copies, errors.Join(err, h.Close())
		}
	}
	got, err = h.Collect(v.t.Context())
	return got, c.Copies, errors.Join(err, h.Close())
}

// collected is collect where nothing may fail; afterwards every copy is whole and holds nothing that nobody needs.
func (v *vessel) collected(forget ...uint64) repository.Collected {
	v.t.Helper()
	got, copies, err := v.collect(nil, forget...)
	if err := errors.Join(err, trouble(copies)); err != nil {
		v.t.Fatal(err)
	}
	if len(got.Left)+len(got.Damaged) > 0 {
		v.t.Errorf("left behind: %v, damaged: %v", got.Left, got.Damaged)
	}
	for _, name := range v.names {
		v.sound(name)
	}
	return got
}

// sound wants a copy to be whole: every snapshot restores, a check finds nothing, and no object is there that no record names.
func (v *vessel) sound(name string) {
	v.t.Helper()
	if whole, err := v.holds(name); err != nil || len(whole) == 0 {
		v.t.Errorf("%s: %v restore: %v", name, whole, err)
	}
	if r := v.check(name); len(r.Damage) > 0 {
		v.t.Errorf("%s: %v", name, r.Damage)
	}
	r := v.reader(name)
	if r.IndexLost != nil {
		v.t.Errorf("%s: %v", name, r.IndexLost)
	}
	named := map[string]bool{}
	for _, e := range r.Chain.Entries() {
		for _, o := range e.Objects {
			named[o.Name] = true
		}
	}
	for _, prefix := range []string{"packs/", "index/"} {
		for o, err := range r.Target.List(v.t.Context(), prefix) {
			if err != nil {
				v.t.Fatal(err)
			}
			if !named[o.Name] {
				v.t.Errorf("%s: %s is left behind", name, o.Name)
			}
		}
	}
}

// last is the newest record of a copy that condemns something.
func (v *vessel) last(name string) journal.Entry {
	v.t.Helper()
	for _, e := range slices.Backward(v.reader(name).Chain.Entries()) {
		if e.Condemn != nil {
			return e
		}
	}
	v.t.Fatal("nothing was condemned")
	return journal.Entry{}
}

// twin is a copy of the vessel as it is.
func (v *vessel) twin(t *testing.T) *vessel {
	t.Helper()
	x := *v
	x.t, x.dir, x.opened, x.states = t, t.TempDir(), nil, slices.Clone(v.states)
	t.Cleanup(x.close)
	if err := os.CopyFS(x.dir, os.DirFS(v.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(x.path("state/secrets.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &x
}

// TestCompact moves what lives in half-empty packs. Readers that are under way go on, later snapshots use what was moved, and the
// old packs go a grace later.
func TestCompact(t *testing.T) {
	v, first := newHalfEmpty(t, "disk", "usb")
	before := v.reader("usb")
	got := v.collected(first)
	if got.Compacted == 0 || got.Condemned < got.Compacted || got.Moved == 0 || got.Moved > got.Bytes/2 {
		t.Fatalf("collected %+v", got)
	}
	e := v.last("usb")
	if len(e.Condemn.Packs) != got.Condemned || len(e.Objects) < 2 {
		t.Errorf("it condemns %d packs and names %d objects", len(e.Condemn.Packs), len(e.Objects))
	}
	for _, e := range before.Chain.Snapshots() {
		if _, err := restored(t, before, e.Snapshot.Root); err != nil {
			t.Errorf("a reader that was under way: s%d: %v", e.Seq, err)
		}
	}
	if again := v.collected(); again.Condemned+again.Swept+again.Orphans > 0 {
		t.Errorf("collected again: %+v", again)
	}
	v.backUp()
	if stored := youngest(v.reader("disk")).Snapshot.Stored; stored > 500<<10 {
		t.Errorf("after it a backup stored %d bytes", stored)
	}
	v.shift = pastGrace
	if got := v.collected(); got.Swept != 2*len(slices.Concat(e.Condemn.Packs, e.Condemn.Indexes)) {
		t.Errorf("swept: %+v", got)
	}
	for _, d := range e.Condemn.Packs {
		if _, err := os.Stat(filepath.Join(v.path("usb"), chunkstore.PackName(d))); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("pack %s: %v", d, err)
		}
	}
	v.backUp()
	v.collected()
}

// youngest is the newest snapshot of a copy.
func youngest(r *repository.Reader) journal.Entry {
	all := r.Chain.Snapshots()
	return all[len(all)-1]
}

// TestCollectCrash ends a collection at each write of a target: one that moves frames, and one that deletes. Whatever a copy holds
// restores, and the next collection completes or cleans away what was begun.
func TestCollectCrash(t *testing.T) {
	start, first := newHalfEmpty(t, "disk", "usb")
	later := start.twin(t)
	later.collected(first)
	later.shift = pastGrace
	for what, v := range map[string]*vessel{"compaction": start, "sweep": later} {
		for _, victim := range v.names {
			var f *faulty.Target
			count := on(victim, func(in target.Target) target.Target { f = faulty.New(in); return f })
			if _, copies, err := v.twin(t).collect(count, first); errors.Join(err, trouble(copies)) != nil {
				t.Fatal(err)
			}
			writes := f.Mutations()
			if writes < 4 {
				t.Fatalf("%d writes: this proves nothing", writes)
			}
			for n := range writes {
				t.Run(fmt.Sprintf("%s, %s after %d of %d", what, victim, n, writes), func(t *testing.T) { v.twin(t).crash(victim, n, first) })
			}
		}
	}
}

func (v *vessel) crash(victim string, n int, forget uint64) {
	got, copies, err := v.collect(on(victim, func(in target.Target) target.Target {
		f := faulty.New(in)
		f.CrashAfter(n)
		return f
	}), forget)
	if all := errors.Join(err, trouble(copies)); !errors.Is(all, faulty.ErrCrashed) && len(got.Left) == 0 {
		v.t.Errorf("it crashed, and says %+v, %v", got, all)
	}
	for _, name := range v.names {
		if _, err := v.holds(name); err != nil {
			v.t.Errorf("after the crash, %s: %v", name, err)
		}
	}
	v.collected(forget)
	v.shift += pastGrace
	v.collected()
	if again, _, err := v.collect(nil); err != nil || again.Condemned+again.Swept+again.Orphans > 0 {
		v.t.Errorf("collected again: %+v, %v", again, err)
	}
}

// TestCatchUp fills a copy after frames were moved, and interrupts it at each write: what it lists restores.
func TestCatchUp(t *testing.T) {
	v, first := newHalfEmpty(t, "disk", "usb")
	stale := v.path("stale")
	for _, name := range []string{"lifeboat.json", "journal/writer/000000000001"} { // usb as it was after record 1
		path := filepath.Join(stale, name)
		b, err := os.ReadFile(filepath.Join(v.path("usb"), name))
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700)); err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	keys := filepath.Join(v.path("usb"), "keys")
	if err := os.CopyFS(filepath.Join(stale, "keys"), os.DirFS(keys)); err != nil {
		t.Fatal(err)
	}
	v.collected(first)
	v.shift = pastGrace
	v.collected()
	if err := errors.Join(os.RemoveAll(v.path("usb")), os.Rename(stale, v.path("usb"))); err != nil {
		t.Fatal(err)
	}
	var f *faulty.Target
	if _, copies, err := v.twin(t).collect(on("usb", func(in target.Target) target.Target { f = faulty.New(in); return f })); errors.Join(err, trouble(copies)) != nil {
		t.Fatal(err, trouble(copies))
	}
	for n := range f.Mutations() {
		x := v.twin(t)
		_, copies, err := x.collect(on("usb", func(in target.Target) target.Target { f := faulty.New(in); f.CrashAfter(n); return f }))
		if err != nil || !errors.Is(trouble(copies), faulty.ErrCrashed) {
			t.Fatalf("usb crashed after %d, and it says %v, %v", n, err, trouble(copies))
		}
		r := x.reader("usb")
		for _, e := range r.Chain.Snapshots() {
			if _, err := restored(t, r, e.Snapshot.Root); err != nil && e.Seq != first {
				t.Errorf("usb crashed after %d at record %d: s%d: %v", n, r.Chain.Len(), e.Seq, err)
			}
		}
	}
	v.collected()
}

// TestCompactDamaged leaves a pack where it is whose bytes are not those of its name.
func TestCompactDamaged(t *testing.T) {
	v, first := newHalfEmpty(t, "disk", "usb")
	x := v.twin(t)
	x.collected(first)
	var bad string
	for _, d := range x.last("disk").Condemn.Packs {
		if info, err := os.Stat(filepath.Join(v.path("disk"), chunkstore.PackName(d))); err == nil && info.Size() > 1<<20 {
			bad = chunkstore.PackName(d)
		}
	}
	path := filepath.Join(v.path("disk"), bad)
	b, err := os.ReadFile(path)
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, copies, err := v.collect(nil, first)
	if err := errors.Join(err, trouble(copies)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Damaged, []string{bad}) {
		t.Errorf("damaged: %q, want %q", got.Damaged, bad)
	}
	for _, o := range v.reader("disk").Objects() {
		if o.Name == bad {
			v.sound("usb")
			return
		}
	}
	t.Error("the damaged pack was condemned")
}

// TestCollectBlind deletes nothing where a tree cannot be read, neither what is due nor what a dead run left.
func TestCollectBlind(t *testing.T) {
	v, first := newHalfEmpty(t, "disk")
	v.collected(first)
	v.shift = pastGrace
	r := v.reader("disk")
	tree := r.Frames.Index().Lookup(youngest(r).Snapshot.Root.Frame)[0].Pack
	orphan := chunkstore.PackName(strings.Repeat("0", 64))
	err := errors.Join(os.Rename(filepath.Join(v.path("disk"), tree), v.path("tree")), os.MkdirAll(filepath.Join(v.path("disk"), "packs/00"), 0o700), os.WriteFile(filepath.Join(v.path("disk"), orphan), []byte("x"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	before := v.objects("disk")
	if _, _, err := v.collect(nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("snapshot s%d", youngest(r).Seq)) {
		t.Errorf("it does not say which snapshot cannot be read: %v", err)
	}
	if after := v.objects("disk"); !slices.Equal(before, after) {
		t.Errorf("there were\n%q\nand are\n%q", before, after)
	}
	if err := os.Rename(v.path("tree"), filepath.Join(v.path("disk"), tree)); err != nil {
		t.Fatal(err)
	}
	if got := v.collected(); got.Swept == 0 || got.Orphans != 1 {
		t.Errorf("collected %+v", got)
	}
}

func (v *vessel) objects(name string) (out []string) {
	v.t.Helper()
	for o, err := range v.reader(name).Target.List(v.t.Context(), "") {
		if err != nil {
			v.t.Fatal(err)
		}
		out = append(out, o.Name)
	}
	return out
}

// TestIndexComesBack forgets the newest snapshots one after another, until the index is what it was before and was condemned.
func TestIndexComesBack(t *testing.T) {
	v := newVessel(t, 8, "disk", "usb")
	was := v.reader("disk").Chain.Indexes()
	var seqs []uint64
	for range 2 {
		v.cargo = cargo{"version": fmt.Appendf(nil, "%d", len(v.states)), "x": v.noise(10 << 10)}
		v.states = append(v.states, v.cargo)
		d, copies, err := v.try(t.Context(), v.cargo, nil)
		if err := errors.Join(err, trouble(copies)); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, d.Seq)
	}
	v.collected(seqs[1])
	v.collected(seqs[0])
	if is := v.reader("disk").Chain.Indexes(); !slices.Equal(is, was) {
		t.Fatalf("the index is %q, not %q: this proves nothing", is, was)
	}
	for range 2 {
		v.shift += pastGrace
		v.collected()
	}
	if err := os.RemoveAll(v.path("usb")); err != nil {
		t.Fatal(err)
	}
	if err := v.init(); err != nil {
		t.Fatal(err)
	}
	v.collected()
}

// TestMergedIndexes wants index objects to be condemned that were merged into another before.
func TestMergedIndexes(t *testing.T) {
	v := newVessel(t, 9, "disk")
	first := v.head()
	for range 33 {
		v.backUp()
	}
	if n := len(v.reader("disk").Chain.Indexes()); n > 10 {
		t.Fatalf("%d index objects: none were merged", n)
	}
	v.collected(first)
	r := v.reader("disk")
	for _, o := range r.Objects() {
		if d, _ := chunkstore.Digest(o.Name); strings.HasPrefix(o.Name, "index/") && !slices.Contains(r.Chain.Indexes(), d) {
			t.Errorf("%s is not of the index and not condemned", o.Name)
		}
	}
}

// TestCollectClock wants the grace to be counted by the journal's time, which never goes back.
func TestCollectClock(t *testing.T) {
	v, first := newHalfEmpty(t, "disk")
	v.shift = 30 * 24 * time.Hour
	v.collected(first)
	for _, shift := range []time.Duration{0, pastGrace, v.shift + pastGrace/2} {
		v.shift = shift
		if got := v.collected(); got.Swept > 0 {
			t.Errorf("at %s: %+v", shift, got)
		}
	}
	v.shift = 30*24*time.Hour + pastGrace
	if got := v.collected(); got.Swept == 0 {
		t.Errorf("collected %+v", got)
	}
}

// locked is a target that protects packs from deletion until a day that depends on the object.
type locked struct{ target.Target }

var unlocks = time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)

func (l locked) Delete(ctx context.Context, name string) error {
	if strings.HasPrefix(name, "packs/") {
		return fmt.Errorf("delete %s: %w", name, target.ErrRetained)
	}
	return l.Target.Delete(ctx, name)
}

func (l locked) Retain(context.Context, string, time.Time) error { return errors.ErrUnsupported }

func (l locked) Term() time.Duration { return 30 * 24 * time.Hour }

func (l locked) Retained(_ context.Context, name string) (time.Time, error) {
	return unlocks.AddDate(0, 0, int(name[len(name)-1]-'0')), nil
}

// denied is a target from which nothing may be deleted.
type denied struct{ target.Target }

func (d denied) Delete(_ context.Context, name string) error {
	return &fs.PathError{Op: "delete", Path: name, Err: fs.ErrPermission}
}

// TestRetained sweeps copies of which one protects its packs and one denies every deletion: what can go goes, what cannot is
// told, and goes once it can.
func TestRetained(t *testing.T) {
	v, first := newHalfEmpty(t, "disk", "usb", "tape")
	v.collected(first)
	condemned := v.last("disk").Condemn
	v.shift = pastGrace
	got, copies, err := v.collect(func(name string, in target.Target) target.Target {
		switch name {
		case "disk":
			return locked{in}
		case "usb":
			return denied{in}
		}
		return in
	})
	if err := errors.Join(err, trouble(copies)); err != nil {
		t.Fatal(err)
	}
	var until time.Time
	for _, d := range condemned.Packs {
		if u := unlocks.AddDate(0, 0, int(d[63]-'0')); until.IsZero() || u.Before(until) {
			until = u
		}
	}
	packs, all := len(condemned.Packs), len(condemned.Packs)+len(condemned.Indexes)
	if got.Swept != all+len(condemned.Indexes) || len(got.Left) != 2 {
		t.Fatalf("collected %+v", got)
	}
	if l := got.Left[0]; l.Target != "disk" || l.Retained != packs || !l.Until.Equal(until) || l.Failed+len(l.Err) > 0 {
		t.Errorf("left on disk: %+v, want %d until %s", l, packs, until)
	}
	if l := got.Left[1]; l.Target != "usb" || l.Failed != all || !strings.Contains(l.Err, "permission denied") || l.Retained > 0 {
		t.Errorf("left on usb: %+v, want %d", l, all)
	}
	if got := v.collected(); got.Swept != packs+all {
		t.Errorf("collected %+v", got)
	}
}

// TestCollectLocked wants nothing to be collected while another process writes.
func TestCollectLocked(t *testing.T) {
	v, first := newHalfEmpty(t, "disk")
	h, err := repository.OpenHost(t.Context(), v.config(local.Open, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.collect(nil, first); !errors.Is(err, repository.ErrLocked) {
		t.Errorf("while another host works: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	v.collected(first)
}

// TestSweepLost takes away, between compaction and sweep, the pack to which frames were moved, or some of its bytes: the old packs, which have
// them too, stay on that copy until it is healed.
func TestSweepLost(t *testing.T) {
	for what, ruin := range map[string]func(path string) error{
		"removed":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 100) },
	} {
		t.Run(what, func(t *testing.T) {
			v, first := newHalfEmpty(t, "disk", "usb")
			v.collected(first)
			e := v.last("disk")
			made := slices.IndexFunc(e.Objects, func(o target.Object) bool { return strings.HasPrefix(o.Name, "packs/") })
			lost := filepath.Join(v.path("disk"), e.Objects[made].Name)
			if err := ruin(lost); err != nil {
				t.Fatal(err)
			}
			v.shift = pastGrace
			all := len(e.Condemn.Packs) + len(e.Condemn.Indexes)
			for range 2 { // the second finds it swept by a record
				got, copies, err := v.collect(nil)
				if err := errors.Join(err, trouble(copies)); err != nil {
					t.Fatal(err)
				}
				if len(got.Left) != 1 || got.Left[0].Target != "disk" || got.Left[0].Failed != all || !strings.Contains(got.Left[0].String(), "run `lifeboat heal`") {
					t.Errorf("left: %+v", got.Left)
				}
			}
			for _, d := range e.Condemn.Packs {
				if _, err := os.Stat(filepath.Join(v.path("disk"), chunkstore.PackName(d))); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(filepath.Join(v.path("usb"), chunkstore.PackName(d))); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("on usb, where nothing is lost: %v", err)
				}
			}
			b, err := os.ReadFile(filepath.Join(v.path("usb"), e.Objects[made].Name)) // as heal does
			if err == nil {
				err = os.WriteFile(lost, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := v.collected(); got.Swept != all {
				t.Errorf("after it was healed: %+v", got)
			}
		})
	}
}

// TestSweepElsewhere fails the first copy at the record of a snapshot when a sweep is due: what follows stands on the copy that took it instead.
func TestSweepElsewhere(t *testing.T) {
	v, first := newHalfEmpty(t, "disk", "usb")
	v.collected(first)
	v.shift = pastGrace
	v.load()
	failed := false
	done, copies, err := v.try(t.Context(), v.cargo, on("disk", func(in target.Target) target.Target {
		return hooked{in, func(_ context.Context, m faulty.Method, name string) error {
			if m != faulty.Put || failed || !strings.HasPrefix(name, "journal/") {
				return nil
			}
			failed = true
			return syscall.ENOSPC
		}}
	}))
	if err != nil || !errors.Is(trouble(copies), syscall.ENOSPC) {
		t.Fatalf("%v, %v", err, trouble(copies))
	}
	v.mustHold("usb", done.Seq)
	for name, records := range map[string]uint64{"disk": done.Seq - 1, "usb": v.head()} {
		if r := v.reader(name); r.Broken != nil || r.Chain.Len() != records {
			t.Errorf("%s holds %d of %d records, %v", name, r.Chain.Len(), records, r.Broken)
		}
	}
	if v.head() != done.Seq+1 {
		t.Errorf("nothing was swept: this test proves nothing")
	}
	v.backUp()
}
