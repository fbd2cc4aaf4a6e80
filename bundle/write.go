package bundle

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

// Input is what a bundle is made of.
type Input struct {
	Chain      *journal.Chain
	Checkpoint []byte    // signed, over all records of Chain
	Since      time.Time // the reports of the drills from then on; zero: of all
	Made       time.Time
	By         string // who makes it
	// Sign signs a text with the key that wrote the newest record of Chain: the manifest needs it.
	Sign func(text string) ([]byte, error)
	// Report and Policy return the envelope of the report, and the text of the policy, that a record names by its SHA-256.
	Report, Policy func(journal.Entry) ([]byte, error)
	// ListUnavailable lets a bundle be made although a text cannot be had: the manifest then lists it. The verifier reports each of them.
	ListUnavailable bool
}

// written is the time of every file of a bundle, so that equal input makes equal bytes: the earliest that a zip file can say.
var written = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// UnavailableError is returned where a text that belongs into a bundle cannot be had.
type UnavailableError struct {
	Unavailable
	Host crypto.Role // that recorded it; empty: the writer's
	Err  error
}

func (e *UnavailableError) Error() string {
	by := ""
	if e.Host != "" {
		by = ", which the drill host " + string(e.Host) + " recorded,"
	}
	return fmt.Sprintf("the %s %s of record %d%s cannot be had: %v", e.What, e.SHA256, e.Record, by, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Write writes a bundle as a zip file. Everything in it is what the chain and the texts say; nothing is taken on trust, and what is not what its record
// names is an error. A text that cannot be had is an *UnavailableError unless Input says otherwise.
func Write(w io.Writer, in Input) error {
	p := packer{zip: zip.NewWriter(w), in: in}
	if err := p.pack(); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if err := p.zip.Close(); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

type packer struct {
	zip      *zip.Writer
	in       Input
	manifest Manifest
	packed   map[string]bool
}

func (p *packer) pack() error {
	c := p.in.Chain
	fingerprint, err := crypto.Fingerprint(c.RootKey())
	if err != nil {
		return err
	}
	if err := covers(c, p.in.Checkpoint); err != nil {
		return err
	}
	if err := p.file(fileReadme, readme); err != nil {
		return err
	}
	p.packed = map[string]bool{}
	p.manifest = Manifest{Kind: kind, Format: Format, Repository: c.Repository().String(), Fingerprint: fingerprint, Since: p.in.Since.UTC(), Made: p.in.Made.UTC(), By: p.in.By,
		Until: p.in.Made.UTC(), Counts: count(c, p.in.Since), Unavailable: []Unavailable{}}
	if p.manifest.Until.Before(c.Time()) {
		p.manifest.Until = c.Time().UTC() // the clock of a journal never goes back; that of a host may
	}
	if err := p.texts(); err != nil {
		return err
	}
	audit, err := auditOf(c, p.in.Since)
	if err != nil {
		return err
	}
	keys, err := keysOf(c)
	if err != nil {
		return err
	}
	if err := p.file(fileJournal, records(c)); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		of   any
	}{{fileManifest, p.manifest}, {fileControls, evidence.Controls()}, {fileAudit, audit}} {
		b, err := indented(f.of)
		if err != nil {
			return err
		}
		if err := p.file(f.name, b); err != nil {
			return err
		}
		if f.name != fileManifest {
			continue
		}
		if err := p.sign(b); err != nil {
			return err
		}
	}
	return errors.Join(p.file(fileCheckpoint, p.in.Checkpoint), p.file(fileKeys, keys))
}

// sign adds the signature of the manifest.
func (p *packer) sign(manifest []byte) error {
	if p.in.Sign == nil {
		return errors.New("nobody signs the manifest")
	}
	signed, err := p.in.Sign(signedText(p.in.Chain, manifest))
	if err == nil {
		err = vouches(p.in.Chain, manifest, signed)
	}
	if err != nil {
		return fmt.Errorf("sign the manifest: %w", err)
	}
	return p.file(fileSignature, signed)
}

// texts adds the reports of the period, and the policies of all times: which drills were due in the period may follow from one of long before.
func (p *packer) texts() error {
	for _, e := range p.in.Chain.Entries() {
		var err error
		switch {
		case e.Drill != nil && !e.Time.Before(p.in.Since):
			err = p.text(e, whatReport, e.Drill.Report, reportFile, p.in.Report)
		case e.Policy != nil && e.Policy.Digest != "":
			err = p.text(e, whatPolicy, e.Policy.Digest, policyFile, p.in.Policy)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) text(e journal.Entry, what, named string, file func(string) string, get func(journal.Entry) ([]byte, error)) error {
	if p.packed[file(named)] {
		return nil // a policy that reads as it did before
	}
	p.packed[file(named)] = true
	b, err := get(e)
	if err == nil && digest(b) != named {
		err = fmt.Errorf("it is another text: %w", crypto.ErrDamaged)
	}
	if err == nil {
		return p.file(file(named), b)
	}
	u := Unavailable{What: what, SHA256: named, Record: e.Seq, Why: reason(err)}
	if !p.in.ListUnavailable {
		missing := &UnavailableError{Unavailable: u, Err: err}
		if e.Via != nil {
			missing.Host = e.Via.Host
		}
		return missing
	}
	p.manifest.Unavailable = append(p.manifest.Unavailable, u)
	return nil
}

// reason is why a text cannot be had, without what an error may say of this machine.
func reason(err error) string {
	switch {
	case errors.Is(err, crypto.ErrIdentity):
		return "no identity that opens it was at hand"
	case errors.Is(err, crypto.ErrDamaged):
		return "it is damaged"
	case errors.Is(err, fs.ErrNotExist):
		return "no copy has it"
	}
	return "it could not be read"
}

func (p *packer) file(name string, b []byte) error {
	w, err := p.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: written})
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// records is the journal: for each record a line with its number and its length, and its bytes as they were signed.
func records(c *journal.Chain) []byte {
	var b bytes.Buffer
	for _, e := range c.Entries() {
		fmt.Fprintf(&b, "%d %d\n", e.Seq, len(e.Raw))
		b.Write(e.Raw)
	}
	return b.Bytes()
}
