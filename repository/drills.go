package repository

import (
	"context"
	"encoding/base64"
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
	Entry *journal.Entry // nil: it is not recorded yet
}

// WaitingDrills are those that wait on this host to be recorded. Whoever reads them before the journal misses none that is recorded meanwhile.
func WaitingDrills(stateDir string) (out []Drilled) {
	names, err := entriesOf(filepath.Join(stateDir, outboxDir))
	if err != nil {
		return nil // what cannot be read is told by whoever records it
	}
	for _, name := range names {
		if n, err := readNoted(filepath.Join(stateDir, outboxDir, name)); err == nil && n.Record.Drill != nil {
			out = append(out, Drilled{n.Record.Drill, *n.Record.Happened, nil})
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
		d := Drilled{e.Drill, e.Time, e}
		if e.Happened != nil {
			d.At = *e.Happened
		}
		recorded[e.Drill.Report] = true
		out = append(out, d)
	}
	for _, d := range waiting {
		if !recorded[d.Report] {
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

// SignReport says in a report where the journal stands and who signs it, signs it with the key of the host whose state directory this is, and keeps it there.
func SignReport(stateDir string, chain *journal.Chain, r *evidence.Report) ([]byte, error) {
	h := &Host{Config: Config{StateDir: stateDir}}
	if err := h.load(); err != nil {
		return nil, err
	}
	if err := h.completeReport(chain, r); err != nil {
		return nil, fmt.Errorf("sign the report: %w", err)
	}
	envelope, err := evidence.Sign(r, h.secrets.SigningSeed)
	if err != nil {
		return nil, err
	}
	if _, err := evidence.Open(envelope, ""); err != nil {
		return nil, fmt.Errorf("sign the report: our own check: %w", err)
	}
	return envelope, keepReport(stateDir, envelope)
}

func (h *Host) completeReport(chain *journal.Chain, r *evidence.Report) (err error) {
	repository := h.secrets.Repository
	fingerprint, err := crypto.Fingerprint(h.secrets.RootKey)
	if err != nil {
		return err
	}
	r.Environment.Repository, r.Environment.Fingerprint = repository.String(), fingerprint
	r.Signer.Root = h.secrets.RootKey
	if r.Signer.Key, err = crypto.VerifierKey(repository, crypto.Writer, h.secrets.SigningSeed); err != nil {
		return err
	}
	for _, e := range chain.Entries() {
		switch {
		case e.Init != nil:
			r.Signer.Certificate = e.Init.Certificate
		case e.Takeover != nil:
			r.Signer.Certificate = e.Takeover.Certificate
		}
	}
	signer, err := crypto.NewSigner(repository, crypto.Writer, h.secrets.SigningSeed)
	if err != nil {
		return err
	}
	root, err := chain.Root(chain.Len())
	if err != nil {
		return err
	}
	l := &r.Log
	l.Journal, l.Records, l.Root = crypto.KeyName(repository, crypto.Writer), chain.Len(), base64.StdEncoding.EncodeToString(root[:])
	checkpoint, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.Journal, l.Records, l.Root)}, signer)
	l.Checkpoint = string(checkpoint)
	return err
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
