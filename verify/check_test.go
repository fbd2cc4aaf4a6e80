package verify_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/snapshot"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
	"lifeboat/verify"
)

// copied is a copy with two snapshots of one source and one of another.
type copied struct {
	dir, state string
	target     *local.Target
	master     age.Identity
	packs      [3][2]string // of each snapshot: of its content, of its trees
}

// letter is a source of one stream.
type letter string

func (l letter) Open(context.Context, *snapshot.Prior) (snapshot.View, error) { return l, nil }
func (l letter) Summary() (snapshot.Summary, error)                           { return snapshot.Summary{}, nil }

func (l letter) Size() int64  { return int64(len(l)) }
func (l letter) Close() error { return nil }

func (l letter) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		yield(snapshot.Item{Name: "letter", Kind: snapshot.Stream, Size: -1, ModTime: time.Unix(0, 0), Body: strings.NewReader(string(l))}, nil)
	}
}

func newCopied(t *testing.T) *copied {
	t.Helper()
	c := &copied{dir: t.TempDir(), state: t.TempDir()}
	master, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	c.master = master
	to, err := crypto.ParseRecipients([]string{master.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.target, err = local.Open(c.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.target.Close() }) // nothing depends on it any more
	h, err := repository.Init(t.Context(), repository.Config{StateDir: c.state, Copies: []*repository.Copy{{Name: "disk", Target: c.target}}, Now: clock.System, By: "test@host"}, to)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"ship", "ship", "boat"} {
		d, err := h.Backup(t.Context(), repository.Backup{Name: name, Source: letter(strings.Repeat(string(rune('a'+i)), 5000))})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.index(t, d.Indexes[len(d.Indexes)-1]) {
			n := 0
			if slices.ContainsFunc(p.Frames, func(f chunkstore.Frame) bool { return f.ID == d.Snapshot.Root.Frame }) {
				n = 1
			}
			c.packs[i][n] = chunkstore.PackName(p.Digest)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *copied) index(t *testing.T, digest string) []chunkstore.Pack {
	t.Helper()
	packs, err := chunkstore.ReadIndex(t.Context(), c.target, digest)
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

// key says who checks.
type key int

const (
	nobody key = iota
	host
	master
)

// job is a full check by whoever has a key. through is what the frames are read from.
func (c *copied) job(t *testing.T, k key, through target.Target) verify.Job {
	t.Helper()
	r, err := repository.Open(t.Context(), c.target)
	if err != nil {
		t.Fatal(err)
	}
	job := verify.Job{Target: c.target, Chain: r.Chain, Broken: r.Broken, Objects: r.Objects(), Share: 1}
	r.Target = through
	switch k {
	case nobody:
		return job
	case host:
		var keys *crypto.HostKeys
		if keys, err = repository.HostKeys(c.state); err == nil {
			err = r.UnlockHost(t.Context(), keys)
		}
	case master:
		err = r.Unlock(t.Context(), []age.Identity{c.master})
		job.Contents = true
	}
	if err != nil {
		t.Fatal(err)
	}
	job.Frames, job.IDs = r.Frames, r.IDs
	return job
}

// finding is damage that a check must report: what, a part of why, and which snapshots it affects.
type finding struct {
	what, why string
	affects   []string
}

func (f finding) is(d verify.Damage) bool {
	return d.What == f.what && strings.Contains(d.Why, f.why) && slices.Equal(d.Affects, f.affects)
}

// want runs a check, which must report exactly these findings, in any order.
func want(t *testing.T, job verify.Job, findings ...finding) *verify.Report {
	t.Helper()
	r, err := verify.Check(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	missing := slices.DeleteFunc(slices.Clone(findings), func(f finding) bool { return slices.ContainsFunc(r.Damage, f.is) })
	if len(missing) > 0 || len(r.Damage) != len(findings) {
		t.Errorf("found %+v\nmissing %+v", r.Damage, missing)
	}
	return r
}

func TestWhole(t *testing.T) {
	c := newCopied(t)
	for k, depth := range []string{"journal and hashes", "journal, hashes and trees", "journal, hashes, trees and contents"} {
		job := c.job(t, key(k), c.target)
		var total, read atomic.Int64
		job.Started, job.Progress = total.Store, func(n int64) { read.Add(n) }
		snapshots := 0
		if k > 0 {
			snapshots = 3
		}
		r := want(t, job)
		if r.Depth != depth || r.Records != 4 || r.Objects != len(job.Objects) || r.Snapshots != snapshots || total.Load() == 0 || read.Load() < total.Load() || r.BytesRead < total.Load() || len(r.DamagedObjects()) > 0 {
			t.Errorf("%+v; %d of %d bytes", r, read.Load(), total.Load())
		}
	}
	job := c.job(t, master, c.target)
	job.Source = "ship"
	if r := want(t, job); r.Snapshots != 2 {
		t.Errorf("%d snapshots of one source were read", r.Snapshots)
	}
	if job.Source, job.Share = "", 0; want(t, job).Snapshots != 3 {
		t.Error("trees are read whatever the share of the packs is")
	}
}

// TestObjects spoils objects one by one. Whoever checks finds it; with a key also which snapshots need it.
func TestObjects(t *testing.T) {
	c := newCopied(t)
	job := c.job(t, nobody, c.target)
	index := chunkstore.IndexName(job.Chain.Indexes()[0])
	var keyFile string
	for _, o := range job.Objects {
		if strings.HasPrefix(o.Name, "keys/root-") {
			keyFile = o.Name
		}
	}
	spoil := map[string]func([]byte) []byte{
		"missing":    func([]byte) []byte { return nil },
		"bytes, not": func(b []byte) []byte { return b[:len(b)-1] },
		"SHA-256":    func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	}
	for why, change := range spoil {
		for name, affects := range map[string][]string{c.packs[0][0]: {"s2"}, c.packs[1][0]: {"s3"}, c.packs[2][0]: {"s4"}, index: nil, keyFile: nil} {
			t.Run(why+" "+name, func(t *testing.T) {
				jobs := map[key]verify.Job{nobody: c.job(t, nobody, c.target), host: c.job(t, host, c.target), master: c.job(t, master, c.target)}
				defer c.spoil(t, name, change)()
				for k, job := range jobs {
					all := []finding{{name, why, nil}}
					if k != nobody {
						for _, s := range affects {
							all = append(all, finding{"tree of " + s, "needs " + name, []string{s}})
						}
					}
					if r := want(t, job, all...); !slices.Equal(r.DamagedObjects(), []string{name}) {
						t.Errorf("damaged objects: %q", r.DamagedObjects())
					}
				}
			})
		}
	}
}

// spoil changes a file and returns what undoes it; nil bytes delete it.
func (c *copied) spoil(t *testing.T, name string, change func([]byte) []byte) (undo func()) {
	t.Helper()
	path := filepath.Join(c.dir, name)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b := change(bytes.Clone(was)); b == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJournal wants every record that stands to be the one of the chain, and a broken journal to be reported.
func TestJournal(t *testing.T) {
	c := newCopied(t)
	for _, k := range []key{nobody, host, master} {
		for name, change := range map[string]func([]byte) []byte{
			"missing":           func([]byte) []byte { return nil },
			"it is not the rec": func(b []byte) []byte { b[9] ^= 1; return b },
		} {
			job := c.job(t, k, c.target) // the chain is of before
			undo := c.spoil(t, journal.Name(3), change)
			want(t, job, finding{journal.Name(3), name, nil})
			undo()
		}
		undo := c.spoil(t, journal.Name(4), func(b []byte) []byte { b[9] ^= 1; return b })
		job := c.job(t, k, c.target)
		want(t, job, finding{"journal", "record 4", nil})
		undo()
	}
	job := c.job(t, nobody, c.target)
	job.Failed = fs.ErrNotExist
	want(t, job, finding{"index", "not exist", nil})
}

// TestBundle wants a bundle for every 256 records.
func TestBundle(t *testing.T) {
	c := newCopied(t)
	chain := &journal.Chain{}
	if err := journal.Extend(t.Context(), c.target, chain); err != nil {
		t.Fatal(err)
	}
	w := writer(t, c.state, chain)
	for chain.Len() < 257 {
		if _, err := w.Commit(t.Context(), c.target, journal.Record{Type: "note"}); err != nil {
			t.Fatal(err)
		}
	}
	job := verify.Job{Target: c.target, Chain: chain, Share: 1}
	want(t, job)
	const bundle = "journal/writer/bundle-000000000256"
	for why, change := range map[string]func([]byte) []byte{
		"not exist": func([]byte) []byte { return nil },
		"header":    func(b []byte) []byte { return append([]byte("1 99999999\n"), b...) },
		"broken":    func(b []byte) []byte { return b[:len(b)-200] },
	} {
		undo := c.spoil(t, bundle, change)
		want(t, job, finding{bundle, why, nil})
		undo()
	}
}

// TestIndexThatIsNone names an index object whose bytes are right and which cannot be read.
func TestIndexThatIsNone(t *testing.T) {
	c := newCopied(t)
	job := c.job(t, master, c.target)
	o, err := chunkstore.StoreDigest(t.Context(), c.target, "index/", []byte("no index"))
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := chunkstore.Digest(o.Name)
	if _, err := writer(t, c.state, job.Chain).Commit(t.Context(), c.target, journal.Record{Type: "note", Objects: []target.Object{o}, Indexes: []string{digest}}); err != nil {
		t.Fatal(err)
	}
	for _, k := range []key{nobody, host, master} {
		want(t, c.job(t, k, c.target), finding{o.Name, "decode index", nil})
	}
}

func writer(t *testing.T, state string, chain *journal.Chain) *journal.Writer {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(state, "secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := crypto.ParseHostSecrets(b)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := crypto.NewSigner(s.Repository, crypto.Writer, s.SigningSeed)
	if err != nil {
		t.Fatal(err)
	}
	return journal.NewWriter(t.TempDir(), s.Repository, signer, chain, clock.System, "test@host")
}

// flipping flips a bit of all that is read of one object.
type flipping struct {
	target.Target
	name string
}

func (f flipping) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	in := faulty.New(f.Target)
	if name == f.name {
		in.Queue(faulty.Get, faulty.Flip(9000))
	}
	return in.Get(ctx, name, off, n)
}

// TestFrames lets objects be right and what is read of their frames not: only who has a key for it can tell.
func TestFrames(t *testing.T) {
	c := newCopied(t)
	for i, s := range []string{"s2", "s3", "s4"} {
		content, trees := flipping{c.target, c.packs[i][0]}, flipping{c.target, c.packs[i][1]}
		want(t, c.job(t, nobody, trees))
		want(t, c.job(t, host, content))
		want(t, c.job(t, host, trees), finding{"tree of " + s, "damaged", []string{s}})
		want(t, c.job(t, master, trees), finding{"tree of " + s, "damaged", []string{s}})
		want(t, c.job(t, master, content), finding{"letter from byte 0", "damaged", []string{s}})
	}
}

// TestUnreadable fails the reading of objects: one is damage, the listing ends the check, and so does its end.
func TestUnreadable(t *testing.T) {
	c := newCopied(t)
	f := faulty.New(c.target)
	job := c.job(t, nobody, c.target)
	job.Target = f
	f.Queue(faulty.Get, faulty.Fail(syscall.EIO))
	want(t, job, finding{journal.Name(1), "it is not the record", nil})
	f.Queue(faulty.List, faulty.Fail(syscall.EIO))
	if r, err := verify.Check(t.Context(), job); !errors.Is(err, syscall.EIO) {
		t.Errorf("%+v, %v", r, err)
	}
	one := job.Objects[:1]
	job.Objects = one
	f.Queue(faulty.Get, append(slices.Repeat([]faulty.Fault{faulty.None()}, 4), faulty.Break(10, syscall.EIO))...)
	want(t, job, finding{one[0].Name, "input/output error", nil})
	for _, m := range []faulty.Method{faulty.List, faulty.Get} {
		ctx, cancel := context.WithCancel(t.Context())
		job := c.job(t, master, cancelling{c.target, cancel})
		if job.Target = c.target; m == faulty.List {
			job.Target = cancelling{c.target, cancel}
		}
		if r, err := verify.Check(ctx, job); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// cancelling ends the check at the first frame or object that is read.
type cancelling struct {
	target.Target
	cancel context.CancelFunc
}

func (c cancelling) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, "packs/") {
		c.cancel()
	}
	return c.Target.Get(ctx, name, off, n)
}
