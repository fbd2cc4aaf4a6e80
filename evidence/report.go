// Package evidence is what an auditor reads and verifies: the report of a restore drill, the envelope in which it is signed, and the page on which
// people read it. It needs public keys only, no repository, no network and no identity. How a drill is made is in verify.
package evidence

import "time"

// Schema names the version of Report; doc/drill-report.schema.json describes it.
const Schema = "lifeboat/drill-report/1"

// Verdict is what a check, an objective or a whole drill came to.
type Verdict string

// The verdicts. What could not be found out is never a pass.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Worst is what several verdicts come to together; nothing at all is inconclusive.
func Worst(all ...Verdict) Verdict {
	out := Pass
	for _, v := range all {
		if v == Fail {
			return Fail
		}
		if v != Pass {
			out = Inconclusive
		}
	}
	if len(all) == 0 {
		return Inconclusive
	}
	return out
}

// Report is the outcome of one drill. Times are UTC, sizes bytes, durations milliseconds. It holds names of tables, counts and digests, and no
// content of the database but what the policy's own checks select.
type Report struct {
	Schema      string      `json:"schema"`
	ID          string      `json:"id"`
	Issued      time.Time   `json:"issued"`
	Environment Environment `json:"environment"`
	Tool        Tool        `json:"tool"`
	Host        Host        `json:"host"`
	Policy      Policy      `json:"policy"`
	Trigger     Trigger     `json:"trigger"`
	Selection   Selection   `json:"selection"`
	Backup      Backup      `json:"backup"`
	Point       Point       `json:"point"`
	Isolation   Isolation   `json:"isolation"`
	Timeline    []Phase     `json:"timeline"`
	RTO         Objective   `json:"rto"`
	RPO         Objective   `json:"rpo"`
	Projection  *Projection `json:"projection"` // null where nothing was measured
	Trend       []Past      `json:"trend"`      // of the drills before, oldest first
	Checks      []Check     `json:"checks"`
	Errors      []string    `json:"errors"` // in the engine's own words, without secrets
	NotTested   []Limit     `json:"not_tested"`
	Result      Verdict     `json:"result"`
	Findings    []Finding   `json:"findings"`
	Controls    []Control   `json:"controls"`
	Log         Log         `json:"log"`
	Signer      Signer      `json:"signer"`
}

// Environment is what was drilled.
type Environment struct {
	Name        string `json:"name"`       // as the configuration calls the repository
	Repository  string `json:"repository"` // identifier
	Fingerprint string `json:"fingerprint"`
}

// Tool is the program that drilled.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"` // of the binary
}

// Host is where it ran.
type Host struct {
	Name   string `json:"name"`
	System string `json:"system"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory"`
	Clock  string `json:"clock"` // where its time comes from, as far as the system tells
	// IdentityAccepted is set where the backup host itself has an identity, which the policy accepts.
	IdentityAccepted bool `json:"identity_on_backup_host"`
}

// Policy is the rule that the drill serves.
type Policy struct {
	Name     string     `json:"name"`
	Source   string     `json:"source"`
	Owner    string     `json:"owner"`
	Digest   string     `json:"sha256"`   // of the policy as the journal has it
	Text     string     `json:"text"`     // that text
	Schedule string     `json:"schedule"` // five fields; empty: drilled by hand only
	Previous *time.Time `json:"previous"` // drill of the source
	Due      *time.Time `json:"due"`      // that this drill serves; null where somebody asked for it
	Next     *time.Time `json:"next"`
	// Missed are the times at which a drill was due since the previous one and none ran.
	Missed []time.Time `json:"missed"`
}

// Trigger is why it ran.
type Trigger struct {
	Kind   string `json:"kind"` // scheduled or manual
	By     string `json:"by"`   // user and host
	From   string `json:"from"` // address or terminal
	Reason string `json:"reason"`
}

// Selection is how the copy and the point were picked.
type Selection struct {
	Mode       string     `json:"mode"`      // tier1, restore or full
	Algorithm  string     `json:"algorithm"` // latest, random or given
	From       string     `json:"from"`      // rotate, or the target that the policy names
	Window     int64      `json:"window_seconds"`
	Seed       string     `json:"seed"` // 32 hex digits; empty where nothing was drawn
	Population string     `json:"population"`
	Excluded   []Excluded `json:"excluded"`
}

// Excluded is what was not picked from.
type Excluded struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Backup is what was restored.
type Backup struct {
	Engine     string      `json:"engine"`
	Version    string      `json:"version"`
	System     string      `json:"system"` // the cluster, in the engine's words
	Snapshot   string      `json:"snapshot"`
	Kind       string      `json:"kind"`
	Taken      time.Time   `json:"taken"`
	Record     string      `json:"record_sha256"`
	From       string      `json:"log_from"` // positions of the log that was replayed
	To         string      `json:"log_to"`
	LogSize    int64       `json:"log_bytes"`
	Size       int64       `json:"size"`
	Fetched    int64       `json:"fetched"`
	Frames     int         `json:"frames"`
	Copy       Copy        `json:"copy"` // that was read
	Copies     []Copy      `json:"copies"`
	Cipher     string      `json:"cipher"`
	Epochs     []string    `json:"epochs"` // keys that content is sealed to: the first 16 bytes of the SHA-256 of each recipient, hex
	Companions []Companion `json:"companions"`
}

// Companion is another source that was restored with it.
type Companion struct {
	Source   string  `json:"source"`
	Snapshot string  `json:"snapshot"`
	Skew     int64   `json:"skew_ms"` // how much later than the database it was taken
	Files    int     `json:"files"`
	Size     int64   `json:"size"`
	Verdict  Verdict `json:"verdict"`
}

