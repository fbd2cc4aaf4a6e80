package bundle

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/journal"
)

// signedText is what the writer signs of a manifest. No record and no checkpoint begins like it.
func signedText(c *journal.Chain, manifest []byte) string {
	return fmt.Sprintf("lifeboat bundle %d\n%s\n%s\n", Format, digest(manifest), crypto.KeyName(c.Repository(), crypto.Writer))
}

// vouches checks that the key which wrote the newest record signed a manifest: when it ends, who made it and when, only that key can say.
func vouches(c *journal.Chain, manifest, signed []byte) error {
	key, err := c.WriterAfter(c.Len())
	if err != nil {
		return err
	}
	n, err := note.Open(signed, note.VerifierList(key))
	if err != nil {
		return fmt.Errorf("it is not signed by the key that wrote the newest record: %w", err)
	}
	if n.Text != signedText(c, manifest) {
		return fmt.Errorf("what was signed is another manifest")
	}
	return nil
}

// manifestSignature verifies the signature of the manifest, whose period nothing else proves.
func (v *verifier) manifestSignature() {
	if !v.whole {
		return // which key must have signed it cannot be told
	}
	manifest, err := v.a.read(fileManifest)
	if err == nil {
		var signed []byte
		if signed, err = v.a.read(fileSignature); err == nil {
			err = vouches(v.chain, manifest, signed)
		}
	}
	if err != nil {
		v.problem(BadSignature, 0, fileSignature, "The signature of the manifest does not count: %v. Its period, and who made it when, may be anybody's invention.", err)
	}
}

// readManifest reads what the bundle says of itself; whether that is so is for compareManifest and manifestSignature.
func (v *verifier) readManifest() error {
	b, err := v.a.read(fileManifest)
	if err != nil {
		return err
	}
	if err := strictly(b, &v.manifest); err != nil {
		return err
	}
	if v.manifest.Kind != kind || v.manifest.Format != Format {
		return fmt.Errorf("it is a %.60q of format %d, and this version of lifeboat reads %q of format %d", v.manifest.Kind, v.manifest.Format, kind, Format)
	}
	m := v.manifest
	v.Made, v.By, v.Period = m.Made, journal.Plain(m.By), Period{Since: m.Since, Until: m.Until}
	return nil
}

// compareManifest holds what the manifest says against the journal.
func (v *verifier) compareManifest() {
	m := v.manifest
	v.Counts = count(v.chain, m.Since)
	tell := func(format string, args ...any) { v.problem(BadManifest, 0, fileManifest, format, args...) }
	if m.Repository != v.Repository || m.Fingerprint != v.Fingerprint {
		tell("The manifest is of repository %.40q with the fingerprint %.40q, and the journal is of %s with %s.", m.Repository, m.Fingerprint, v.Repository, v.Fingerprint)
	}
	if v.whole && m.Counts != v.Counts {
		tell("The manifest counts %+v, and the journal holds %+v.", m.Counts, v.Counts)
	}
	if m.Until.Before(v.chain.Time()) {
		tell("The manifest ends the period at %s, and the journal has a record of %s.", m.Until.Format(time.RFC3339), v.chain.Time().Format(time.RFC3339))
		v.Period.Until = v.chain.Time()
	}
	if m.Until.After(m.Made) && m.Until.After(v.chain.Time()) { // the clock of the host may be behind that of the journal
		tell("The manifest ends the period at %s, and the bundle was made at %s: nobody can vouch for what was to come.", m.Until.Format(time.RFC3339), m.Made.Format(time.RFC3339))
		v.Period.Until = latest(m.Made, v.chain.Time())
	}
	if m.Since.After(m.Until) {
		tell("The manifest begins the period at %s, behind its end: no drill can be in it.", m.Since.Format(time.RFC3339))
	}
	named := map[string]bool{}
	for _, e := range v.chain.Entries() {
		if d, ok := e.Document(); ok {
			named[d] = true
		}
	}
	for _, u := range m.Unavailable {
		if u.What != whatReport && u.What != whatPolicy || !named[u.SHA256] {
			tell("The manifest says that the %.20q %.64q is not available, and no record names it.", u.What, u.SHA256)
		}
	}
}

// unavailable finds what the manifest says of a text that is not in the bundle.
func (v *verifier) unavailable(what, digest string) (why string, ok bool) {
	i := slices.IndexFunc(v.manifest.Unavailable, func(u Unavailable) bool { return u.What == what && u.SHA256 == digest })
	if i < 0 {
		return "", false
	}
	return journal.Plain(v.manifest.Unavailable[i].Why), true
}
