package bundle

import (
	"fmt"
	"slices"
	"time"

	"lifeboat/evidence"
)

// Verdict is what a bundle came to.
type Verdict string

// The verdicts.
const (
	Verified   Verdict = "verified"
	Incomplete Verdict = "incomplete" // genuine, and some evidence is missing or not as it should be
	Forged     Verdict = "forged"     // something was changed, or contradicts something else
)

// Kind is what a problem is about.
type Kind string

// The kinds of problems. The first group makes a bundle Forged, the second Incomplete.
const (
	Malformed      Kind = "malformed"          // a file is missing, there twice, or cannot be read
	ExtraFile      Kind = "extra-file"         // a file that does not belong into a bundle
	Origin         Kind = "origin"             // another root than the trusted one
	BadManifest    Kind = "manifest"           // it does not say what the journal says
	BadSignature   Kind = "manifest-signature" // the writer did not sign the manifest
	BadJournal     Kind = "journal"            // a record was altered, or is not signed by who may
	BadCheckpoint  Kind = "checkpoint"         // the bundle's own does not verify
	Truncated      Kind = "truncated"          // the bundle's own checkpoint covers more records than it has
	RolledBack     Kind = "rolled-back"        // a checkpoint that the auditor kept covers more records
	Forked         Kind = "forked"             // other records stand where a checkpoint or a report saw some
	BadKept        Kind = "kept-checkpoint"    // a checkpoint that the auditor kept is not one of this journal
	BadKeys        Kind = "keys"
	BadAudit       Kind = "audit"
	ReportLeftOut  Kind = "report-left-out"
	ReportAltered  Kind = "report-altered"
	ReportSwapped  Kind = "report-swapped"
	ReportForged   Kind = "report-forged"
	ReportExtra    Kind = "report-extra"
	ReportRecord   Kind = "report-record"   // it says something else than its record
	ReportLog      Kind = "report-log"      // its place in the log is impossible
	ReportPrevious Kind = "report-previous" // the one before it is none that the journal has
	ReportTwice    Kind = "report-twice"    // two sources have reports with one ID
	PolicyLeftOut  Kind = "policy-left-out"
	PolicyAltered  Kind = "policy-altered"
	PolicyExtra    Kind = "policy-extra"

	ReportUnavailable Kind = "report-unavailable" // and the manifest says so
	PolicyUnavailable Kind = "policy-unavailable"
	PolicyUnknown     Kind = "policy-unknown" // a drill went by a policy that the journal does not have
	DrillMissed       Kind = "drill-missed"   // was due, was not made, and nobody said so
	BadReview         Kind = "review"         // of no known report, or by who ran the drill
	OutOfOrder        Kind = "out-of-order"   // a report names another drill before it than the journal has there
	ReportedTwice     Kind = "reported-twice" // two records are of one drill
)

// missing are the kinds of problems that leave what is there genuine.
var missing = []Kind{ReportUnavailable, PolicyUnavailable, PolicyUnknown, DrillMissed, BadReview, OutOfOrder, ReportedTwice}

// Problem is one thing that is not as it should be.
type Problem struct {
	Kind   Kind   `json:"kind"`
	Record uint64 `json:"record,omitempty"`
	File   string `json:"file,omitempty"`
	Host   string `json:"host,omitempty"` // drill host whose word it is about; empty: the writer's
	Text   string `json:"text"`           // a sentence for people
}

// Result is what the verification of a bundle found.
type Result struct {
	Verdict Verdict `json:"verdict"`
	// Trusted is set where the root has the fingerprint that the auditor brought along. Otherwise everything is only consistent in itself.
	Trusted     bool             `json:"origin_verified"`
	Repository  string           `json:"repository"`
	Fingerprint string           `json:"fingerprint"`
	Period      Period           `json:"period"`
	Counts      Counts           `json:"counts"` // from the journal
	Head        string           `json:"head_sha256"`
	HeadTime    time.Time        `json:"head_time"` // of the newest record
	Root        string           `json:"merkle_root"`
	Made        time.Time        `json:"made"` // as the manifest says, which the host signed
	By          string           `json:"by"`
	Kept        []KeptCheckpoint `json:"checkpoints"` // that the auditor kept
	Reports     []ReportResult   `json:"reports"`     // of the drills in the period and others that are there, in order of their records
	Due         []DueTime        `json:"due"`
	Unverified  []string         `json:"unverified_files"` // that explain, and prove nothing
	Problems    []Problem        `json:"problems"`
}

// Period is the time for which a bundle is evidence.
type Period struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// KeptCheckpoint is a checkpoint that the auditor kept.
type KeptCheckpoint struct {
	Records uint64 `json:"records"`
	Agrees  bool   `json:"agrees"` // the journal goes on from it
}

// ReportResult is a drill of the journal and its report. Durations are milliseconds.
type ReportResult struct {
	SHA256   string             `json:"report_sha256"`
	Record   uint64             `json:"record"`
	At       time.Time          `json:"at"`
	Result   string             `json:"result"`   // as the record says
	Verified bool               `json:"verified"` // the report is there, genuine, and says what the record says
	ID       string             `json:"id,omitempty"`
	Policy   string             `json:"policy"`
	Source   string             `json:"source"`
	Host     string             `json:"host"` // writer, or the role of the drill host that made it
	Mode     string             `json:"mode"`
	Trigger  string             `json:"trigger,omitempty"`
	Due      *time.Time         `json:"due"`
	RTO      evidence.Objective `json:"rto"`
	RPO      evidence.Objective `json:"rpo"`
	Reviews  []ReviewResult     `json:"reviews"`
}

// ReviewResult says who read a report.
type ReviewResult struct {
	Record uint64    `json:"record"`
	By     string    `json:"by"`
	As     string    `json:"as"`
	At     time.Time `json:"at"`
	Note   string    `json:"note"`
}

// maxProblems is how many problems of one kind are told.
const maxProblems = 1000

// tell adds a problem.
func (r *Result) tell(p Problem) {
	n := 0
	for _, q := range r.Problems {
		if q.Kind == p.Kind {
			n++
		}
	}
	switch {
	case n == maxProblems:
		p = Problem{Kind: p.Kind, Text: fmt.Sprintf("There are more than %d problems of this kind; the others are not told.", maxProblems)}
	case n > maxProblems:
		return
	}
	r.Problems = append(r.Problems, p)
}

// judge draws the conclusion.
func (r *Result) judge() {
	r.Verdict = Verified
	for _, p := range r.Problems {
		if !slices.Contains(missing, p.Kind) {
			r.Verdict = Forged
			return
		}
		r.Verdict = Incomplete
	}
}

// Has reports whether a problem of a kind was found.
func (r *Result) Has(k Kind) bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Kind == k })
}
