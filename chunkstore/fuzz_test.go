package chunkstore

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lifeboat/crypto"
	"lifeboat/target"
	"lifeboat/target/local"
)

// FuzzDecodeIndex takes its input as an index object and as the text in one.
func FuzzDecodeIndex(f *testing.F) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 10))
	for n := range 4 {
		b, err := EncodeIndex(somePacks(r, n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(indexMagic + "\npack " + strings.Repeat("ab", 32) + " 1000\n" + strings.Repeat("01", 16) + " 16 984\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, stored := range [][]byte{b, enc.EncodeAll(b, nil)} {
			packs, err := DecodeIndex(stored)
			if err != nil {
				if !errors.Is(err, crypto.ErrDamaged) {
					t.Errorf("an unknown error: %v", err)
				}
				continue
			}
			checkDecoded(t, packs)
		}
	})
}

func checkDecoded(t *testing.T, packs []Pack) {
	t.Helper()
	for _, p := range packs {
		for _, fr := range p.Frames {
			if fr.Off < 0 || fr.Len <= 0 || fr.Len > crypto.MaxSealed || fr.Off+int64(fr.Len) > p.Size || p.Size > maxPack {
				t.Errorf("frame %+v in a pack of %d bytes", fr, p.Size)
			}
		}
	}
	b, err := EncodeIndex(packs)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := DecodeIndex(b); err != nil || !reflect.DeepEqual(again, packs) {
		t.Errorf("it encodes to something else: %v", err)
	}
	x := NewIndex(packs)
	for _, p := range packs {
		for _, fr := range p.Frames {
			if len(x.Lookup(fr.ID)) == 0 {
				t.Errorf("frame %s is nowhere", fr.ID)
			}
		}
	}
}

func FuzzDigest(f *testing.F) {
	f.Add("packs/ab/" + strings.Repeat("ab", 32))
	f.Add("journal/writer/000000000001")
	f.Fuzz(func(t *testing.T, name string) {
		if d, ok := Digest(name); ok && (len(d) != 64 || !strings.HasSuffix(name, d)) {
			t.Errorf("%q has the digest %q", name, d)
		}
	})
}

// FuzzFooter takes its input as a pack.
func FuzzFooter(f *testing.F) {
	name := PackName(digestOf([]byte("x")))
	f.Add(append([]byte(packMagic+"frame"), footer([]Frame{{ID: crypto.ID{1}, Off: 16, Len: 5}})...))
	f.Add([]byte(packMagic + "lifeboat frames 9999999999\n"))
	f.Add([]byte(packMagic + "lifeboat frames -000000001\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		dir := t.TempDir()
		tg, err := local.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer tg.Close()
		if err := target.Store(t.Context(), tg, name, body); err != nil {
			t.Fatal(err)
		}
		p, err := readFooter(t.Context(), tg, name, int64(len(body)))
		for _, fr := range p.Frames {
			if err == nil && (fr.Off < 0 || fr.Len <= 0 || fr.Off+int64(fr.Len) > int64(len(body))) {
				t.Errorf("frame %+v in a pack of %d bytes", fr, len(body))
			}
		}
	})
}
