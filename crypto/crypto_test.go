package crypto

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// vectorKey is the key of the known answers. They were computed with Python's hmac and hashlib from doc/format.md: when one
// of them changes, the format has changed.
func vectorKey(t *testing.T) IDKey { return vectorKeyBut(t, 0, 0) }

// vectorKeyBut is the vector key with a bit of its secret or its repository flipped.
func vectorKeyBut(t *testing.T, secretBit, repositoryBit byte) IDKey {
	t.Helper()
	secret, repository := make([]byte, 32), ID{}
	for i := range secret {
		secret[i] = byte(i)
	}
	for i := range repository {
		repository[i] = byte(0x10 + i)
	}
	secret[31] ^= secretBit
	repository[0] ^= repositoryBit
	k, err := NewIDKey(secret, repository)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestIDVectors(t *testing.T) {
	h := vectorKey(t).NewHasher()
	msg := []byte("The ship is sinking.\n")
	chunk := make([]byte, 1300)
	for i := range chunk {
		chunk[i] = byte(i*7 + i/512)
	}
	for _, v := range []struct{ kind, got, want string }{
		{"page", h.Page(msg).String(), "042bfc8beea6b7c4cf2662a9235ccde5"},
		{"stream", h.Stream(msg).String(), "23d07861a86d8fcd16273747f5d6c28f"},
		{"tree", h.Tree(msg).String(), "50ac4e0af27c8f81725f48bd906e96ba"},
		{"source", h.Source("crm"), "29072784799c0dd4"},
		{"pages", h.PageChunk(512, chunk).String(), "be0d0ccd8bb8d8c86a8fda51c6496587"},
		{"no pages", h.Pages(4096, 0, nil).String(), "2d38f4dce8a55d851ade47cee3a8ae85"},
	} {
		if v.got != v.want {
			t.Errorf("%s: %s, want %s: the format has changed", v.kind, v.got, v.want)
		}
	}
}

func TestIDDomains(t *testing.T) {
	k := vectorKey(t)
	h, twin := k.NewHasher(), k.NewHasher()
	msg := []byte("the same bytes everywhere")
	ids := []ID{h.Page(msg), h.Stream(msg), h.Tree(msg), h.PageChunk(512, msg), h.PageChunk(1024, msg), h.Pages(512, 24, []ID{h.Page(msg)})}
	h2 := vectorKeyBut(t, 0, 1).NewHasher()
	ids = append(ids, h2.Page(msg), h2.Stream(msg), h2.Tree(msg), h2.PageChunk(512, msg))
	h3 := vectorKeyBut(t, 1, 0).NewHasher()
	ids = append(ids, h3.Page(msg), h3.Stream(msg), h3.Tree(msg), h3.PageChunk(512, msg))
	seen := map[ID]int{}
	for i, id := range ids {
		if j, ok := seen[id]; ok || id.IsZero() {
			t.Errorf("IDs %d and %d are equal: %s", i, j, id)
		}
		seen[id] = i
	}
	if h.Source("a") == h2.Source("a") || h.Source("a") == h3.Source("a") || h.Source("a") != twin.Source("a") {
		t.Error("the opaque name of a source must depend on the repository and its key, and on nothing else")
	}
}

func TestPageChunkIsPages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := vectorKey(t).NewHasher()
	for range 300 {
		size := 512 << r.IntN(8)
		chunk := noise(r.Uint64(), r.IntN(64<<10))
		var pages []ID
		for rest := chunk; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			pages = append(pages, h.Page(rest[:min(size, len(rest))]))
		}
		if h.Pages(size, len(chunk), pages) != h.PageChunk(size, chunk) {
			t.Fatalf("%d bytes in pages of %d have two IDs", len(chunk), size)
		}
		if len(chunk) > 0 {
			other := bytes.Clone(chunk)
			other[r.IntN(len(chunk))] ^= 1 << r.IntN(8)
			if h.PageChunk(size, other) == h.PageChunk(size, chunk) {
				t.Fatal("a flipped bit does not change the ID")
			}
		}
	}
}

func TestParseID(t *testing.T) {
	id := ID(noise(1, IDSize))
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("%s parses as %s (%v)", id, got, err)
	}
	for _, s := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("g", 32), strings.ToUpper(strings.Repeat("ab", 16)), strings.Repeat("0", 31) + " "} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q is an ID", s)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := NewIDKey(make([]byte, n), id); err == nil {
			t.Errorf("an ID key of %d bytes", n)
		}
	}
}
