package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"lifeboat/crypto"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// shore is a local target whose files the test can reach.
type shore struct {
	*local.Target
	t   testing.TB
	dir string
}

func newShore(t testing.TB) shore {
	t.Helper()
	dir := t.TempDir()
	tg, err := local.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tg.Close() })
	return shore{tg, t, dir}
}

// write places a file without the target's care for durability, which tests of hundreds of records need not pay.
func (s shore) write(name string, b []byte) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

func (s shore) remove(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s shore) records(c *Chain) {
	for _, e := range c.Entries() {
		s.write(Name(e.Seq), e.Raw)
	}
}

func extended(t *testing.T, tg target.Target) (*Chain, error) {
	t.Helper()
	c := &Chain{}
	return c, Extend(t.Context(), tg, c)
}

func TestExtend(t *testing.T) {
	h := newHouse(t)
	all := h.chain(7)
	s := newShore(t)
	if c, err := extended(t, s); err != nil || c.Len() != 0 {
		t.Errorf("an empty target: %d records, %v", c.Len(), err)
	}
	s.records(all)
	s.write("journal/writer/bundle-note", []byte("x"))
	s.write("journal/writer/99", []byte("not a record's name"))
	c, err := extended(t, s)
	if err != nil || c.Len() != 7 || c.Head() != all.Head() {
		t.Fatalf("%d records, %v", c.Len(), err)
	}
	if err := Extend(t.Context(), s, c); err != nil || c.Len() != 7 {
		t.Errorf("nothing new: %d records, %v", c.Len(), err)
	}
	s.remove(Name(4))
	if c, err := extended(t, s); !errors.Is(err, ErrBroken) || c.Len() != 3 {
		t.Errorf("a hole: %d records, %v", c.Len(), err)
	}
	s.write(Name(4), all.Entries()[2].Raw)
	if c, err := extended(t, s); !errors.Is(err, ErrBroken) || c.Len() != 3 {
		t.Errorf("a replay: %d records, %v", c.Len(), err)
	}
	s.write(Name(4), all.Entries()[3].Raw)
	b := bytes.Clone(all.Entries()[6].Raw)
	b[20] ^= 1
	s.write(Name(7), b)
	if c, err := extended(t, s); !errors.Is(err, ErrBroken) || c.Len() != 6 {
		t.Errorf("damage: %d records, %v", c.Len(), err)
	}
	f := faulty.New(s)
	f.Queue(faulty.List, faulty.Fail(syscall.EIO))
	s.write(Name(7), all.Entries()[6].Raw)
	if c, err := extended(t, f); !errors.Is(err, syscall.EIO) || c.Len() != 7 {
		t.Errorf("a listing that fails: %d records, %v", c.Len(), err)
	}
	f.Queue(faulty.Get, faulty.None(), faulty.None(), faulty.Fail(syscall.EIO))
	if _, err := extended(t, f); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrBroken) {
		t.Errorf("a read that fails: %v", err)
	}
}

