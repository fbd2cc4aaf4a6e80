package crypto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"
)

// Keys for these tests: what one process of a fuzz run seals must open in all others.
const (
	testHybrid  = "AGE-SECRET-KEY-PQ-144VYAGVSFKCD0WMMWFY6S78XNH9JDMP3EJ6T0ZW4FY4555S0DFMQ3QY3LE"
	testClassic = "AGE-SECRET-KEY-15AYFAT4SRM9JLUUKCMFYUZTAAMKMQYG0CVKFG7L92MHQPRLAD20S5EJYMJ"
)

func fixedKeys(f *testing.F) (*age.X25519Identity, *age.HybridIdentity) {
	f.Helper()
	id, err := age.ParseX25519Identity(testClassic)
	if err != nil {
		f.Fatal(err)
	}
	h, err := age.ParseHybridIdentity(testHybrid)
	if err != nil {
		f.Fatal(err)
	}
	return id, h
}

func FuzzOpen(f *testing.F) {
	id, h := fixedKeys(f)
	o, s := opener(f, id, h), sealer(f, id.Recipient())
	for _, raw := range [][]byte{nil, []byte("x"), noise(1, 1000)} {
		sealed, err := s.Seal(nil, raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
		f.Add(sealed[:len(sealed)/2])
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		raw, err := o.Open(nil, sealed)
		switch {
		case err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrIdentity):
			t.Errorf("an unknown error: %v", err)
		case len(raw) > MaxFrame:
			t.Errorf("%d bytes", len(raw))
		}
	})
}

// FuzzPlain gives an Opener frames whose age file is right and whose content is not.
func FuzzPlain(f *testing.F) {
	id, _ := fixedKeys(f)
	o := opener(f, id)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	for _, raw := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("ab"), 5000)} {
		f.Add(pad(enc.EncodeAll(raw, nil)))
		f.Add(enc.EncodeAll(raw, nil))
	}
	f.Add(enc.EncodeAll(make([]byte, 8<<20), nil))
	f.Fuzz(func(t *testing.T, plain []byte) {
		raw, err := o.Open(nil, encrypt(t, plain, id.Recipient()))
		if err != nil && !errors.Is(err, ErrDamaged) || cap(raw) > 3*MaxFrame {
			t.Errorf("%d bytes in %d, %v", len(raw), cap(raw), err)
		}
	})
}

func FuzzSeal(f *testing.F) {
	id := classic(f)
	o, s := opener(f, id), sealer(f, id.Recipient())
	f.Add([]byte(nil))
	f.Add([]byte("The ship is sinking."))
	f.Fuzz(func(t *testing.T, raw []byte) {
		sealed, err := s.Seal(nil, raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.Open(nil, sealed); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%d bytes of %d: %v", len(got), len(raw), err)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add(strings.Repeat("0a", 16))
	f.Add("x")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q is %s", s, id)
		}
	})
}

// FuzzCertificate signs any text as the root: what is taken for a certificate says exactly what was signed.
func FuzzCertificate(f *testing.F) {
	repository := ID(noise(1, IDSize))
	root := newAuthority(f, repository, Root, noise(2, 32))
	f.Add(fmt.Sprintf("lifeboat certificate 1\nrepository %s\nrole writer\nkey k\nfrom 1\nepoch e\n", repository))
	f.Add("lifeboat certificate 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		signed, err := note.Sign(&note.Note{Text: text}, root.signer)
		if err != nil {
			return
		}
		c, err := OpenCertificate(root.verifier, string(signed))
		if err != nil {
			return
		}
		again, err := SignCertificate(root.signer, c)
		if err != nil {
			t.Fatal(err)
		}
		second, err := OpenCertificate(root.verifier, again)
		if err != nil || second != c {
			t.Errorf("%q is %+v, and then %+v (%v)", text, c, second, err)
		}
		_, _ = NewVerifier(repository, Writer, c.Key) // any error will do
	})
}

func FuzzKeyFiles(f *testing.F) {
	root, host, epoch := generate(f)
	for _, v := range []any{root, host, epoch} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	again := func(t *testing.T, v, parsed any) {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, parsed); err != nil || !reflect.DeepEqual(v, parsed) {
			t.Errorf("it encodes to something else: %v", err)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRootSecret(b); err == nil {
			again(t, r, new(RootSecret))
			if _, err := NewSigner(r.Repository, Root, r.Seed); err != nil {
				t.Errorf("the root cannot sign: %v", err)
			}
		}
		if h, err := ParseHostSecrets(b); err == nil {
			if _, err := h.Keys(); err != nil {
				t.Errorf("the host has no keys: %v", err)
			}
		}
		if e, err := ParseEpochSecret(b); err == nil {
			again(t, e, new(EpochSecret))
			_, _, _ = e.Open() // any error will do
		}
	})
}

func FuzzFingerprint(f *testing.F) {
	f.Add(newAuthority(f, ID{1}, Root, noise(2, 32)).vkey)
	f.Add("a+b+c")
	f.Fuzz(func(t *testing.T, key string) {
		if s, err := Fingerprint(key); err == nil && (len(s) != 35 || strings.Trim(s, "0123456789abcdef-") != "") {
			t.Errorf("%q has the fingerprint %q", key, s)
		}
	})
}
