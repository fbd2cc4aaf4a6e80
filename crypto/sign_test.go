package crypto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

type authority struct {
	repository ID
	signer     note.Signer
	verifier   note.Verifier
	vkey       string
}

func newAuthority(t testing.TB, repository ID, role Role, seed []byte) authority {
	t.Helper()
	s, err := NewSigner(repository, role, seed)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := VerifierKey(repository, role, seed)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(repository, role, vkey)
	if err != nil {
		t.Fatal(err)
	}
	return authority{repository, s, v, vkey}
}

func TestCertificate(t *testing.T) {
	repository := ID(noise(1, IDSize))
	root := newAuthority(t, repository, Root, noise(2, 32))
	writer := newAuthority(t, repository, Writer, noise(3, 32))
	want := Certificate{repository, Writer, writer.vkey, 7, "age1pq1example"}
	signed, err := SignCertificate(root.signer, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenCertificate(root.verifier, signed); err != nil || got != want {
		t.Errorf("%+v, error %v", got, err)
	}
	text := fmt.Sprintf("lifeboat certificate 1\nrepository %s\nrole writer\nkey %s\nfrom 7\nepoch age1pq1example\n", repository, writer.vkey)
	if !strings.HasPrefix(signed, text+"\n— lifeboat/"+repository.String()+"/root ") {
		t.Errorf("not as doc/format.md says:\n%s", signed)
	}
	for i := range len(signed) - 4 { // in the last digits of base64 not all bits count
		b := []byte(signed)
		b[i] ^= 1 << (i % 7)
		if got, err := OpenCertificate(root.verifier, string(b)); err == nil && got != want {
			t.Errorf("byte %d changed: %+v", i, got)
		}
	}
}

func TestForgedCertificate(t *testing.T) {
	repository, foreign := ID(noise(1, IDSize)), ID(noise(9, IDSize))
	seed := noise(2, 32)
	root := newAuthority(t, repository, Root, seed)
	c := Certificate{repository, Writer, root.vkey, 1, "age1pq1example"}
	for name, signer := range map[string]authority{
		"another root":                 newAuthority(t, repository, Root, noise(4, 32)),
		"the same key as writer":       newAuthority(t, repository, Writer, seed),
		"the same key, elsewhere root": newAuthority(t, foreign, Root, seed),
	} {
		signed, err := SignCertificate(signer.signer, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCertificate(root.verifier, signed); err == nil {
			t.Errorf("signed by %s: accepted", name)
		}
	}
	good := fmt.Sprintf("lifeboat certificate 1\nrepository %s\nrole writer\nkey k\nfrom 1\n", repository)
	for name, text := range map[string]string{
		"empty": "\n", "another format": strings.Replace(good, "certificate 1", "certificate 2", 1), "a line more": good + "until 9\n",
		"a line less": strings.Replace(good, "role writer\n", "", 1), "order": "lifeboat certificate 1\nrole writer\n" + good[len("lifeboat certificate 1\n"):],
		"no number": strings.Replace(good, "from 1", "from x", 1), "signed number": strings.Replace(good, "from 1", "from +1", 1),
		"repository": strings.Replace(good, repository.String(), "x", 1),
	} {
		signed, err := note.Sign(&note.Note{Text: text}, root.signer)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenCertificate(root.verifier, string(signed)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, err := NewVerifier(foreign, Root, root.vkey); err == nil {
		t.Error("the root's key speaks for another repository")
	}
	if _, err := NewVerifier(repository, Writer, root.vkey); err == nil {
		t.Error("the root's key speaks for another role")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := NewSigner(repository, Root, make([]byte, n)); err == nil {
			t.Errorf("a seed of %d bytes", n)
		}
		if _, err := VerifierKey(repository, Root, make([]byte, n)); err == nil {
			t.Errorf("a verifier key of a seed of %d bytes", n)
		}
	}
}

func TestFingerprint(t *testing.T) {
	repository, seed := ID(noise(1, IDSize)), noise(2, 32)
	root := newAuthority(t, repository, Root, seed)
	pub, ok := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	sum := sha256.Sum256(pub)
	got, err := Fingerprint(root.vkey)
	if err != nil || strings.ReplaceAll(got, "-", "") != hex.EncodeToString(sum[:16]) || strings.Count(got, "-") != 3 {
		t.Errorf("%q, error %v", got, err)
	}
	for _, key := range []string{"", "a", "a+b", "a+b+c", "a+b+" + strings.Repeat("A", 43), root.vkey[:len(root.vkey)-5]} {
		if f, err := Fingerprint(key); err == nil {
			t.Errorf("%q has the fingerprint %s", key, f)
		}
	}
}
