package repository_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target"
	"lifeboat/target/local"
	"lifeboat/verify"
)

// vessel is a repository with copies in real directories, and every state that its source ever had.
type vessel struct {
	t      *testing.T
	dir    string
	names  []string // of the copies, and of their directories
	master age.Identity
	to     []crypto.Recipient
	rand   *rand.Rand
	cargo  cargo
	states []cargo // by the content of the file version
	opened []*local.Target
	shift  time.Duration // of the clock
}

const vesselSource = "hold"

func newVessel(t *testing.T, seed uint64, names ...string) *vessel {
	t.Helper()
	master, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	v := &vessel{t: t, dir: t.TempDir(), names: names, master: master, rand: rand.New(rand.NewPCG(seed, 0)), cargo: cargo{}}
	if v.to, err = crypto.ParseRecipients([]string{master.Recipient().String()}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	if err := v.init(); err != nil {
		t.Fatal(err)
	}
	v.backUp()
	return v
}

func (v *vessel) path(name string) string { return filepath.Join(v.dir, name) }

// close closes the targets that were opened so far.
func (v *vessel) close() {
	for _, t := range v.opened {
		_ = t.Close() // nothing depends on it any more
	}
	v.opened = nil
}

// wrap puts something between the host and a copy.
type wrap func(name string, t target.Target) target.Target

// on wraps one copy only.
func on(name string, t func(target.Target) target.Target) wrap {
	return func(n string, in target.Target) target.Target {
		if n == name {
			return t(in)
		}
		return in
	}
}

func (v *vessel) config(open func(string) (*local.Target, error), w wrap) repository.Config {
	c := repository.Config{StateDir: v.path("state"), Now: func() time.Time { return clock.System().Add(v.shift) }, By: "test@host"}
	for _, name := range v.names {
		t, err := open(v.path(name))
		copied := &repository.Copy{Name: name, Err: err}
		if err == nil {
			v.opened = append(v.opened, t)
			if copied.Target = t; w != nil {
				copied.Target = w(name, t)
			}
		}
		c.Copies = append(c.Copies, copied)
	}
	return c
}

// init founds the repository or fills copies that are empty.
func (v *vessel) init() error {
	h, err := repository.Init(v.t.Context(), v.config(local.Create, nil), v.to)
	if err != nil {
		return err
	}
	return errors.Join(trouble(h.Copies), h.Close())
}

// trouble is what went wrong with copies.
func trouble(copies []*repository.Copy) (err error) {
	for _, c := range copies {
		if c.Err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.Name, c.Err))
		}
	}
	return err
}

// try takes a backup as one run of the program does.
func (v *vessel) try(ctx context.Context, source snapshot.Source, w wrap) (*repository.Done, []*repository.Copy, error) {
	c := v.config(local.Open, w)
	h, err := repository.OpenHost(ctx, c)
	if err != nil {
		return nil, c.Copies, err
	}
	d, err := h.Backup(ctx, repository.Backup{Name: vesselSource, Engine: "test", Source: source})
	return d, c.Copies, errors.Join(err, h.Close())
}

// load changes the source; the new state has a number of its own.
func (v *vessel) load() {
	c := maps.Clone(v.cargo)
	c["version"] = fmt.Appendf(nil, "%d", len(v.states))
	for _, name := range []string{"a.db", "b.log"} {
		b := bytes.Clone(c[name])
		b = append(b, make([]byte, 20<<10)...)
		for range 5 {
			at := v.rand.IntN(len(b) - 3000)
			for i := range 3000 {
				b[at+i] = byte(v.rand.Uint32())
			}
		}
		c[name] = b
	}
	const part = 64 << 10 // of which one changes each time: the others are not stored again
	large := make([]byte, 3*part)
	copy(large, c["c.db"])
	_, _ = rand.NewChaCha8([32]byte{byte(len(v.states))}).Read(large[len(v.states)%3*part:][:part]) // never fails
	c["c.db"] = large
	v.cargo = c
	v.states = append(v.states, c)
}

// backUp changes the source and takes a backup that must succeed everywhere.
func (v *vessel) backUp() {
	v.t.Helper()
	v.load()
	_, copies, err := v.try(v.t.Context(), v.cargo, nil)
	if err := errors.Join(err, trouble(copies)); err != nil {
		v.t.Fatal(err)
	}
}

// head is the number of the newest record that the host knows.
func (v *vessel) head() uint64 {
	v.t.Helper()
	h, err := journal.ReadHead(v.path("state"))
	if err != nil {
		v.t.Fatal(err)
	}
	return h.Seq
}