// bundled puts the bundles of c on s.
func bundled(t *testing.T, h *house, c *Chain, s shore) {
	t.Helper()
	w := NewWriter(t.TempDir(), h.root.Repository, h.signer, c, h.clock(), "x")
	for n := uint64(0); n < c.Len(); n++ {
		if err := w.PutBundles(t.Context(), s, n); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBundles(t *testing.T) {
	h := newHouse(t)
	all := h.chain(2*bundleSize + 4)
	s := newShore(t)
	bundled(t, h, all, s)
	for _, e := range all.Entries()[2*bundleSize:] {
		s.write(Name(e.Seq), e.Raw)
	}
	whole := func(what string) {
		t.Helper()
		f := faulty.New(s)
		if c, err := extended(t, f); err != nil || c.Len() != all.Len() || c.Head() != all.Head() {
			t.Errorf("%s: %d records, %v", what, c.Len(), err)
		}
	}
	whole("bundles in the place of records")
	s.records(all)
	whole("bundles and records")
	good, err := os.ReadFile(filepath.Join(s.dir, bundleName(bundleSize)))
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{"empty": {}, "noise": []byte("1 x\n"), "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), '\n'), "huge": []byte("1 99999999999999999999\n"), "negative": []byte("1 -5\n")}
	for _, at := range []int{0, 5, 100, len(good) / 2, len(good) - 150, len(good) - 250} {
		b := bytes.Clone(good)
		b[at] ^= 1
		damaged[fmt.Sprintf("byte %d", at)] = b
	}
	second, err := os.ReadFile(filepath.Join(s.dir, bundleName(2*bundleSize)))
	if err != nil {
		t.Fatal(err)
	}
	damaged["another"] = second
	for what, b := range damaged {
		s.write(bundleName(bundleSize), b)
		c := &Chain{}
		if err := c.appendBundle(b); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: error %v, want ErrBroken", what, err)
		}
		if what == "noise" || what == "byte 100" || what == "another" {
			whole("the first bundle is damaged: " + what)
		}
	}
	var found []string
	note := func(name string, err error) { found = append(found, name) }
	if err := all.CheckBundles(t.Context(), s, note); err != nil || len(found) != 1 || found[0] != bundleName(bundleSize) {
		t.Errorf("CheckBundles found %v (%v)", found, err)
	}
	s.remove(Name(300))
	s.remove(Name(511))
	whole("records that only a bundle holds")
	s.remove(Name(17))
	if c, err := extended(t, s); !errors.Is(err, ErrBroken) || c.Len() != 16 {
		t.Errorf("a record that no whole bundle holds: %d records, %v", c.Len(), err)
	}
}

// TestBundleCheckpoint takes the checkpoint of one history for another.
func TestBundleCheckpoint(t *testing.T) {
	h := newHouse(t)
	all, other := h.chain(bundleSize), h.chain(bundleSize)
	good, err := all.bundle(bundleSize, h.signer)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := other.bundle(bundleSize, h.signer)
	if err != nil {
		t.Fatal(err)
	}
	cutAt := func(b []byte) int { return bytes.LastIndex(b, []byte("checkpoint ")) }
	c := &Chain{}
	if err := c.appendBundle(append(bytes.Clone(good[:cutAt(good)]), wrong[cutAt(wrong):]...)); !errors.Is(err, ErrBroken) {
		t.Errorf("another history's checkpoint: %v", err)
	}
	c = &Chain{}
	if err := c.appendBundle(good); err != nil || c.Head() != all.Head() {
		t.Errorf("the right one: %v", err)
	}
	root, err := all.Root(bundleSize)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Root(bundleSize); err != nil || got != root {
		t.Errorf("roots differ: %v", err)
	}
}

// TestBundlesAfterTakeover gives a new copy the bundles of records that an earlier key signed.
func TestBundlesAfterTakeover(t *testing.T) {
	h := newHouse(t)
	c := h.chain(bundleSize)
	seed := bytes.Repeat([]byte{5}, 32)
	h.signer = h.sign(crypto.Writer, seed)
	for _, r := range []Record{{Type: Takeover, Takeover: &TakeoverBody{h.certificate(crypto.Writer, seed, bundleSize+1)}}, snapshotRecord(1)} {
		if err := c.Append(h.raw(c, r, nil)); err != nil {
			t.Fatal(err)
		}
	}
	s := newShore(t)
	bundled(t, h, c, s)
	for _, e := range c.Entries()[bundleSize:] {
		s.write(Name(e.Seq), e.Raw)
	}
	if got, err := extended(t, s); err != nil || got.Head() != c.Head() {
		t.Errorf("%d records, %v", got.Len(), err)
	}
	if err := c.CheckBundles(t.Context(), s, func(name string, err error) { t.Errorf("%s: %v", name, err) }); err != nil {
		t.Error(err)
	}
}

func TestPosition(t *testing.T) {
	h := newHouse(t)
	c := h.chain(6)
	entries := c.Entries()
	at := func(what string, s shore, want uint64) {
		t.Helper()
		if n, err := Position(t.Context(), s, c); err != nil || n != want {
			t.Errorf("%s: %d (%v), want %d", what, n, err, want)
		}
	}
	foreign := func(what string, s shore) {
		t.Helper()
		if n, err := Position(t.Context(), s, c); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %d, error %v, want ErrForeign", what, n, err)
		}
	}
	broken := func(what string, s shore) {
		t.Helper()
		if n, err := Position(t.Context(), s, c); !errors.Is(err, ErrBroken) || errors.Is(err, ErrForeign) {
			t.Errorf("%s: %d, error %v, want ErrBroken", what, n, err)
		}
	}
	s := newShore(t)
	at("nothing", s, 0)
	for i, e := range entries {
		s.write(Name(e.Seq), e.Raw)
		at("a shorter copy", s, uint64(i+1))
	}
	s.write("journal/writer/7", []byte("a name that is not a record's"))
	s.write("journal/writer/bundle-000000000256", []byte("x"))
	at("other names", s, 6)
	s.remove(Name(3))
	at("a hole", s, 2)
	s.remove(Name(1))
	at("no beginning", s, 0)
	s.records(c)
	s.write(Name(6), append(bytes.Clone(entries[5].Raw), '\n'))
	broken("record 6 with a byte more", s)
	other := bytes.Clone(entries[5].Raw)
	other[50] ^= 1
	s.write(Name(6), other)
	broken("a damaged record 6", s)
	s.write(Name(6), h.raw(c.upTo(5), Record{Type: Drop, Drop: &DropBody{Seq: 2}, Reason: "a fork"}, nil))
	foreign("another record 6 that is signed", s)
	s.write(Name(6), entries[5].Raw)
	s.write(Name(7), entries[5].Raw)
	broken("record 6 again as 7", s)
	s.write(Name(7), h.raw(c, Record{Type: Drop, Drop: &DropBody{Seq: 2}}, nil))
	foreign("a record more", s)
	s.remove(Name(7))
	s.write(Name(9), []byte("junk"))
	broken("junk far ahead", s)
	s.remove(Name(9))
	s.write(Name(7), entries[5].Raw)
	f := faulty.New(s)
	f.Queue(faulty.List, faulty.Fail(syscall.EIO))
	if _, err := Position(t.Context(), f, c); !errors.Is(err, syscall.EIO) {
		t.Errorf("a listing that fails: %v", err)
	}
	s.remove(Name(7))
	f.Queue(faulty.Get, faulty.Fail(fs.ErrPermission))
	if _, err := Position(t.Context(), f, c); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a read that fails: %v", err)
	}
}
