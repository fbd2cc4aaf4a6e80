package journal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"lifeboat/crypto"
)

// Chain verifies records one after another and keeps what they say. The zero Chain awaits record 1 of a repository; DrillChain makes one for a drill host.
type Chain struct {
	role       crypto.Role // of a drill host; empty: the writer's
	base       string      // what Prev of the first record must be
	entries    []Entry
	hashes     []tlog.Hash // of the Merkle tree over the entries, as tlog stores them
	repository crypto.ID
	root       note.Verifier
	rootKey    string
	writer     note.Verifier
	writers    []from // all of them, in order
	epochs     []string
	hosts      []*DrillHost // that were certified; each is replaced and never changed
}

// from is a key and the first record that it signs.
type from struct {
	seq uint64
	key note.Verifier
}

// Clone is a chain that grows without the other.
func (c *Chain) Clone() *Chain {
	out := *c
	out.entries, out.hashes, out.hosts = slices.Clip(c.entries), slices.Clip(c.hashes), nil
	for _, h := range c.hosts {
		own := *h
		own.Chain = h.Chain.Clone()
		out.hosts = append(out.hosts, &own)
	}
	return &out
}

// WriterAfter is the key of who wrote while record seq was the newest: it signed what was captured then, also where the next record is a take-over. Of a record that
// the chain does not have yet, because log gets to a copy before it, it is the newest key.
func (c *Chain) WriterAfter(seq uint64) (note.Verifier, error) {
	if seq == 0 || c.Len() == 0 {
		return nil, fmt.Errorf("no record %d: %w", seq, ErrBroken)
	}
	key := c.writers[0].key
	for _, w := range c.writers {
		if w.seq <= seq {
			key = w.key
		}
	}
	return key, nil
}

// Rotated reports whether the take-over of record seq kept the key of its writer: then only the epoch is new.
func (c *Chain) Rotated(seq uint64) bool {
	for i, w := range c.writers {
		if w.seq == seq && i > 0 {
			return w.key.KeyHash() == c.writers[i-1].key.KeyHash()
		}
	}
	return false
}

// Len is the number of verified records, which is also the number of the newest.
func (c *Chain) Len() uint64 { return uint64(len(c.entries)) }

// Entries returns the verified records in order. The caller does not change them.
func (c *Chain) Entries() []Entry { return c.entries }

// Head is the hash of the newest record. Before the first it is empty, or for a drill host the hash of its certificate.
func (c *Chain) Head() string {
	if len(c.entries) == 0 {
		return c.base
	}
	return Hash(c.entries[len(c.entries)-1].Raw)
}

// Repository is the identifier that record 1 carries.
func (c *Chain) Repository() crypto.ID { return c.repository }

// RootKey is the verifier key of the root that record 1 names. Whether it is the right one only its fingerprint tells.
func (c *Chain) RootKey() string { return c.rootKey }

// Time is the time of the newest record.
func (c *Chain) Time() time.Time {
	if len(c.entries) == 0 {
		return time.Time{}
	}
	return c.entries[len(c.entries)-1].Time
}

// Indexes lists the digests of the current index objects.
func (c *Chain) Indexes() []string {
	for i := len(c.entries) - 1; i >= 0; i-- {
		if x := c.entries[i].Indexes; x != nil {
			return x
		}
	}
	return nil
}

// Snapshots returns the snapshots that were not dropped, oldest first.
func (c *Chain) Snapshots() []Entry {
	dropped := map[uint64]bool{}
	for _, e := range c.entries {
		if e.Drop != nil {
			for _, seq := range e.Drop.Seqs() {
				dropped[seq] = true
			}
		}
	}
	var out []Entry
	for _, e := range c.entries {
		if e.Snapshot != nil && !dropped[e.Seq] {
			out = append(out, e)
		}
	}
	return out
}

// Holds returns the records of the holds that were not released, oldest first.
func (c *Chain) Holds() []Entry {
	var out []Entry
	for _, e := range c.entries {
		if e.Hold != nil {
			out = append(out, e)
		}
		if e.Release != nil {
			out = slices.DeleteFunc(out, func(h Entry) bool { return h.Seq == e.Release.Hold })
		}
	}
	return out
}

