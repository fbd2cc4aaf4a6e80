package crypto

import (
	"bytes"
	"fmt"
	"io"

	"filippo.io/age"
)

// MaxDocument bounds a document, in bytes of its text.
const MaxDocument = 16 << 20

// MaxSealedDocument bounds the age file of a document, in bytes.
const MaxSealedDocument = MaxDocument + 1<<20

// SealDocument seals a text to recipients, all of one class, as one age file without anything else in it. As a frame is, it is opened
// again and compared before it counts.
func SealDocument(recipients []age.Recipient, text []byte) ([]byte, error) {
	if len(recipients) == 0 || len(text) > MaxDocument {
		return nil, fmt.Errorf("seal document: %d bytes for %d recipients: %d bytes for one are what there can be", len(text), len(recipients), MaxDocument)
	}
	tap := &keyTap{Recipient: recipients[0]}
	defer tap.forget()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, append([]age.Recipient{tap}, recipients[1:]...)...)
	if err != nil {
		return nil, fmt.Errorf("seal document: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("seal document: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal document: %w", err)
	}
	again, err := OpenDocument(b.Bytes(), []age.Identity{age.NewInjectedFileKeyIdentity(tap.fileKey)})
	if err != nil || !bytes.Equal(again, text) {
		return nil, fmt.Errorf("read back a sealed document: %w (suspect this machine's memory or processor)", ErrDamaged)
	}
	return b.Bytes(), nil
}

// CheckDocument looks whether sealed can be a document at all, without a key that opens it. Errors wrap ErrDamaged.
func CheckDocument(sealed []byte) error {
	if _, err := age.ExtractHeader(bytes.NewReader(sealed)); err != nil {
		return openError("read document", err)
	}
	return nil
}

// OpenDocument opens a document. Errors wrap ErrIdentity or ErrDamaged.
func OpenDocument(sealed []byte, identities []age.Identity) ([]byte, error) {
	if len(identities) == 0 {
		return nil, fmt.Errorf("open document: %w", ErrIdentity)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if err != nil {
		return nil, openError("open document", err)
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("open document: %w: %w", ErrDamaged, err)
	}
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("open document: it is longer than a document can be: %w", ErrDamaged)
	}
	return b, nil
}
