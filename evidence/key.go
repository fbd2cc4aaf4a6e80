package evidence

import (
	"bytes"
	"context"
	gocrypto "crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/mod/sumdb/note"
)

// signingKey is a key of signed notes, as DSSE uses it. What is signed cannot be taken for a note: it begins with "DSSEv1 ", and no name of a key has a space.
type signingKey struct {
	id      string
	public  ed25519.PublicKey
	private ed25519.PrivateKey // nil where it only verifies
}

// keyID is the name and the hash of a verifier key, which is how notes refer to it.
func keyID(vkey string) (id string, public ed25519.PublicKey, err error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return "", nil, fmt.Errorf("read key %.100q: %w", vkey, err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.SplitN(vkey, "+", 3)[2]) // which may have a + of its own
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return "", nil, fmt.Errorf("read key %.100q: not an Ed25519 key", vkey)
	}
	return fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash()), raw[1:], nil
}

func newSigningKey(vkey string, seed []byte) (*signingKey, error) {
	id, public, err := keyID(vkey)
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the secret of the key has %d bytes, not %d", len(seed), ed25519.SeedSize)
	}
	k := &signingKey{id: id, public: public, private: ed25519.NewKeyFromSeed(seed)}
	if !bytes.Equal(k.private[ed25519.SeedSize:], public) {
		return nil, fmt.Errorf("the secret is not that of the key %s", id)
	}
	return k, nil
}

// Sign, Verify, KeyID and Public make a signingKey what DSSE calls a SignerVerifier.
func (k *signingKey) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(k.private, data), nil
}

func (k *signingKey) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(k.public, data, sig) {
		return errors.New("the signature is wrong")
	}
	return nil
}

func (k *signingKey) KeyID() (string, error)     { return k.id, nil }
func (k *signingKey) Public() gocrypto.PublicKey { return k.public }

// verify checks the one signature of an envelope.
func verify(e *dsse.Envelope, vkey string) error {
	id, public, err := keyID(vkey)
	if err != nil {
		return err
	}
	if e.Signatures[0].KeyID != id {
		return fmt.Errorf("the envelope says that %.120q signed it, and the report names %s", e.Signatures[0].KeyID, id)
	}
	v, err := dsse.NewEnvelopeVerifier(&signingKey{id: id, public: public})
	if err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	if _, err := v.Verify(context.Background(), e); err != nil {
		return fmt.Errorf("the signature is not by the key %s, or the report was changed after it was signed", id)
	}
	return nil
}