// Append verifies that raw is the next record and takes it in. Errors wrap ErrBroken, and leave the chain as it was.
func (c *Chain) Append(raw []byte) error {
	var r Record
	if err := c.parse(raw, &r); err != nil {
		return fmt.Errorf("record %d: %w: %w", c.Len()+1, ErrBroken, err)
	}
	next := *c
	if err := next.admit(raw, &r); err != nil {
		return fmt.Errorf("record %d: %w: %w", c.Len()+1, ErrBroken, err)
	}
	hashes, err := tlog.StoredHashes(int64(c.Len()), raw, tlog.HashReaderFunc(c.readHashes))
	if err != nil {
		return fmt.Errorf("hash record %d: %w", c.Len()+1, err)
	}
	*c = next
	c.entries, c.hashes = append(c.entries, Entry{r, raw}), append(c.hashes, hashes...)
	return nil
}

// parse reads the record before its signature is verified: the key may be in it.
func (c *Chain) parse(raw []byte, r *Record) error {
	if len(raw) > maxRecord {
		return errors.New("too long")
	}
	_, err := note.Open(raw, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return fmt.Errorf("not a signed note: %w", err)
	}
	if err := json.Unmarshal([]byte(unverified.Note.Text), r); err != nil {
		return fmt.Errorf("not a record: %w", err)
	}
	if r.Format != 1 {
		return fmt.Errorf("format %d is newer than this version of lifeboat reads: install a newer one", r.Format)
	}
	return nil
}

// admit checks everything about r and moves the keys forward where r changes them.
func (c *Chain) admit(raw []byte, r *Record) error {
	if r.Seq != c.Len()+1 {
		return fmt.Errorf("it says that it is record %d", r.Seq)
	}
	if r.Prev != c.Head() {
		return errors.New("it does not follow the record before it")
	}
	if err := c.allow(r); err != nil {
		return err
	}
	if r.Time.Before(c.Time()) && r.Type != Clock {
		return errors.New("its time goes back")
	}
	n, err := note.Open(raw, note.VerifierList(c.writer))
	if err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	if err := canonical(raw, n); err != nil {
		return err
	}
	if c.role != "" {
		if err := r.spelled(n.Text); err != nil {
			return err
		}
	}
	return r.Check()
}

// allow checks what r may say where it stands, and moves the keys forward where it changes them.
func (c *Chain) allow(r *Record) error {
	switch {
	case c.role != "":
		return c.allowDrillHost(r)
	case r.Seq == 1:
		return c.found(r)
	case r.Repository != c.repository:
		return errOtherRepository
	case r.Type == Takeover && r.Takeover == nil:
		return errNoDetails
	case r.Type == Takeover:
		return c.certify(r.Takeover.Certificate, r.Seq)
	}
	return c.allowHosts(r)
}

var errOtherRepository = errors.New("it belongs to another repository")

// canonical refuses what a signature does not cover: other signatures, and other spellings of the same one. Otherwise
// anyone could give the newest record other bytes that verify.
func canonical(raw []byte, n *note.Note) error {
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return errors.New("it does not have exactly one signature")
	}
	s := n.Sigs[0]
	sig, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	if want := n.Text + "\n— " + s.Name + " " + base64.StdEncoding.EncodeToString(sig) + "\n"; string(raw) != want {
		return errors.New("its signature is not in canonical form")
	}
	return nil
}

func (c *Chain) found(r *Record) error {
	if r.Type != Init || r.Init == nil || r.Repository.IsZero() {
		return errors.New("it does not found a repository")
	}
	root, err := crypto.NewVerifier(r.Repository, crypto.Root, r.Init.Root)
	if err != nil {
		return err
	}
	c.repository, c.root, c.rootKey = r.Repository, root, r.Init.Root
	return c.certify(r.Init.Certificate, 1)
}

func (c *Chain) certify(certificate string, first uint64) error {
	cert, err := crypto.OpenCertificate(c.root, certificate)
	if err != nil {
		return err
	}
	if cert.Repository != c.repository || cert.Role != crypto.Writer || cert.From != first {
		return errOtherCertificate
	}
	if _, err := age.ParseHybridRecipient(cert.Epoch); err != nil {
		return fmt.Errorf("its certificate names no epoch: %w", err)
	}
	if !slices.Contains(c.epochs, cert.Epoch) {
		c.epochs = append(slices.Clone(c.epochs), cert.Epoch)
	}
	if c.writer, err = crypto.NewVerifier(c.repository, crypto.Writer, cert.Key); err != nil {
		return err
	}
	c.writers = append(slices.Clip(c.writers), from{cert.From, c.writer})
	return nil
}

// Epochs lists the recipients that the root certified content to be sealed to, the present one last.
func (c *Chain) Epochs() []string { return c.epochs }
