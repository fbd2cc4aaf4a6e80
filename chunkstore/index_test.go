package chunkstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lifeboat/crypto"
	"lifeboat/target"
)

// somePacks makes n packs of frames that fit them.
func somePacks(r *rand.Rand, n int) []Pack {
	var packs []Pack
	for range n {
		p := Pack{Digest: digestOf(noise(r.Uint64(), 8)), Size: int64(len(packMagic))}
		for range r.IntN(20) {
			f := Frame{ID: crypto.ID(noise(r.Uint64(), crypto.IDSize)), Off: p.Size, Len: 1 + r.IntN(1<<20)}
			p.Frames = append(p.Frames, f)
			p.Size += int64(f.Len)
		}
		packs = append(packs, p)
	}
	return packs
}

func compress(t testing.TB, text string) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll([]byte(text), nil)
}

func TestIndexRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	for n := range 30 {
		packs := somePacks(r, n)
		b, err := EncodeIndex(packs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeIndex(b)
		if err != nil || !reflect.DeepEqual(got, packs) {
			t.Fatalf("%d packs: %v", n, err)
		}
		x := NewIndex(packs)
		if len(x.Packs()) != n || len(x.Lookup(crypto.ID{})) != 0 {
			t.Errorf("%d packs in the index", len(x.Packs()))
		}
		for _, p := range packs {
			for _, f := range p.Frames {
				want := []Place{{PackName(p.Digest), p.Digest, f.Off, f.Len}}
				if got := x.Lookup(f.ID); !reflect.DeepEqual(got, want) {
					t.Errorf("frame %s is at %+v, want %+v", f.ID, got, want)
				}
			}
		}
		for cut := 0; cut < len(b); cut += 1 + len(b)/50 {
			if _, err := DecodeIndex(b[:cut]); !errors.Is(err, crypto.ErrDamaged) {
				t.Errorf("cut to %d of %d bytes: %v", cut, len(b), err)
			}
		}
	}
}

func TestHostileIndex(t *testing.T) {
	pack := "pack " + strings.Repeat("ab", 32) + " 1000\n"
	id := strings.Repeat("01", 16)
	for name, text := range map[string]string{
		"empty":            "",
		"another version":  "lifeboat index 2\n",
		"no magic":         pack,
		"frame first":      indexMagic + "\n" + id + " 0 10\n",
		"short digest":     indexMagic + "\npack abcd 10\n",
		"upper-case":       indexMagic + "\npack " + strings.Repeat("AB", 32) + " 10\n",
		"path":             indexMagic + "\npack " + strings.Repeat("../", 21) + "a 10\n",
		"negative size":    indexMagic + "\npack " + strings.Repeat("ab", 32) + " -1\n",
		"huge size":        indexMagic + "\npack " + strings.Repeat("ab", 32) + " 67108865\n",
		"not a size":       indexMagic + "\npack " + strings.Repeat("ab", 32) + " x\n",
		"negative offset":  indexMagic + "\n" + pack + id + " -1 10\n",
		"behind the end":   indexMagic + "\n" + pack + id + " 991 10\n",
		"overflow":         indexMagic + "\n" + pack + id + " 9223372036854775807 10\n",
		"no length":        indexMagic + "\n" + pack + id + " 0 0\n",
		"negative length":  indexMagic + "\n" + pack + id + " 0 -1\n",
		"longer than any":  indexMagic + "\npack " + strings.Repeat("ab", 32) + " 60000000\n" + id + " 0 5242881\n",
		"short ID":         indexMagic + "\n" + pack + "01 0 10\n",
		"two fields":       indexMagic + "\n" + pack + id + " 0\n",
		"four fields":      indexMagic + "\n" + pack + id + " 0 10 10\n",
		"blank line":       indexMagic + "\n\n" + pack,
		"endless line":     indexMagic + "\n" + strings.Repeat("x", 1<<20),
		"a thousand blank": indexMagic + strings.Repeat("\n", 1000),
	} {
		if packs, err := DecodeIndex(compress(t, text)); !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%s: %+v, error %v", name, packs, err)
		}
	}
	if _, err := DecodeIndex([]byte("not zstd")); !errors.Is(err, crypto.ErrDamaged) {
		t.Errorf("not zstd: %v", err)
	}
	whole := indexMagic + "\n" + pack + id + " 990 10\n"
	if packs, err := DecodeIndex(compress(t, whole)); err != nil || len(packs) != 1 {
		t.Errorf("a frame up to the end: %v", err)
	}
}

