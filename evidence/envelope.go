package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
)

// PayloadType is what an envelope says that it holds.
const PayloadType = "application/vnd.lifeboat.drill-report+json"

// MaxEnvelope bounds an envelope, in bytes.
const MaxEnvelope = 8 << 20

// ErrForged is wrapped where an envelope is not a genuine report: it was changed, or it was signed by a key that must not sign it.
var ErrForged = errors.New("this is not a genuine drill report")

// Opened is a report whose signature and certificate are right.
type Opened struct {
	Report      *Report
	Payload     []byte // canonical JSON, the bytes that are signed
	Digest      string // of the envelope
	Certificate crypto.Certificate
	// Trusted is set where the root's fingerprint is the one that the reader brought along. Otherwise the report is of whoever made that root.
	Trusted bool
}

// Digest is the SHA-256 of an envelope in hex, by which the journal and later reports name it.
func Digest(envelope []byte) string {
	sum := sha256.Sum256(envelope)
	return hex.EncodeToString(sum[:])
}

// Sign puts a report into an envelope: canonical JSON (RFC 8785) in DSSE. The seed is that of the Ed25519 key r.Signer.Key. A report whose numbers do
// not survive canonical JSON (integers beyond 2^53) is refused. Whether the certificate fits is for Open.
func Sign(r *Report, seed []byte) ([]byte, error) {
	if r.Schema != Schema {
		return nil, fmt.Errorf("sign report: its schema is %q, not %q", r.Schema, Schema)
	}
	k, err := newSigningKey(r.Signer.Key, seed)
	if err != nil {
		return nil, fmt.Errorf("sign report: %w", err)
	}
	payload, err := encode(r)
	if err != nil {
		return nil, fmt.Errorf("sign report: %w", err)
	}
	s, err := dsse.NewEnvelopeSigner(k)
	if err != nil {
		return nil, fmt.Errorf("sign report: %w", err)
	}
	e, err := s.SignPayload(context.Background(), PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("sign report: %w", err)
	}
	out, err := canonical(e)
	if err == nil && len(out) > MaxEnvelope {
		err = fmt.Errorf("the envelope takes %d bytes, and must not take more than %d", len(out), MaxEnvelope)
	}
	if err != nil {
		return nil, fmt.Errorf("sign report: %w", err)
	}
	return out, nil
}

// Open verifies an envelope with nothing but itself and the fingerprint of the root that the reader trusts, which may be empty. Errors wrap ErrForged.
// That the report is genuine says who signed it, not that the host on which the drill ran was honest.
func Open(envelope []byte, trust string) (*Opened, error) {
	o, err := open(envelope, strings.TrimSpace(trust))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return o, nil
}

func open(envelope []byte, trust string) (*Opened, error) {
	e, payload, err := unwrap(envelope)
	if err != nil {
		return nil, err
	}
	r, err := decode(payload)
	if err != nil {
		return nil, err
	}
	o := &Opened{Report: r, Payload: payload, Digest: Digest(envelope)}
	key, err := o.certify()
	if err != nil {
		return nil, err
	}
	if err := verify(e, r.Signer.Key); err != nil {
		return nil, err
	}
	if err := o.checkpoint(key); err != nil {
		return nil, err
	}
	if trust != "" && trust != r.Environment.Fingerprint {
		return nil, fmt.Errorf("it is of a repository whose root key has the fingerprint %s, and you trust %.80q", r.Environment.Fingerprint, trust)
	}
	o.Trusted = trust != ""
	return o, nil
}

// certify follows the chain of keys: the root that the report names has the fingerprint that it states, and certified the key that signed it.
func (o *Opened) certify() (note.Verifier, error) {
	r := o.Report
	repository, err := crypto.ParseID(r.Environment.Repository)
	if err != nil {
		return nil, fmt.Errorf("the identifier of its repository: %w", err)
	}
	root, err := crypto.NewVerifier(repository, crypto.Root, r.Signer.Root)
	if err != nil {
		return nil, err
	}
	fingerprint, err := crypto.Fingerprint(r.Signer.Root)
	if err != nil {
		return nil, err
	}
	if fingerprint != r.Environment.Fingerprint {
		return nil, fmt.Errorf("its root key has the fingerprint %s, and the report states %.80q", fingerprint, r.Environment.Fingerprint)
	}
	c, err := crypto.OpenCertificate(root, r.Signer.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate of the key that signed it is not by the root key that it names: %w", err)
	}
	switch {
	case c.Repository != repository:
		return nil, fmt.Errorf("the certificate of the key that signed it is for another repository, %s", c.Repository)
	case c.Key != r.Signer.Key:
		return nil, errors.New("the certificate that it carries is for another key than the one that signed it")
	case c.Role != crypto.Writer && !c.Role.Drills():
		return nil, fmt.Errorf("the key that signed it is certified as %.40q, and must not sign reports", c.Role)
	}
	o.Certificate = c
	return crypto.NewVerifier(repository, c.Role, c.Key)
}

// checkpoint refuses a position of the log for which the signer does not vouch in the form that witnesses keep, too.
func (o *Opened) checkpoint(key note.Verifier) error {
	log := o.Report.Log
	if log.Checkpoint == "" {
		return nil
	}
	n, err := note.Open([]byte(log.Checkpoint), note.VerifierList(key))
	if err != nil {
		return fmt.Errorf("the checkpoint of the log is not signed by the key that signed the report: %w", err)
	}
	if n.Text != fmt.Sprintf("%s\n%d\n%s\n", log.Journal, log.Records, log.Root) {
		return errors.New("the checkpoint of the log is for another position than the report states")
	}
	return nil
}
