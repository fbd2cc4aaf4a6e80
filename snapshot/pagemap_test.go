package snapshot

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

func idKey(t testing.TB) crypto.IDKey {
	t.Helper()
	k, err := crypto.NewIDKey(make([]byte, 32), crypto.ID{1})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// mapped is what a page map says: hashes by file, in ascending order of name.
type mapped struct {
	name   string
	hashes []crypto.ID
}

// writeMap writes a page map in blocks of several sizes.
func writeMap(t testing.TB, dir string, root crypto.ID, files []mapped) {
	t.Helper()
	w, err := newMapWriter(dir, crypto.ID{9}, idKey(t).NewHasher())
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if err := w.begin(f.name); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(f.hashes); {
			n := min(len(f.hashes)-at, 1+(i*7+at)%5)
			if err := w.pages(int64(at), f.hashes[at:at+n]); err != nil {
				t.Fatal(err)
			}
			at += n
		}
	}
	if err := w.commit(root); err != nil {
		t.Fatal(err)
	}
}

func someMaps(r *rand.Rand, n int) []mapped {
	var files []mapped
	for i := range n {
		f := mapped{name: fmt.Sprintf("file-%03d", i)}
		for range r.IntN(12) {
			f.hashes = append(f.hashes, randomID(r))
		}
		files = append(files, f)
	}
	return files
}

// readMap reads some files of a map in steps of n pages, and fails the test if anything is not what was written. It
// returns how many pages the map still had.
func readMap(t testing.TB, what, dir string, root crypto.ID, files []mapped, n int) (pages int) {
	t.Helper()
	m := openMap(dir, root, idKey(t).NewHasher())
	if m == nil {
		return 0
	}
	defer m.close()
	for _, f := range files {
		if !m.seek(f.name) {
			continue
		}
		for at := 0; at < len(f.hashes); at += n {
			got := m.hashes(int64(at), n)
			if len(got) > len(f.hashes)-at || len(got) > n || !reflect.DeepEqual(got, append([]crypto.ID(nil), f.hashes[at:at+len(got)]...)) && len(got) > 0 {
				t.Fatalf("%s: pages %d to %d of %s are %v", what, at, at+n, f.name, got)
			}
			pages += len(got)
		}
	}
	return pages
}

func TestPageMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	for i := range 30 {
		dir, root, files := t.TempDir(), randomID(r), someMaps(r, i)
		writeMap(t, dir, root, files)
		var all int
		var some []mapped
		for _, f := range files {
			all += len(f.hashes)
			if r.IntN(2) == 0 {
				some = append(some, f)
			}
		}
		for n := 1; n < 9; n++ {
			if got := readMap(t, "whole", dir, root, files, n); got != all {
				t.Errorf("%d files in steps of %d: %d pages of %d", i, n, got, all)
			}
			readMap(t, "some files", dir, root, some, n)
			r.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			if got := readMap(t, "in another order", dir, root, files, n); got != all {
				t.Errorf("%d files in another order, in steps of %d: %d pages of %d", i, n, got, all)
			}
		}
		if openMap(dir, randomID(r), idKey(t).NewHasher()) != nil {
			t.Error("a map of another root was opened")
		}
	}
}

func TestPageMapSeek(t *testing.T) {
	dir := t.TempDir()
	writeMap(t, dir, crypto.ID{1}, []mapped{{"b", []crypto.ID{{1}, {2}}}, {"d", []crypto.ID{{3}}}})
	m := openMap(dir, crypto.ID{1}, idKey(t).NewHasher())
	defer m.close()
	if m.seek("a") || !m.seek("b") || m.seek("c") || !m.seek("d") {
		t.Error("seek finds the wrong files")
	}
	if got := m.hashes(0, 5); !reflect.DeepEqual(got, []crypto.ID{{3}}) {
		t.Errorf("pages of d: %v", got)
	}
	if m.hashes(3, 1) != nil || m.seek("e") {
		t.Error("there is more than was written")
	}
}

// TestPageMapDamage changes every byte and cuts at every length: what is left is absent or right.
func TestPageMapDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 8))
	dir, root, files := t.TempDir(), randomID(r), someMaps(r, 6)
	writeMap(t, dir, root, files)
	whole, err := os.ReadFile(mapPath(dir, root))
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		if err := os.WriteFile(mapPath(dir, root), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		put(b)
		readMap(t, fmt.Sprintf("byte %d changed", i), dir, root, files, 1+i%7)
		put(whole[:i])
		readMap(t, fmt.Sprintf("cut to %d", i), dir, root, files, 1+i%7)
	}
	for range 300 { // a piece moved, doubled or left out
		lo, hi := r.IntN(len(whole)), r.IntN(len(whole))
		put(append(bytes.Clone(whole[:lo]), whole[hi:]...))
		readMap(t, fmt.Sprintf("%d goes on at %d", lo, hi), dir, root, files, 3)
	}
	other := t.TempDir()
	writeMap(t, other, crypto.ID{7}, someMaps(r, 6))
	b, err := os.ReadFile(mapPath(other, crypto.ID{7}))
	if err != nil {
		t.Fatal(err)
	}
	put(b)
	if openMap(dir, root, idKey(t).NewHasher()) != nil {
		t.Error("another tree's map was opened")
	}
	put(whole)
	k, err := crypto.NewIDKey(bytes.Repeat([]byte{1}, 32), crypto.ID{1})
	if err != nil {
		t.Fatal(err)
	}
	if openMap(dir, root, k.NewHasher()) != nil {
		t.Error("a map of another key was opened")
	}
}

func TestUsage(t *testing.T) {
	frames := []crypto.ID{{1}, {2}, {3}}
	part := func(frame, off, size int, bytes int64) Extent {
		return Extent{Chunk: chunkstore.Loc{Frame: frames[frame], Off: off, Len: size}, ID: crypto.ID{5}, Bytes: bytes}
	}
	before := usage{}
	before.add([]Extent{part(0, 0, 1000, 1000), part(1, 900, 100, 100), {Bytes: 50}})
	after := usage{}
	after.add([]Extent{part(0, 0, 600, 600), part(1, 0, 10, 10), part(2, 0, 5, 5)})
	after.inherit(before)
	want := usage{frames[0]: {600, 1000}, frames[1]: {10, 1000}, frames[2]: {5, 5}}
	if !reflect.DeepEqual(after, want) {
		t.Errorf("usage %v", after)
	}
	if after.sparse([]Extent{part(0, 0, 1, 1), {Bytes: 9}}) || !after.sparse([]Extent{part(2, 0, 5, 5), part(1, 0, 1, 1)}) {
		t.Error("sparse frames")
	}
	if a := after.amplification(); a < 3.2 || a > 3.3 || (usage{}).amplification() != 1 {
		t.Errorf("amplification %v", a)
	}
	dir, root, h := t.TempDir(), crypto.ID{4}, idKey(t).NewHasher()
	if len(loadUsage(dir, root, h)) != 0 {
		t.Error("usage of nothing")
	}
	if err := after.save(dir, root, h); err != nil {
		t.Fatal(err)
	}
	if got := loadUsage(dir, root, h); !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %v", got)
	}
	whole, err := os.ReadFile(usagePath(dir, root))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		for _, b := range [][]byte{b, whole[:i]} {
			if err := os.WriteFile(usagePath(dir, root), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := loadUsage(dir, root, h); len(got) != 0 {
				t.Fatalf("byte %d: loaded %v", i, got)
			}
		}
	}
}