// TestTwoPlaces copies frames into a second pack: what the first has lost, the second still gives.
func TestTwoPlaces(t *testing.T) {
	tg, dir := newTarget(t)
	w := newWriter(t, t.Context(), tg)
	one, two := add(t, w, Sealed, noise(1, frameTarget)), add(t, w, Sealed, noise(2, 5000))
	packs := finish(t, w)
	body, err := target.Read(t.Context(), tg, PackName(packs[0].Digest), maxPack)
	if err != nil {
		t.Fatal(err)
	}
	frames := packs[0].Frames
	copied, second := []byte(packMagic), Pack{}
	for _, f := range []Frame{frames[1], frames[0]} {
		second.Frames = append(second.Frames, Frame{f.ID, int64(len(copied)), f.Len})
		copied = append(copied, body[f.Off:f.Off+int64(f.Len)]...)
	}
	second.Digest, second.Size = digestOf(copied), int64(len(copied))
	if err := target.Store(t.Context(), tg, PackName(second.Digest), copied); err != nil {
		t.Fatal(err)
	}
	for _, order := range [][]Pack{{packs[0], second}, {second, packs[0]}} {
		index := NewIndex(order)
		if n := len(index.Lookup(one.loc.Frame)); n != 2 {
			t.Fatalf("%d places", n)
		}
		intact := func(what string) {
			t.Helper()
			r := NewReader(tg, index, ring(t).epoch)
			for _, s := range []stored{one, two} {
				if b, err := r.Chunk(t.Context(), s.loc, nil); err != nil || !bytes.Equal(b, s.data) {
					t.Errorf("%s: %d bytes, %v", what, len(b), err)
				}
			}
		}
		intact("both whole")
		damagePack(t, dir, order[0], func(b []byte) []byte { b[len(b)/2] ^= 1; b[len(b)-9] ^= 1; b[100] ^= 1; return b })
		intact("the first is damaged")
		damagePack(t, dir, order[0], func([]byte) []byte { return nil })
		intact("the first is gone")
		damagePack(t, dir, order[1], func(b []byte) []byte { return b[:len(b)/2] })
		r := NewReader(tg, index, ring(t).epoch)
		_, err1 := r.Chunk(t.Context(), one.loc, nil)
		_, err2 := r.Chunk(t.Context(), two.loc, nil)
		if err1 == nil && err2 == nil || !errors.Is(errors.Join(err1, err2), fs.ErrNotExist) {
			t.Errorf("nothing whole is left: %v, %v", err1, err2)
		}
		write(t, dir, packs[0].Digest, body)
		write(t, dir, second.Digest, copied)
	}
}

func write(t *testing.T, dir, digest string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, PackName(digest)), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// damagePack changes the file of a pack; nothing left removes it.
func damagePack(t *testing.T, dir string, p Pack, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, PackName(p.Digest))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b = change(b); b == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestReaderRefuses(t *testing.T) {
	tg, _ := newTarget(t)
	w := newWriter(t, t.Context(), tg)
	s := add(t, w, Sealed, []byte("0123456789"))
	packs := finish(t, w)
	r := NewReader(tg, NewIndex(packs), ring(t).epoch)
	for _, loc := range []Loc{{s.loc.Frame, 0, 11}, {s.loc.Frame, 11, 0}, {s.loc.Frame, -1, 1}, {s.loc.Frame, 0, -1}, {s.loc.Frame, 1 << 62, 1 << 62}, {s.loc.Frame, 10, 1}} {
		if b, err := r.Chunk(t.Context(), loc, nil); !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%+v: %q, %v", loc, b, err)
		}
	}
	if _, err := r.Chunk(t.Context(), Loc{crypto.ID{1}, 0, 1}, nil); !errors.Is(err, ErrUnknownFrame) || !errors.Is(err, crypto.ErrDamaged) {
		t.Errorf("an unknown frame: %v", err)
	}
	if b, err := r.Frame(t.Context(), s.loc.Frame, []byte("old"), nil); err != nil || string(b) != "0123456789" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestReaderRemembers reads more frames than it remembers, several times over.
func TestReaderRemembers(t *testing.T) {
	tg, _ := newTarget(t)
	w := newWriter(t, t.Context(), tg)
	var all []stored
	for i := range 2 * recentFrames {
		all = append(all, add(t, w, Host, noise(uint64(i), frameTarget-i)))
	}
	r := NewReader(tg, NewIndex(finish(t, w)), ring(t).host.Index)
	for i := range 4 * len(all) {
		s := all[(i*7+i/3)%len(all)]
		if b, err := r.Chunk(t.Context(), s.loc, nil); err != nil || !bytes.Equal(b, s.data) {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	}
	if len(r.recent) != recentFrames {
		t.Errorf("%d frames are remembered", len(r.recent))
	}
}

func TestDigests(t *testing.T) {
	tg, dir := newTarget(t)
	body := []byte("an object")
	for range 2 { // the second time it is there already
		o, err := StoreDigest(t.Context(), tg, "index/", body)
		if err != nil || o.Name != IndexName(digestOf(body)) || o.Size != int64(len(body)) {
			t.Fatalf("%+v, %v", o, err)
		}
	}
	name := IndexName(digestOf(body))
	if b, err := ReadDigest(t.Context(), tg, name, 9); err != nil || !bytes.Equal(b, body) {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := ReadDigest(t.Context(), tg, name, 8); !errors.Is(err, target.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := ReadDigest(t.Context(), tg, "lifeboat.json", 8); err == nil {
		t.Error("a name without a digest")
	}
	if _, err := ReadDigest(t.Context(), tg, IndexName(digestOf(nil)), 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	for _, b := range []string{"another!!", "short", "an object and more"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDigest(t.Context(), tg, name, 1000); !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%q: %v", b, err)
		}
		if _, err := StoreDigest(t.Context(), tg, "index/", body); !errors.Is(err, target.ErrConflict) {
			t.Errorf("%q was taken for the object: %v", b, err)
		}
		if _, err := LoadIndex(t.Context(), tg, []string{digestOf(body)}); !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%q is an index: %v", b, err)
		}
	}
	d := digestOf(nil)
	for name, want := range map[string]bool{"packs/" + d[:2] + "/" + d: true, "keys/root-1-pq-" + d: true, "journal/writer/" + d: false, d[1:]: false, "packs/" + strings.ToUpper(d): false, "": false} {
		if got, ok := Digest(name); ok != want || ok && got != d {
			t.Errorf("Digest(%q) = %q, %t", name, got, ok)
		}
	}
	if fmt.Sprint(Pack{Digest: d, Size: 5}.Object()) != fmt.Sprint(target.Object{Name: "packs/" + d[:2] + "/" + d, Size: 5}) {
		t.Error("a pack's object")
	}
}
