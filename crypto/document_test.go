package crypto

import (
	"bytes"
	"errors"
	"testing"

	"filippo.io/age"
)

func TestDocument(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	to := []age.Recipient{id.Recipient()}
	for _, text := range [][]byte{{}, []byte("a text"), make([]byte, MaxDocument)} {
		sealed, err := SealDocument(to, text)
		if err != nil || len(sealed) > MaxSealedDocument {
			t.Fatal(len(sealed), err)
		}
		if got, err := OpenDocument(sealed, []age.Identity{other, id}); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
		if _, err := OpenDocument(sealed, []age.Identity{other}); !errors.Is(err, ErrIdentity) {
			t.Errorf("with another identity: %v", err)
		}
		if _, err := OpenDocument(sealed, nil); !errors.Is(err, ErrIdentity) {
			t.Errorf("without any: %v", err)
		}
		sealed[len(sealed)-1] ^= 1
		if _, err := OpenDocument(sealed, []age.Identity{id}); !errors.Is(err, ErrDamaged) {
			t.Errorf("a bit of it is another: %v", err)
		}
	}
	if _, err := SealDocument(to, make([]byte, MaxDocument+1)); err == nil {
		t.Error("a long one is sealed")
	}
	if _, err := SealDocument(nil, nil); err == nil {
		t.Error("sealed to nobody")
	}
	if _, err := OpenDocument(encrypt(t, make([]byte, MaxDocument+1), id.Recipient()), []age.Identity{id}); !errors.Is(err, ErrDamaged) {
		t.Errorf("one that is too long: %v", err)
	}
}