func (v *vessel) reader(name string) *repository.Reader {
	v.t.Helper()
	to, err := local.Open(v.path(name))
	if err != nil {
		v.t.Fatal(err)
	}
	v.opened = append(v.opened, to)
	r, err := repository.Open(v.t.Context(), to)
	if err == nil {
		err = r.Unlock(v.t.Context(), []age.Identity{v.master})
	}
	if err != nil {
		v.t.Fatal(err)
	}
	return r
}

// holds restores every snapshot of a copy: each must be a state of the source. It returns the records of those that
// restore, and what was wrong with the others.
func (v *vessel) holds(name string) (whole []uint64, bad error) {
	v.t.Helper()
	r := v.reader(name)
	for _, e := range r.Chain.Snapshots() {
		got, err := restored(v.t, r, e.Snapshot.Root)
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("s%d: %w", e.Seq, err))
			continue
		}
		var n int
		if err := json.Unmarshal(got["version"], &n); err != nil || n >= len(v.states) || !maps.EqualFunc(got, v.states[n], bytes.Equal) {
			v.t.Errorf("%s: s%d restores to no state that the source had (%q, %v)", name, e.Seq, got["version"], err)
		}
		whole = append(whole, e.Seq)
	}
	return whole, bad
}

// mustHold wants every snapshot of a copy to restore, that of record last among them.
func (v *vessel) mustHold(name string, last uint64) {
	v.t.Helper()
	if whole, err := v.holds(name); err != nil || !slices.Contains(whole, last) {
		v.t.Errorf("%s: %v restore, want s%d among them: %v", name, whole, last, err)
	}
}

// check checks a copy with the master identity, tells the host what is damaged as the program does, and returns the report.
func (v *vessel) check(name string) *verify.Report {
	v.t.Helper()
	r := v.reader(name)
	report, err := verify.Check(v.t.Context(), verify.Job{Target: r.Target, Chain: r.Chain, Broken: r.Broken, Objects: r.Objects(), Share: 1, Frames: r.Frames, IDs: r.IDs, Contents: true})
	if err != nil {
		v.t.Fatal(err)
	}
	damaged := report.DamagedObjects()
	if r.Broken != nil {
		damaged = append(damaged, journal.Name(r.Chain.Len()+1))
	}
	if err := repository.SetChecked(v.path("state"), name, repository.Checked{Time: time.Now(), Damaged: damaged}); err != nil {
		v.t.Fatal(err)
	}
	return report
}

// restored restores a tree and returns its files. A restore that fails leaves nothing.
func restored(t *testing.T, r *repository.Reader, root journal.Ref) (cargo, error) {
	t.Helper()
	tree, err := r.Tree(t.Context(), root)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(t.TempDir(), "out")
	sink, err := restore.NewDirectory(dir, tree.Root.Size)
	if err != nil {
		return nil, err
	}
	_, err = restore.Run(t.Context(), restore.Job{Tree: tree, Frames: r.Frames, IDs: r.IDs, Sink: sink, SpillDir: sink.Work()})
	if cerr := sink.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	if err != nil {
		if _, serr := os.Lstat(dir); !errors.Is(serr, fs.ErrNotExist) {
			t.Errorf("a restore that failed (%v) left %s", err, dir)
		}
		return nil, err
	}
	out := cargo{}
	return out, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = os.ReadFile(filepath.Join(dir, name))
		return err
	})
}

// cargo is a source in memory: the content of each file. Names that end in .db are files of pages.
type cargo map[string][]byte

func (c cargo) Open(context.Context, *snapshot.Prior) (snapshot.View, error) { return c, nil }
func (c cargo) Summary() (snapshot.Summary, error)                           { return snapshot.Summary{}, nil }

func (c cargo) Size() int64  { return 0 }
func (c cargo) Close() error { return nil }

func (c cargo) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(c)) {
			i := snapshot.Item{Name: name, Kind: snapshot.Stream, Size: -1, Mode: 0o600, ModTime: time.Unix(0, 0), Body: bytes.NewReader(c[name])}
			if strings.HasSuffix(name, ".db") {
				i.Kind, i.PageSize, i.Size = snapshot.Pages, 1024, int64(len(c[name]))
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

// breaking is a source that breaks off in the middle.
type breaking struct{ cargo }

func (b breaking) Open(context.Context, *snapshot.Prior) (snapshot.View, error) { return b, nil }

func (b breaking) Items(ctx context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		for i, err := range b.cargo.Items(ctx) {
			if !yield(i, err) {
				return
			}
			break
		}
		yield(snapshot.Item{}, io.ErrUnexpectedEOF)
	}
}
