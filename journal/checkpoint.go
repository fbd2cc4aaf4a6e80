package journal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"lifeboat/crypto"
)

// What a checkpoint that somebody kept can tell of a journal. Each wraps ErrBroken.
var (
	// ErrRolledBack is wrapped where the journal has fewer records than it had.
	ErrRolledBack = fmt.Errorf("the journal has fewer records than the checkpoint: it was rolled back or truncated, or this copy is behind: %w", ErrBroken)
	// ErrForked is wrapped where the journal has other records than it had.
	ErrForked = fmt.Errorf("the journal has other records than those of the checkpoint: it was forked or rewritten: %w", ErrBroken)
	// ErrUnsigned is wrapped where no key that ever signed for the journal signed the checkpoint.
	ErrUnsigned = fmt.Errorf("no key of this journal signed the checkpoint: one of the two is forged, or the journal was rolled back to before a take-over: %w", ErrBroken)
)

// maxCheckpoint bounds a checkpoint, in bytes: others may have signed it, too.
const maxCheckpoint = 64 << 10

// ParseChain verifies records that somebody has in memory, from the first on. What they were taken from is not trusted, so the caller compares the
// fingerprint of RootKey. An error wraps ErrBroken, and comes with what could be verified before.
func ParseChain(raws [][]byte) (*Chain, error) {
	c := &Chain{}
	for _, raw := range raws {
		if err := c.Append(raw); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Keys are those of all writers that the root certified for this journal, each once.
func (c *Chain) Keys() (keys []note.Verifier) {
	seen := map[uint32]bool{}
	for _, w := range c.writers {
		if !seen[w.key.KeyHash()] {
			seen[w.key.KeyHash()] = true
			keys = append(keys, w.key)
		}
	}
	return keys
}

// Checkpoint signs that the journal begins with its first n records, as C2SP tlog-checkpoint has it. s is of the key that WriterAfter names for n.
func (c *Chain) Checkpoint(n uint64, s note.Signer) ([]byte, error) {
	if n == 0 || n > c.Len() {
		return nil, fmt.Errorf("sign checkpoint %d: there are %d records", n, c.Len())
	}
	text, err := c.checkpoint(n)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint %d: %w", n, err)
	}
	return signed, nil
}

// Checkpoint is what a signed checkpoint says.
type Checkpoint struct {
	Origin string
	Size   uint64 // records
	Root   tlog.Hash
}

// VerifyCheckpoint verifies that a checkpoint that was kept elsewhere is of the beginning of a journal: that nothing of it was taken away or changed
// since. Errors of what is found wrong wrap ErrRolledBack, ErrForked or ErrUnsigned; others mean that it is no checkpoint of this journal.
func VerifyCheckpoint(c *Chain, signed []byte) (Checkpoint, error) {
	p, n, err := parseCheckpoint(signed, c.Keys())
	if err != nil {
		return p, err
	}
	if want := crypto.KeyName(c.repository, c.Role()); p.Origin != want {
		return p, fmt.Errorf("the checkpoint is of %q, and the journal of %q: it is another repository's", p.Origin, want)
	}
	if p.Size > c.Len() {
		return p, fmt.Errorf("%d records, and %d in the checkpoint: %w", c.Len(), p.Size, ErrRolledBack)
	}
	root, err := c.Root(p.Size)
	if err != nil {
		return p, err
	}
	if root != p.Root {
		return p, fmt.Errorf("the first %d records: %w", p.Size, ErrForked)
	}
	if len(n.Sigs) == 0 {
		return p, ErrUnsigned
	}
	return p, nil
}

// parseCheckpoint reads a checkpoint, and verifies the signatures of these keys; others may stand beside them. Where the note has no signature in Sigs,
// none is by them.
func parseCheckpoint(signed []byte, keys []note.Verifier) (p Checkpoint, n *note.Note, err error) {
	if len(signed) > maxCheckpoint {
		return p, nil, errors.New("read checkpoint: too long")
	}
	n, err = note.Open(signed, note.VerifierList(keys...))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return p, nil, fmt.Errorf("read checkpoint: %w", err)
	}
	lines := strings.SplitN(n.Text, "\n", 4) // what stands behind the third is an extension
	if len(lines) < 4 {
		return p, nil, errors.New("read checkpoint: it has fewer than three lines")
	}
	p.Origin = lines[0]
	if p.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil || p.Size == 0 || strconv.FormatUint(p.Size, 10) != lines[1] {
		return p, nil, fmt.Errorf("read checkpoint: %q is no number of records", lines[1])
	}
	if p.Root, err = parseHash(lines[2]); err != nil {
		return p, nil, fmt.Errorf("read checkpoint: %w", err)
	}
	return p, n, nil
}

