// Package bundle is what an auditor takes away: one file with the whole journal, a checkpoint of it, and the reports of the drills, failed ones
// included; and the verification of that file, which needs nothing but itself, the fingerprint of the root and, better, checkpoints that the auditor
// kept. What a report says and how it is signed is in evidence, what a record is in journal. Nothing here reads a repository.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"lifeboat/evidence"
	"lifeboat/journal"
)

// Format is the version of the layout that this version writes, and the only one that it reads.
const Format = 1

// The files of a bundle.
const (
	fileReadme     = "README.txt"
	fileManifest   = "manifest.json"
	fileSignature  = "manifest.sig"
	fileJournal    = "journal/writer.records"
	fileCheckpoint = "checkpoint.txt"
	fileKeys       = "keys.txt"
	fileControls   = "controls.json"
	fileAudit      = "audit.json"
	dirReports     = "reports/"
	dirPolicies    = "policies/"
)

// kind is what a manifest says that it belongs to.
const kind = "lifeboat/evidence-bundle"

// Manifest says what a bundle holds. What it says is compared with the journal, and what the journal cannot tell (Until, Made, By) is the word of the host,
// whose key signs it.
type Manifest struct {
	Kind        string    `json:"kind"`
	Format      int       `json:"format"`
	Repository  string    `json:"repository"`
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since,omitzero"` // reports of the drills from then on are in it; zero: of all
	Until       time.Time `json:"until"`          // what had happened by then is in the journal
	Made        time.Time `json:"made"`
	By          string    `json:"by"`
	Counts      Counts    `json:"counts"`
	// Unavailable is what should be in the bundle, and is not.
	Unavailable []Unavailable `json:"unavailable"`
}

// Counts is how much a bundle holds.
type Counts struct {
	Records  uint64  `json:"records"`
	Drills   Results `json:"drills"` // in the period
	Before   Results `json:"drills_before"`
	Reviews  int     `json:"reviews"` // in the whole journal, as what follows
	Policies int     `json:"policies"`
	Restores int     `json:"restores"`
}

// Results counts drills by what they came to.
type Results struct {
	Total        int `json:"total"`
	Pass         int `json:"pass"`
	Fail         int `json:"fail"`
	Inconclusive int `json:"inconclusive"`
}

// add counts one. A result that is none of the three is in the total only.
func (r *Results) add(result string) {
	r.Total++
	switch evidence.Verdict(result) {
	case evidence.Pass:
		r.Pass++
	case evidence.Fail:
		r.Fail++
	case evidence.Inconclusive:
		r.Inconclusive++
	}
}

// Unavailable is a text that could not be had when the bundle was made.
type Unavailable struct {
	What   string `json:"what"` // report or policy
	SHA256 string `json:"sha256"`
	Record uint64 `json:"record"` // that names it
	Why    string `json:"why"`
}

// What an Unavailable is about.
const (
	whatReport = "report"
	whatPolicy = "policy"
)

// count says how much a journal holds.
func count(c *journal.Chain, since time.Time) Counts {
	out := Counts{Records: c.Len()}
	for i := range c.Entries() {
		e := &c.Entries()[i]
		switch {
		case e.Drill != nil && e.Time.Before(since):
			out.Before.add(e.Drill.Result)
		case e.Drill != nil:
			out.Drills.add(e.Drill.Result)
		case e.Review != nil:
			out.Reviews++
		case e.Policy != nil:
			out.Policies++
		case e.Restore != nil:
			out.Restores++
		}
	}
	return out
}

func reportFile(digest string) string { return dirReports + digest + ".json" }
func policyFile(digest string) string { return dirPolicies + digest + ".json" }

// digestOf is the digest that the name of a file in a directory is made of.
func digestOf(name, dir string) (string, bool) {
	d, ok := strings.CutPrefix(name, dir)
	if !ok {
		return "", false
	}
	d, ok = strings.CutSuffix(d, ".json")
	return d, ok && len(d) == hex.EncodedLen(sha256.Size) && strings.Trim(d, "0123456789abcdef") == ""
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// indented is JSON for people, too.
func indented(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return append(b, '\n'), nil
}

// strictly reads JSON that has no fields but those of v, and nothing behind it.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return fmt.Errorf("something stands behind it")
	}
	return nil
}
