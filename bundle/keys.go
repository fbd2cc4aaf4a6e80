package bundle

import (
	"bytes"
	_ "embed"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/journal"
)

// readme is for whoever opens a bundle without having heard of it. It is the same in every bundle.
//
//go:embed readme.txt
var readme []byte

// certified is a key, and the record from which it counts.
type certified struct {
	seq  uint64
	note string // the certificate
	crypto.Certificate
}

// certificates are the root's words that a verified journal holds, in order.
func certificates(c *journal.Chain) (out []certified, err error) {
	root, err := crypto.NewVerifier(c.Repository(), crypto.Root, c.RootKey())
	if err != nil {
		return nil, err
	}
	for _, e := range c.Entries() {
		text := ""
		switch {
		case e.Init != nil && e.Type == journal.Init:
			text = e.Init.Certificate
		case e.Takeover != nil && e.Type == journal.Takeover:
			text = e.Takeover.Certificate
		case e.Certify != nil && e.Type == journal.Certify:
			text = e.Certify.Certificate
		default:
			continue
		}
		cert, err := crypto.OpenCertificate(root, text)
		if err != nil {
			return nil, fmt.Errorf("certificate of record %d: %w", e.Seq, err)
		}
		out = append(out, certified{e.Seq, text, cert})
	}
	return out, nil
}

// inForce is the certificate of the writer that counts while a record is the newest.
func inForce(all []certified, seq uint64) (out certified) {
	for _, c := range all {
		if c.Role == crypto.Writer && c.seq <= seq {
			out = c
		}
	}
	return out
}

// keysOf lists the public keys of a journal for people.
func keysOf(c *journal.Chain) ([]byte, error) {
	fingerprint, err := crypto.Fingerprint(c.RootKey())
	if err != nil {
		return nil, err
	}
	all, err := certificates(c)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "repository %s\nroot %s\nfingerprint %s\n", c.Repository(), c.RootKey(), fingerprint)
	for _, k := range all {
		what := "the first key of the writer"
		switch {
		case k.Role != crypto.Writer:
			what = "the key of " + string(k.Role)
		case k.seq > 1 && c.Rotated(k.seq):
			what = "a new epoch, the same key of the writer"
		case k.seq > 1:
			what = "a new key of the writer"
		}
		fmt.Fprintf(&b, "\nrecord %d: %s\n%s", k.seq, what, k.note)
	}
	for _, h := range c.DrillHosts() {
		if h.Revoked > 0 {
			fmt.Fprintf(&b, "\nrecord %d: the key of %s was revoked\n%s", h.Revoked, h.Role, c.Entries()[h.Revoked-1].Revoke.Revocation)
		}
	}
	return b.Bytes(), nil
}

// checkpointOf is the text of a checkpoint over the first records of a journal.
func checkpointOf(c *journal.Chain, size uint64) (string, error) {
	root, err := c.Root(size)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s\n%d\n%s\n", crypto.KeyName(c.Repository(), crypto.Writer), size, root), nil
}

// covers checks that a checkpoint is the signed one over exactly the records of a journal.
func covers(c *journal.Chain, signed []byte) error {
	key, err := c.WriterAfter(c.Len())
	if err != nil {
		return err
	}
	n, err := note.Open(signed, note.VerifierList(key))
	if err != nil {
		return fmt.Errorf("the checkpoint is not signed by the key that wrote the newest record: %w", err)
	}
	want, err := checkpointOf(c, c.Len())
	if err != nil {
		return err
	}
	if n.Text != want {
		return fmt.Errorf("the checkpoint is not that of these %d records", c.Len())
	}
	return nil
}