// Copy is one copy of the repository.
type Copy struct {
	Target         string     `json:"target"`
	Place          string     `json:"place"`
	Media          string     `json:"media"`
	Offsite        bool       `json:"offsite"`
	ImmutableUntil *time.Time `json:"immutable_until"`
	Records        uint64     `json:"records"` // of the journal
	LastDrill      *time.Time `json:"last_drill"`
}

// Point is what was to be reached, and what was.
type Point struct {
	Requested string     `json:"requested"`
	Reached   string     `json:"reached"` // position
	Through   *time.Time `json:"through"` // everything committed before is there; null where the engine has no log
	Last      *time.Time `json:"last_transaction"`
	Gaps      []string   `json:"gaps"`
	Verdict   Verdict    `json:"verdict"`
}

// Isolation says how the restored database was kept from everything else, and that nothing was left of it.
type Isolation struct {
	Directory  string   `json:"directory"`
	Separate   bool     `json:"separate_from_source"`
	Network    string   `json:"network"` // none (a namespace of its own), or what it shares and why
	Listening  string   `json:"listening"`
	Archiving  string   `json:"archiving"`
	User       string   `json:"user"`
	Teardown   Verdict  `json:"teardown"`
	TornDown   []string `json:"torn_down"` // what was looked at afterwards
	Processes  int      `json:"processes_left"`
	Files      int      `json:"files_left"`
	Limitation string   `json:"limitation"`
}

// Phase is a stretch of a drill.
type Phase struct {
	Name  string    `json:"name"` // one of the Phase constants
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Bytes int64     `json:"bytes"`
	Note  string    `json:"note"`
}

// The phases. Fetching, decrypting and writing go on at the same time, so they are one.
const (
	PhaseQueue    = "queue"
	PhasePlan     = "plan"
	PhaseRestore  = "restore" // fetch, decrypt, verify and write
	PhaseReplay   = "replay"  // start of the engine until it is ready
	PhaseChecks   = "checks"
	PhaseTeardown = "teardown"
)

// Objective is a promise and what was measured. Durations are milliseconds.
type Objective struct {
	Target  int64   `json:"target_ms"` // 0: none was given
	Actual  int64   `json:"actual_ms"`
	Verdict Verdict `json:"verdict"`
	How     string  `json:"how"`
}

// Projection is how long a restore of production would take, from the slowest copy.
type Projection struct {
	Size       int64   `json:"size"` // of production
	LogSize    int64   `json:"log_bytes"`
	Copy       string  `json:"copy"` // the slowest
	Duration   int64   `json:"duration_ms"`
	Low        int64   `json:"low_ms"`
	High       int64   `json:"high_ms"`
	Model      string  `json:"model"`
	Samples    int     `json:"samples"`
	Error      float64 `json:"error"` // of the model on what was measured, as a share
	Verdict    Verdict `json:"verdict"`
	Assumption string  `json:"assumption"`
}

// Past is an earlier drill of the source.
type Past struct {
	At     time.Time `json:"at"`
	Report string    `json:"report_sha256"`
	Copy   string    `json:"copy"`
	RTO    int64     `json:"rto_ms"`
	RPO    int64     `json:"rpo_ms"`
	Size   int64     `json:"size"`
	Result Verdict   `json:"result"`
}

// Severity is how much a check counts.
type Severity string

// The severities: a warning does not make a drill fail.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
)

// Check is one thing that was looked at in the restored database.
type Check struct {
	ID       string    `json:"id"`   // integrity, inventory, counts, digests, references, freshness, canary, companions, or assertion:NAME
	Kind     string    `json:"kind"` // the first part of ID
	Severity Severity  `json:"severity"`
	What     string    `json:"what"`       // how it was done
	SQL      string    `json:"sql_sha256"` // of the statement; empty where there was none
	Expected string    `json:"expected"`
	Observed string    `json:"observed"`
	Verdict  Verdict   `json:"verdict"`
	Why      string    `json:"why"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Tables   []Table   `json:"tables"` // of counts and digests
}

// Table is what was counted of one table.
type Table struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`
	Expected *int64 `json:"expected_rows"` // null: nothing to compare with
	Exact    bool   `json:"exact"`         // whether the two must be equal
	Digest   string `json:"digest"`        // empty: not computed
	Sampled  bool   `json:"sampled"`       // the digest is of a part of the rows
}

// Limit is something that was not tested.
type Limit struct {
	Code string `json:"code"` // by which it is put into other languages
	Text string `json:"text"`
}

// Finding is something that somebody has to see to.
type Finding struct {
	ID       string     `json:"id"`
	Severity Severity   `json:"severity"`
	Text     string     `json:"text"`
	Owner    string     `json:"owner"`
	Due      *time.Time `json:"due"`
	Retest   string     `json:"retest"` // what shows that it is mended
}

// Control is a clause of a framework, and what of the report is evidence for it. That is no claim of compliance.
type Control struct {
	Framework string   `json:"framework"`
	Clause    string   `json:"clause"`
	About     string   `json:"about"`
	Fields    []string `json:"fields"`
}

// Log is where the journal stood when the report was signed; the record that names the report comes behind it.
type Log struct {
	Journal    string `json:"journal"` // origin, as of its checkpoints
	Records    uint64 `json:"records"`
	Root       string `json:"root"` // of the Merkle tree over them, base64
	Previous   string `json:"previous_report_sha256"`
	Checkpoint string `json:"checkpoint"` // signed; empty where the signer writes no journal
}

// Signer is whose key signs, and the root's word for it.
type Signer struct {
	Key         string `json:"key"` // verifier key
	Root        string `json:"root"`
	Certificate string `json:"certificate"`
}
