package repository

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/catalog"
	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
)

// reportsDir holds the reports of the drills that this host made, for people without an identity.
const reportsDir = "reports"

// Drilled is a drill that was made.
type Drilled struct {
	*journal.DrillBody
	At    time.Time
	Entry *journal.Entry // nil: the writer has not recorded it yet
	Host  crypto.Role    // drill host that made it; empty: the writer's
}

// WaitingDrills are those that wait on this host to be recorded, or on a drill host that may not be entered yet. Whoever reads them before the journal misses
// none that is recorded meanwhile.
func WaitingDrills(stateDir string) (out []Drilled) {
	var host crypto.Role
	if s, err := drillSecrets(stateDir); err == nil {
		host = s.Role
		defer func() { out = append(ownDrills(stateDir), out...) }() // read last: what is recorded leaves the outbox
	}
	names, err := entriesOf(filepath.Join(stateDir, outboxDir))
	if err != nil {
		return nil // what cannot be read is told by whoever records it
	}
	for _, name := range names {
		if n, err := readNoted(filepath.Join(stateDir, outboxDir, name)); err == nil && n.Record.Drill != nil {
			out = append(out, Drilled{DrillBody: n.Record.Drill, At: *n.Record.Happened, Host: host})
		}
	}
	return out
}

// Drills lists the drills that are known: those of the journal, and behind them those that wait to be recorded.
func Drills(chain *journal.Chain, waiting []Drilled) (out []Drilled) {
	recorded := map[string]bool{}
	for i := range chain.Entries() {
		e := &chain.Entries()[i]
		if e.Drill == nil {
			continue
		}
		d := Drilled{DrillBody: e.Drill, At: e.When(), Entry: e}
		if e.Via != nil {
			d.Host = e.Via.Host
		}
		recorded[e.Drill.Report] = true
		out = append(out, d)
	}
	for _, d := range waiting {
		if !recorded[d.Report] {
			recorded[d.Report] = true
			out = append(out, d)
		}
	}
	return out
}

// KnownChain is the journal as the state directory knows it, without asking a target.
func KnownChain(stateDir string) (*journal.Chain, error) {
	h := &Host{Config: Config{StateDir: stateDir}}
	if err := h.load(); err != nil {
		return nil, err
	}
	head, err := journal.ReadHead(stateDir)
	if err != nil {
		return nil, err
	}
	raws, err := catalog.New(filepath.Join(stateDir, catalogFile), h.keys.IDs).Records()
	if err != nil {
		return nil, fmt.Errorf("read the journal from the catalog: %w", err)
	}
	if c := reach(raws, head); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("the catalog does not hold the journal: the next backup makes it anew: %w", fs.ErrNotExist)
}

// SignReport says in a report where the writer's journal stands and who signs, signs it with the key of the host whose state directory this is, and keeps it there.
func SignReport(stateDir string, chain *journal.Chain, r *evidence.Report) ([]byte, error) {
	s, err := reporterOf(stateDir, chain)
	if err == nil {
		err = s.complete(chain, r)
	}
	if err != nil {
		return nil, fmt.Errorf("sign the report: %w", err)
	}
	envelope, err := evidence.Sign(r, s.seed)
	if err != nil {
		return nil, err
	}
	if _, err := evidence.Open(envelope, ""); err != nil {
		return nil, fmt.Errorf("sign the report: our own check: %w", err)
	}
	return envelope, keepReport(stateDir, envelope)
}

// reporter is a key that signs reports.
type reporter struct {
	repository        crypto.ID
	root, certificate string
	role              crypto.Role
	seed              []byte
}

func reporterOf(stateDir string, chain *journal.Chain) (reporter, error) {
	d, err := drillSecrets(stateDir)
	if err == nil {
		s := reporter{d.Repository, d.RootKey, d.Certificate, d.Role, d.SigningSeed}
		if known := chain.DrillHost(d.Role); known != nil {
			s.certificate = known.Certificate
		}
		return s, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return reporter{}, err
	}
	h := &Host{Config: Config{StateDir: stateDir}}
	if err := h.load(); err != nil {
		return reporter{}, err
	}
	s := reporter{repository: h.secrets.Repository, root: h.secrets.RootKey, role: crypto.Writer, seed: h.secrets.SigningSeed}
	for _, e := range chain.Entries() {
		switch {
		case e.Init != nil:
			s.certificate = e.Init.Certificate
		case e.Takeover != nil:
			s.certificate = e.Takeover.Certificate
		}
	}
	return s, nil
}

func (s reporter) complete(chain *journal.Chain, r *evidence.Report) (err error) {
	r.Environment.Repository = s.repository.String()
	if r.Environment.Fingerprint, err = crypto.Fingerprint(s.root); err != nil {
		return err
	}
	r.Signer.Root, r.Signer.Certificate = s.root, s.certificate
	if r.Signer.Key, err = crypto.VerifierKey(s.repository, s.role, s.seed); err != nil {
		return err
	}
	signer, err := crypto.NewSigner(s.repository, s.role, s.seed)
	if err != nil {
		return err
	}
	root, err := chain.Root(chain.Len())
	if err != nil {
		return err
	}
	l := &r.Log
	l.Journal, l.Records, l.Root = crypto.KeyName(s.repository, crypto.Writer), chain.Len(), base64.StdEncoding.EncodeToString(root[:])
	checkpoint, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.Journal, l.Records, l.Root)}, signer)
	l.Checkpoint = string(checkpoint)
	return err
}

// Role is that under which the host of a state directory acts.
func Role(stateDir string) crypto.Role {
	if s, err := drillSecrets(stateDir); err == nil {
		return s.Role
	}
	return ""
}

// Prefixes of what stands in public records beside names of sources.
const (
	OpaquePolicy = "policy/"
	OpaqueTarget = "target/"
)

// keepReport keeps an envelope in plain in the state directory, which only its owner can read.
func keepReport(stateDir string, envelope []byte) error {
	dir := filepath.Join(stateDir, reportsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	return atomicfile.Write(filepath.Join(dir, evidence.Digest(envelope)+".json"), envelope, 0o600)
}

// ReadReport is the envelope of a drill's report: from this host if it made it, or else from the repository, with the identities that Unlock had.
func (r *Reader) ReadReport(ctx context.Context, stateDir string, d Drilled) ([]byte, error) {
	b, err := OwnReport(stateDir, d.Report)
	if err != nil && d.Entry != nil {
		return r.Document(ctx, *d.Entry)
	}
	return b, err
}

// OwnReport is the envelope of a report that this host made.
func OwnReport(stateDir, digest string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(stateDir, reportsDir, digest+".json"))
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	if evidence.Digest(b) != digest {
		return nil, fmt.Errorf("read the report %s: it was changed: %w", digest, crypto.ErrDamaged)
	}
	return b, nil
}
