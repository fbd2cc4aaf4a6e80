package bundle

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

// Options are what the auditor brings along.
type Options struct {
	// Trust is the fingerprint of the root that the auditor has from elsewhere. Without it everything can be of anybody's root.
	Trust string
	// Checkpoints are signed checkpoints that the auditor kept: the journal must go on from each of them.
	Checkpoints [][]byte
	// Report is called with each genuine report, in the order of the records, one after the other; nil: with none. Its error ends Verify.
	Report func(*evidence.Opened) error
}

// verifier is one verification under way.
type verifier struct {
	*Result
	o        Options
	a        *archive
	manifest Manifest
	chain    *journal.Chain // as far as it verifies
	whole    bool           // to its end
	certs    []certified
	drills   []drill
	orders   map[string]*order          // by source and host
	policies map[string][]byte          // verified texts by digest
	texts    map[string]map[string]bool // digests of the texts that a policy ever had, by its opaque name
	// forgeries is how many problems were found that make a bundle Forged; not all of them are told.
	forgeries int
}

// Verify verifies a bundle, offline. What is wrong in it is in the Result; an error, which wraps ErrNoBundle, means that it is not even a bundle, or
// comes from Options.Report.
func Verify(r io.ReaderAt, size int64, o Options) (*Result, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	o.Trust = strings.TrimSpace(o.Trust)
	v := &verifier{o: o, a: a, chain: &journal.Chain{}, orders: map[string]*order{}, policies: map[string][]byte{}, texts: map[string]map[string]bool{}, Result: &Result{Kept: []KeptCheckpoint{}, Reports: []ReportResult{}, Due: []DueTime{}, Unverified: []string{}, Problems: []Problem{}}}
	v.listed()
	if err := v.readManifest(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoBundle, fileManifest, err)
	}
	v.readJournal()
	if v.chain.Len() > 0 {
		v.origin()
		v.checkpoints()
		v.compareManifest()
		v.manifestSignature()
		v.keys()
		v.audit()
		v.readPolicies()
		if err := v.readReports(); err != nil {
			return nil, err
		}
		v.reviews()
		v.dueTimes()
	}
	v.explanations()
	v.judge()
	return v.Result, nil
}

// problem adds one about a file.
func (v *verifier) problem(k Kind, record uint64, file, format string, args ...any) {
	if !slices.Contains(missing, k) {
		v.forgeries++
	}
	p := Problem{Kind: k, Record: record, File: file, Text: fmt.Sprintf(format, args...)}
	if v.chain != nil && record > 0 && record <= v.chain.Len() {
		if e := v.chain.Entries()[record-1]; e.Via != nil {
			p.Host = string(e.Via.Host)
			p.Text += fmt.Sprintf(" The drill host %s recorded it.", p.Host)
		}
	}
	v.tell(p)
}

// listed tells of files that do not belong into a bundle.
func (v *verifier) listed() {
	for _, name := range v.a.strange {
		v.problem(ExtraFile, 0, shown(name), "The file %q does not belong into a bundle, and was not looked at.", shown(name))
	}
	for _, name := range v.a.twice {
		v.problem(Malformed, 0, name, "The file %s is in the bundle more than once: programs may show another of them than the one that was verified.", name)
	}
}

// shown is a strange name that can be printed.
func shown(name string) string { return journal.Plain(name) }

// origin compares the root of the journal with the one that the auditor trusts.
func (v *verifier) origin() {
	v.Repository = v.chain.Repository().String()
	fingerprint, err := crypto.Fingerprint(v.chain.RootKey())
	if err != nil {
		v.problem(Origin, 1, fileJournal, "The root key of the journal has no fingerprint: %v.", err)
		return
	}
	v.Fingerprint = fingerprint
	switch {
	case v.o.Trust == "":
	case v.o.Trust != fingerprint:
		v.problem(Origin, 1, fileJournal, "The journal stands under a root key with the fingerprint %s, and you trust %.80s: it is of another repository, or made up.", fingerprint, shown(v.o.Trust))
	default:
		v.Trusted = true
	}
	if v.certs, err = certificates(v.chain); err != nil { // never: the chain has verified them
		v.problem(BadJournal, 0, fileJournal, "The certificates of the journal cannot be read: %v.", err)
	}
}

// explanations looks at the files that prove nothing, and at the keys that are listed for people.
func (v *verifier) explanations() {
	controls, err := indented(evidence.Controls())
	if err != nil {
		controls = nil
	}
	for _, f := range []struct {
		name string
		want []byte
	}{{fileReadme, readme}, {fileControls, controls}} {
		if b, err := v.a.read(f.name); err != nil {
			v.problem(Malformed, 0, f.name, "The file %s cannot be read: %v.", f.name, err)
		} else if !bytes.Equal(b, f.want) {
			v.Unverified = append(v.Unverified, f.name)
		}
	}
}

func (v *verifier) keys() {
	want, err := keysOf(v.chain)
	if err != nil || !v.whole {
		return
	}
	if b, err := v.a.read(fileKeys); err != nil {
		v.problem(Malformed, 0, fileKeys, "The file %s cannot be read: %v.", fileKeys, err)
	} else if !bytes.Equal(b, want) {
		v.problem(BadKeys, 0, fileKeys, "The keys that %s lists are not those of the journal.", fileKeys)
	}
}
