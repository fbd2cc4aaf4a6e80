package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

func idKey(t testing.TB, secret byte) crypto.IDKey {
	t.Helper()
	k, err := crypto.NewIDKey(bytes.Repeat([]byte{secret}, 32), crypto.ID{1})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func randomID(r *rand.Rand) (id crypto.ID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

func someChunks(seed uint64, n int) []Chunk {
	r := rand.New(rand.NewPCG(seed, 9))
	var out []Chunk
	for range n {
		out = append(out, Chunk{randomID(r), chunkstore.Loc{Frame: randomID(r), Off: r.IntN(crypto.MaxFrame), Len: 1 + r.IntN(1<<16)}})
	}
	return out
}

// known looks all chunks up, fails the test if a place is wrong, and returns how many were found.
func known(t *testing.T, what string, c *Catalog, chunks []Chunk) (n int) {
	t.Helper()
	ids, places := make([]crypto.ID, len(chunks)), make([]chunkstore.Loc, len(chunks))
	for i := range chunks {
		ids[i] = chunks[i].ID
	}
	if err := c.Lookup(ids, places); err != nil {
		return 0
	}
	for i, p := range places {
		if p != (chunkstore.Loc{}) {
			if n++; p != chunks[i].Loc {
				t.Fatalf("%s: chunk %s is said to be at %+v, it is at %+v", what, chunks[i].ID, p, chunks[i].Loc)
			}
		}
	}
	return n
}

func TestCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := New(path, idKey(t, 1))
	chunks := someChunks(1, 500)
	if n := known(t, "before it is made", c, chunks); n != 0 {
		t.Errorf("%d chunks in nothing", n)
	}
	if raws, err := c.Records(); err != nil || raws != nil {
		t.Errorf("records in nothing: %v", err)
	}
	if n, err := c.Indexed(); err != nil || n != 0 {
		t.Errorf("indexed %d, %v", n, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("reading made a file")
	}
	raws := [][]byte{[]byte("one"), []byte("two"), bytes.Repeat([]byte{3}, 100_000)}
	if err := errors.Join(c.AddRecords(1, raws[:1]), c.AddRecords(2, raws[1:]), c.AddRecords(4, nil), c.AddChunks(chunks[:300]), c.AddChunks(nil), c.SetIndexed(3)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Catalog{c, New(path, idKey(t, 1))} {
		if got, err := c.Records(); err != nil || fmt.Sprint(got) != fmt.Sprint(raws) {
			t.Errorf("%d records, %v", len(got), err)
		}
		if n, err := c.Indexed(); err != nil || n != 3 {
			t.Errorf("indexed %d, %v", n, err)
		}
		if n := known(t, "whole", c, chunks); n != 300 {
			t.Errorf("%d chunks of 300", n)
		}
	}
	if n := known(t, "another key", New(path, idKey(t, 2)), chunks); n != 0 {
		t.Errorf("%d chunks verify with another key", n)
	}
	moved := Chunk{chunks[7].ID, chunkstore.Loc{Frame: crypto.ID{7}, Off: 7, Len: 7}}
	if err := c.AddChunks([]Chunk{moved}); err != nil {
		t.Fatal(err)
	}
	if known(t, "moved", c, []Chunk{moved}) != 1 {
		t.Error("the newer place does not count")
	}
	for range 2 {
		if err := c.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	if n := known(t, "reset", c, chunks); n != 0 {
		t.Errorf("%d chunks after a reset", n)
	}
}

// TestSwappedValues gives one chunk the place of another, as a bug of the database could.
func TestSwappedValues(t *testing.T) {
	k := idKey(t, 1).NewHasher()
	chunks := someChunks(2, 20)
	for i := range chunks {
		v := encode(k, &chunks[i])
		if got, ok := decode(k, chunks[i].ID, v); !ok || got != chunks[i] {
			t.Fatalf("%+v comes back as %+v", chunks[i], got)
		}
		for j := range chunks {
			if _, ok := decode(k, chunks[j].ID, v); ok && i != j {
				t.Error("a place was taken for another chunk's")
			}
		}
		for at := range v {
			b := bytes.Clone(v)
			b[at] ^= 1 << (at % 8)
			if _, ok := decode(k, chunks[i].ID, b); ok {
				t.Errorf("byte %d changed: not noticed", at)
			}
			if _, ok := decode(k, chunks[i].ID, v[:at]); ok {
				t.Errorf("cut to %d: not noticed", at)
			}
		}
	}
	if _, ok := decode(k, crypto.ID{}, nil); ok {
		t.Error("nothing is a place")
	}
}

// TestDamage changes and cuts the file: what is read is right or absent, no call ends the process, and a reset helps.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	chunks := someChunks(3, 2000)
	c := New(path, idKey(t, 1))
	if err := errors.Join(c.AddChunks(chunks), c.AddRecords(1, [][]byte{[]byte("one")}), c.SetIndexed(1)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(4, 9))
	try := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		known(t, what, c, chunks)
		_, _ = c.Records() // whatever it says, the journal's signatures decide
		_, _ = c.Indexed()
		more := someChunks(r.Uint64(), 10)
		if err := c.AddChunks(more); err == nil {
			known(t, what+", written to", c, append(more, chunks...))
		}
		if err := errors.Join(c.Reset(), c.AddChunks(more)); err != nil {
			t.Fatalf("%s: after a reset: %v", what, err)
		}
		if known(t, what+", reset", c, more) != 10 {
			t.Fatalf("%s: of no use after a reset", what)
		}
	}
	for n := 0; n < len(whole); n += 1 + len(whole)/40 {
		try(fmt.Sprintf("cut to %d of %d bytes", n, len(whole)), whole[:n])
	}
	for range 100 {
		b := bytes.Clone(whole)
		at := r.IntN(len(b))
		b[at] ^= 1 << r.IntN(8)
		try(fmt.Sprintf("byte %d changed", at), b)
	}
	for range 20 {
		b := bytes.Clone(whole)
		page := r.IntN(len(b)/4096) * 4096
		clear(b[page : page+4096])
		try(fmt.Sprintf("page at %d zeroed", page), b)
	}
	try("noise", bytes.Repeat([]byte("noise!"), 20_000))
}

// TestConcurrently reads and writes from many goroutines, each with a Catalog of its own, as processes have.
func TestConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	var all sync.WaitGroup
	for i := range uint64(6) {
		all.Go(func() {
			c := New(path, idKey(t, 1))
			for j := range uint64(5) {
				chunks := someChunks(i*100+j, 50)
				if err := c.AddChunks(chunks); err != nil {
					t.Error(err)
				}
				if n := known(t, "concurrent", c, chunks); n != 50 {
					t.Errorf("%d of 50 chunks", n)
				}
			}
		})
	}
	all.Wait()
}
