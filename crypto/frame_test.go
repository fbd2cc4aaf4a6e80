package crypto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

func hybrid(t testing.TB) *age.HybridIdentity {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func classic(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func sealer(t testing.TB, recipients ...age.Recipient) *Sealer {
	t.Helper()
	s, err := NewSealer(Fast, recipients...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opener(t testing.TB, identities ...age.Identity) *Opener {
	t.Helper()
	o, err := NewOpener(identities...)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// encrypt makes an age file of plain, as an attacker who knows the recipient can.
func encrypt(t testing.TB, plain []byte, recipients ...age.Recipient) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, recipients...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFrameRoundTrip(t *testing.T) {
	id, index := hybrid(t), hybrid(t)
	s, o := sealer(t, id.Recipient(), index.Recipient()), opener(t, id)
	other := opener(t, hybrid(t), index)
	for name, raw := range map[string][]byte{
		"empty": nil, "one byte": {7}, "text": []byte("The ship is sinking.\n"), "zeros": make([]byte, MaxFrame),
		"noise": noise(1, 100_001), "full": noise(2, MaxFrame),
	} {
		t.Run(name, func(t *testing.T) {
			sealed, err := s.Seal([]byte("before"), raw)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(sealed, []byte("before")) {
				t.Fatal("Seal did not append")
			}
			if sealed = sealed[6:]; len(sealed) > MaxSealed {
				t.Fatalf("%d bytes sealed", len(sealed))
			}
			for _, o := range []*Opener{o, other} {
				if got, err := o.Open([]byte("old"), sealed); err != nil || !bytes.Equal(got, raw) {
					t.Fatalf("opened %d bytes (%v), want %d", len(got), err, len(raw))
				}
			}
			if s.key.fileKey != nil {
				t.Error("the file key was not forgotten")
			}
			checkByHand(t, sealed, raw, id)
		})
	}
	if out, err := s.Seal([]byte("x"), make([]byte, MaxFrame+1)); err == nil || string(out) != "x" {
		t.Errorf("a frame of more than %d bytes was sealed", MaxFrame)
	}
}

// checkByHand opens a frame as doc/format.md says, with plain library calls and the zstd command.
func checkByHand(t *testing.T, sealed, raw []byte, id age.Identity) {
	t.Helper()
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(packed) != Padme(len(packed)) {
		t.Errorf("%d bytes are not a Padmé length", len(packed))
	}
	var head zstd.Header
	if err := head.Decode(packed); err != nil || head.Skippable {
		t.Errorf("it does not begin with a frame of zstd: %+v (%v)", head, err)
	}
	checkPadding(t, packed)
	d, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("the library's stream decoder reads %d bytes (%v)", len(got), err)
	}
	c := exec.CommandContext(t.Context(), "zstd", "-d", "-c")
	c.Stdin = bytes.NewReader(packed)
	if got, err := c.Output(); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("zstd -d reads %d bytes (%v)", len(got), err)
	}
}

// checkPadding looks for one skippable frame of zeros that reaches to the end.
func checkPadding(t *testing.T, packed []byte) {
	t.Helper()
	magic := binary.LittleEndian.AppendUint32(nil, skippable)
	at := bytes.LastIndex(packed, magic)
	if at < 0 {
		t.Fatal("no skippable frame")
	}
	n := binary.LittleEndian.Uint32(packed[at+4:])
	if rest := packed[at+8:]; int(n) != len(rest) || len(bytes.Trim(rest, "\x00")) != 0 {
		t.Errorf("the skippable frame says %d bytes, %d follow", n, len(rest))
	}
}

func TestPadme(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 3, 7: 7, 8: 8, 9: 10, 15: 16, 17: 18, 33: 36, 100: 104, 1000: 1024, 1025: 1088, 1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15} {
		if got := Padme(n); got != want {
			t.Errorf("Padme(%d) = %d, want %d", n, got, want)
		}
	}
	last := 0
	check := func(n int) {
		got := Padme(n)
		if got < n || got < last || Padme(got) != got || float64(got) > 1.12*float64(n)+1 {
			t.Fatalf("Padme(%d) = %d after %d", n, got, last)
		}
		last = got
	}
	for n := range 1 << 16 {
		check(n)
	}
	for n := 1 << 16; n < MaxSealed; n += 997 {
		check(n)
	}
}

// TestFrameDamage changes every byte of a frame and cuts it at every length: never other bytes, always a known error.
func TestFrameDamage(t *testing.T) {
	raw := []byte("consecutive chunks without separators")
	h, c := hybrid(t), classic(t)
	for name, key := range map[string]struct {
		recipient age.Recipient
		identity  age.Identity
	}{"hybrid": {h.Recipient(), h}, "classic": {c.Recipient(), c}} {
		t.Run(name, func(t *testing.T) {
			sealed, err := sealer(t, key.recipient).Seal(nil, raw)
			if err != nil {
				t.Fatal(err)
			}
			o := opener(t, key.identity)
			refused := func(what string, b []byte) {
				got, err := o.Open(nil, b)
				if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrIdentity) {
					t.Errorf("%s: opened %q, error %v", what, got, err)
				}
			}
			for i := range sealed {
				b := bytes.Clone(sealed)
				b[i] ^= 1 << (i % 8)
				refused(fmt.Sprintf("bit flipped in byte %d", i), b)
				refused(fmt.Sprintf("cut to %d bytes", i), sealed[:i])
			}
			refused("a byte more", append(bytes.Clone(sealed), 0))
			refused("twice", append(bytes.Clone(sealed), sealed...))
			refused("too long", make([]byte, MaxSealed+1))
			if got, err := o.Open(nil, sealed); err != nil || !bytes.Equal(got, raw) {
				t.Errorf("the whole frame no longer opens: %v", err)
			}
		})
	}
}

func TestFrameWrongIdentity(t *testing.T) {
	sealed, err := sealer(t, hybrid(t).Recipient()).Seal(nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*Opener{"hybrid": opener(t, hybrid(t)), "classic": opener(t, classic(t)), "both": opener(t, classic(t), hybrid(t))} {
		if _, err := o.Open(nil, sealed); !errors.Is(err, ErrIdentity) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrIdentity", name, err)
		}
	}
}

// TestFrameBomb opens frames that decompress to far more than a frame holds; memory stays bounded.
func TestFrameBomb(t *testing.T) {
	id := hybrid(t)
	o := opener(t, id)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	unsized, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		if _, err := unsized.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unsized.Close(); err != nil {
		t.Fatal(err)
	}
	small := enc.EncodeAll(make([]byte, MaxFrame), nil)
	claim := []byte{0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0} // content of 1 TiB, one empty block
	window := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xB8, 1, 0, 0}                  // a window of 8 GiB
	for name, plain := range map[string][]byte{
		"sized": enc.EncodeAll(make([]byte, 64<<20), nil), "unsized": stream.Bytes(), "two frames": append(bytes.Clone(small), small...),
		"a byte too many": enc.EncodeAll(make([]byte, MaxFrame+1), nil), "claimed": claim, "window": window,
	} {
		sealed := encrypt(t, plain, id.Recipient())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := o.Open(nil, sealed)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %d bytes, error %v", name, len(got), err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 8*MaxFrame {
			t.Errorf("%s: refusing it took %d bytes of memory", name, used)
		}
	}
}