func parseHash(s string) (h tlog.Hash, err error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != len(h) || base64.StdEncoding.EncodeToString(b) != s {
		return h, fmt.Errorf("%q is no hash in base64", s)
	}
	copy(h[:], b)
	return h, nil
}

// proofMagic is the first line of a proof: C2SP tlog-proof, version 1.
const proofMagic = "c2sp.org/tlog-proof@v1"

// maxProof bounds a proof, in bytes.
const maxProof = maxCheckpoint + 16<<10

// Prove proves that record seq is among those of a checkpoint of the chain, as C2SP tlog-proof has it: with the record and the writer's key, and
// nothing else of the journal, anybody can verify that. Records count from 1, the index in a proof from 0.
func (c *Chain) Prove(seq uint64, signed []byte) ([]byte, error) {
	p, err := VerifyCheckpoint(c, signed)
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", seq, err)
	}
	if seq == 0 || seq > p.Size {
		return nil, fmt.Errorf("prove record %d: the checkpoint is of %d records: take a later one", seq, p.Size)
	}
	hashes, err := tlog.ProveRecord(int64(p.Size), int64(seq-1), tlog.HashReaderFunc(c.readHashes))
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", seq, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofMagic, seq-1)
	for _, h := range hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(signed)
	return b.Bytes(), nil
}

// VerifyProof verifies that a proof is of the record with these bytes, and that one of keys signed its checkpoint. It returns the record's number and
// the checkpoint. Errors wrap ErrBroken.
func VerifyProof(proof, raw []byte, keys ...note.Verifier) (seq uint64, p Checkpoint, err error) {
	seq, hashes, signed, err := parseProof(proof)
	if err != nil {
		return 0, p, fmt.Errorf("read proof: %w: %w", ErrBroken, err)
	}
	p, n, err := parseCheckpoint(signed, keys)
	switch {
	case err != nil:
		return 0, p, fmt.Errorf("verify proof: %w: %w", ErrBroken, err)
	case len(n.Sigs) == 0:
		return 0, p, fmt.Errorf("verify proof: %w", ErrUnsigned)
	case seq > p.Size:
		return 0, p, fmt.Errorf("verify proof: record %d is not among the %d of its checkpoint: %w", seq, p.Size, ErrBroken)
	}
	if err := tlog.CheckRecord(hashes, int64(p.Size), p.Root, int64(seq-1), tlog.RecordHash(raw)); err != nil {
		return 0, p, fmt.Errorf("verify proof of record %d: %w: %w", seq, ErrBroken, err)
	}
	return seq, p, nil
}

// parseProof takes a proof apart.
func parseProof(b []byte) (seq uint64, hashes tlog.RecordProof, signed []byte, err error) {
	head, signed, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if len(b) > maxProof || !ok || lines[0] != proofMagic {
		return 0, nil, nil, fmt.Errorf("it does not begin with %s", proofMagic)
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:] // whoever wrote it says something, which nothing proves
	}
	if len(lines) == 0 || len(lines) > 64 {
		return 0, nil, nil, errors.New("it has no index, or too many hashes")
	}
	text, ok := strings.CutPrefix(lines[0], "index ")
	index, err := strconv.ParseUint(text, 10, 62)
	if !ok || err != nil || strconv.FormatUint(index, 10) != text {
		return 0, nil, nil, fmt.Errorf("%q is no index", lines[0])
	}
	for _, line := range lines[1:] {
		h, err := parseHash(line)
		if err != nil {
			return 0, nil, nil, err
		}
		hashes = append(hashes, h)
	}
	return index + 1, hashes, signed, nil
}
