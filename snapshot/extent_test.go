package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

func randomID(r *rand.Rand) (id crypto.ID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// randomExtents makes extents of chunks from a few frames, joined as a writer joins them.
func randomExtents(r *rand.Rand, n int) (out []Extent, size int64) {
	frames := []crypto.ID{randomID(r), randomID(r), randomID(r)}
	for range n {
		e := Extent{Bytes: 1 + r.Int64N(100)}
		if r.IntN(4) > 0 {
			e.Chunk = chunkstore.Loc{Frame: frames[r.IntN(3)], Off: r.IntN(1000), Len: 1 + r.IntN(100)}
			e.ID, e.Bytes = randomID(r), int64(e.Chunk.Len)
			if r.IntN(2) == 0 {
				e.Skip = r.IntN(e.Chunk.Len)
				e.Bytes = 1 + r.Int64N(int64(e.Chunk.Len-e.Skip))
			}
		}
		out = appendExtent(out, e)
		size += e.Bytes
	}
	return out, size
}

func TestExtentsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	for n := range 200 {
		want, size := randomExtents(r, n)
		b := encodeExtents(want)
		got, err := decodeExtents(b, size)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d extents: %v\n%s", n, err, b)
		}
		if !bytes.Equal(encodeExtents(got), b) {
			t.Fatalf("%d extents encode to something else the second time", n)
		}
		for _, other := range []int64{size - 1, size + 1, 0, -1} {
			if _, err := decodeExtents(b, other); other != size && !errors.Is(err, crypto.ErrDamaged) {
				t.Fatalf("%d bytes taken for %d: %v", size, other, err)
			}
		}
	}
}

func TestHostileExtents(t *testing.T) {
	id := strings.Repeat("ab", 16)
	head := extentsMagic + "\nf " + id + "\n"
	for name, text := range map[string]string{
		"empty": "", "another version": "lifeboat extents 2\n", "short frame": extentsMagic + "\nf abcd\n", "no frame": extentsMagic + "\nd 0 0 10 " + id + "\n",
		"frame too high": head + "d 1 0 10 " + id + "\n", "negative frame": head + "d -1 0 10 " + id + "\n", "negative offset": head + "d 0 -1 10 " + id + "\n",
		"no length": head + "d 0 0 0 " + id + "\n", "negative length": head + "d 0 0 -10 " + id + "\n", "behind a frame": head + "d 0 4194304 10 " + id + "\n",
		"overflow": head + "d 0 9223372036854775807 10 " + id + "\n", "short ID": head + "d 0 0 10 ab\n", "skip too far": head + "p 0 0 10 " + id + " 10 1\n",
		"too much of it": head + "p 0 0 10 " + id + " 5 6\n", "nothing of it": head + "p 0 0 10 " + id + " 5 0\n", "negative skip": head + "p 0 0 10 " + id + " -1 5\n",
		"no zeros": head + "z 0\n", "negative zeros": head + "z -10\n", "too many zeros": head + "z 11\n", "endless zeros": head + "z 9223372036854775807\nz 9223372036854775807\n",
		"unknown": head + "q 10\n", "blank": head + "\n", "d with p's fields": head + "d 0 0 10 " + id + " 0 10\n", "p with d's fields": head + "p 0 0 10 " + id + "\n",
		"too large": head + strings.Repeat("f "+id+"\n", 1<<17),
	} {
		if got, err := decodeExtents([]byte(text), 10); !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := decodeExtents([]byte(head+"p 0 0 20 "+id+" 5 10\n"), 10); err != nil || got[0].Skip != 5 {
		t.Errorf("a part of a chunk: %v", err)
	}
}

// paint is what extents mean, byte by byte: which byte of which chunk.
func paint(extents []Extent) (out []string) {
	for _, e := range extents {
		for i := range e.Bytes {
			if e.IsZero() {
				out = append(out, "zero")
			} else {
				out = append(out, fmt.Sprint(e.Chunk, e.ID, e.Skip+int(i)))
			}
		}
	}
	return out
}

// TestCutExtents compares cutting and laying over with the same on an array of bytes.
func TestCutExtents(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 6))
	for range 300 {
		extents, size := randomExtents(r, 1+r.IntN(8))
		naive := paint(extents)
		lo := r.Int64N(size + 1)
		hi := lo + r.Int64N(size-lo+20) // also behind the end
		got := cutExtents(nil, extents, lo, hi)
		if want := naive[lo:min(hi, size)]; !reflect.DeepEqual(append([]string{}, paint(got)...), append([]string{}, want...)) {
			t.Fatalf("bytes %d to %d of %v are %v", lo, hi, extents, got)
		}
		over := []Extent{{Chunk: chunkstore.Loc{Frame: randomID(r), Len: 50}, ID: randomID(r), Bytes: min(hi, size) - lo}}
		if over[0].Bytes > 50 || over[0].Bytes == 0 {
			continue
		}
		laid := cutExtents(nil, extents, 0, lo)
		laid = appendExtent(laid, over[0])
		laid = cutExtents(laid, extents, min(hi, size), size)
		want := append(append(append([]string{}, naive[:lo]...), paint(over)...), naive[min(hi, size):]...)
		if !reflect.DeepEqual(paint(laid), want) {
			t.Fatalf("laid over bytes %d to %d of %v: %v", lo, hi, extents, laid)
		}
		if _, err := decodeExtents(encodeExtents(laid), size); err != nil {
			t.Fatal(err)
		}
	}
}