// TestSealRefusesToMix makes sure that the tap on the file key does not hide from age what a recipient is.
func TestSealRefusesToMix(t *testing.T) {
	pq, old := hybrid(t).Recipient(), classic(t).Recipient()
	for _, mix := range [][]age.Recipient{{pq, old}, {old, pq}} {
		if _, err := sealer(t, mix...).Seal(nil, []byte("x")); err == nil {
			t.Errorf("sealed to %T and %T", mix[0], mix[1])
		}
	}
	if _, err := NewSealer(Fast); err == nil {
		t.Error("a sealer without recipients")
	}
}

// TestSealReadsBack breaks a sealer on purpose: what cannot be read back must not leave it.
func TestSealReadsBack(t *testing.T) {
	id := hybrid(t)
	s := sealer(t, id.Recipient())
	dict, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(99, noise(3, 4096)))
	if err != nil {
		t.Fatal(err)
	}
	good := s.enc
	s.enc = dict // what it makes cannot be read without its dictionary
	if out, err := s.Seal([]byte("x"), noise(3, 4096)); err == nil || string(out) != "x" {
		t.Errorf("%d bytes of a broken encoder came out", len(out))
	}
	s.enc = good
	if err := s.readBack(encrypt(t, pad(good.EncodeAll([]byte("one"), nil)), s.recipients...), []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := s.readBack(encrypt(t, pad(good.EncodeAll([]byte("one"), nil)), s.recipients...), []byte("two")); !errors.Is(err, ErrDamaged) {
		t.Errorf("other bytes: %v", err)
	}
	sealed := encrypt(t, pad(good.EncodeAll([]byte("one"), nil)), s.recipients...)
	sealed[len(sealed)-1] ^= 1
	if err := s.readBack(sealed, []byte("one")); err == nil {
		t.Error("a flipped bit was not noticed")
	}
	if _, err := s.Seal(nil, []byte("again")); err != nil {
		t.Errorf("the sealer is of no use any more: %v", err)
	}
}
