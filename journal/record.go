// Package journal is the signed, numbered, chained list of what happened to a repository: the commit point of every
// snapshot, the audit log and the evidence, in one. What a record's objects mean is not its business.
package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/target"
)

// Type says what a record is about.
type Type string

// The types of records that this version writes.
const (
	Init     Type = "init"
	Snapshot Type = "snapshot"
	Drop     Type = "drop"
	Condemn  Type = "condemn"
	Sweep    Type = "sweep"
	Keys     Type = "keys"
	Takeover Type = "takeover"
	Clock    Type = "clock"
	Log      Type = "log"
	Hold     Type = "hold"
	Release  Type = "release"
	Drill    Type = "drill"
	Review   Type = "review"
	Policy   Type = "policy"
	Restore  Type = "restore"
	Denied   Type = "denied"
	Certify  Type = "certify"
	Revoke   Type = "revoke"
)

// Types lists them.
var Types = []Type{Init, Snapshot, Drop, Condemn, Sweep, Keys, Takeover, Clock, Log, Hold, Release, Drill, Review, Policy, Restore, Denied, Certify, Revoke}

// Limits in bytes; what is larger is damage or an attack.
const (
	maxRecord = 64 << 20
	maxBundle = 256 << 20
)

// ErrBroken is wrapped where the chain of records is broken: damage, or someone rewrote history.
var ErrBroken = errors.New("the journal is broken")

// Record is one event. Exactly the member that its Type names is set.
type Record struct {
	Format     int             `json:"format"`
	Repository crypto.ID       `json:"repository"`
	Seq        uint64          `json:"seq"`
	Prev       string          `json:"prev"` // SHA-256 of the previous record's bytes, hex
	Time       time.Time       `json:"time"`
	HostClock  *time.Time      `json:"host_clock,omitempty"` // the host's reading, where it differs from Time
	By         string          `json:"by"`
	From       string          `json:"from,omitempty"`     // address or terminal of who acted
	Happened   *time.Time      `json:"happened,omitempty"` // where it was noted before it could be recorded
	Note       string          `json:"note,omitempty"`     // what was noted is recorded once, by this
	Reason     string          `json:"reason,omitempty"`
	Type       Type            `json:"type"`
	Objects    []target.Object `json:"objects,omitempty"`
	Indexes    []string        `json:"indexes,omitempty"`

	Init     *InitBody     `json:"init,omitempty"`
	Snapshot *SnapshotBody `json:"snapshot,omitempty"`
	Drop     *DropBody     `json:"drop,omitempty"`
	Condemn  *PacksBody    `json:"condemn,omitempty"`
	Sweep    *PacksBody    `json:"sweep,omitempty"`
	Keys     *KeysBody     `json:"keys,omitempty"`
	Takeover *TakeoverBody `json:"takeover,omitempty"`
	Clock    *ClockBody    `json:"clock,omitempty"`
	Log      *LogBody      `json:"log,omitempty"`
	Hold     *HoldBody     `json:"hold,omitempty"`
	Release  *ReleaseBody  `json:"release,omitempty"`
	Drill    *DrillBody    `json:"drill,omitempty"`
	Review   *ReviewBody   `json:"review,omitempty"`
	Policy   *PolicyBody   `json:"policy,omitempty"`
	Restore  *RestoreBody  `json:"restore,omitempty"`
	Denied   *DeniedBody   `json:"denied,omitempty"`
	Certify  *CertifyBody  `json:"certify,omitempty"`
	Revoke   *RevokeBody   `json:"revoke,omitempty"`

	Via *ViaBody `json:"via,omitempty"` // beside one of the others: another host's record is entered
}

// InitBody founds a repository.
type InitBody struct {
	Root        string `json:"root"` // verifier key
	Certificate string `json:"certificate"`
}

// Ref points to a tree node.
type Ref struct {
	ID    crypto.ID `json:"id"`
	Frame crypto.ID `json:"frame"`
	Off   int       `json:"off"`
	Len   int       `json:"len"`
}

// SnapshotBody commits a snapshot. Sizes are bytes.
type SnapshotBody struct {
	Source   string    `json:"source"` // opaque
	Kind     string    `json:"kind"`   // full or incremental
	Root     Ref       `json:"root"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Taken    time.Time `json:"taken"`
	Size     int64     `json:"size"`
	Read     int64     `json:"read"`
	Stored   int64     `json:"stored"`
	Duration int64     `json:"duration_ms"`
	Changed  int64     `json:"changed,omitempty"` // what differs from the previous snapshot
	New      int64     `json:"new,omitempty"`     // chunks of content that were stored, before compression
	Content  int64     `json:"content,omitempty"` // what became of New, of Stored
	// Amplification is how many bytes of frames a restore decodes per byte of content.
	Amplification float64 `json:"amplification,omitempty"`
	// System is the cluster in the engine's words, where it has a log.
	System string `json:"system,omitempty"`
	// Due is the time of a schedule that it was taken for; nil where somebody asked for it.
	Due *time.Time `json:"due,omitempty"`
	// Beside is the snapshot of another source that was taken in the same run.
	Beside *BesideBody `json:"beside,omitempty"`
	// Log numbers the logs of a source: one begins with the snapshot that none leads to from the ones before.
	Log uint64 `json:"log,omitempty"`
}

// BesideBody says how much later than another snapshot, which belongs with it, one was taken; negative for earlier.
type BesideBody struct {
	Seq  uint64 `json:"seq"`
	Skew int64  `json:"skew_ms"`
}

// DropBody forgets snapshots: one, or those that retention does not keep.
type DropBody struct {
	Seq       uint64    `json:"seq,omitempty"`
	Snapshots []Dropped `json:"snapshots,omitempty"`
}

// Dropped is a snapshot that is not kept, and why.
type Dropped struct {
	Seq uint64 `json:"seq"`
	Why string `json:"why"`
}

// Seqs are the snapshots that it forgets.
func (b *DropBody) Seqs() (out []uint64) {
	if b.Seq > 0 {
		out = append(out, b.Seq)
	}
	for _, d := range b.Snapshots {
		out = append(out, d.Seq)
	}
	return out
}

// HoldBody keeps snapshots from being dropped: of a source, or some.
type HoldBody struct {
	Source    string   `json:"source,omitempty"`  // opaque; its log is kept, too
	Through   uint64   `json:"through,omitempty"` // the last of its snapshots that is held; 0 holds those to come, too
	Snapshots []uint64 `json:"snapshots,omitempty"`
}

// Holds reports whether it keeps a snapshot of a source.
func (b *HoldBody) Holds(source string, seq uint64) bool {
	if b.Source == "" {
		return slices.Contains(b.Snapshots, seq)
	}
	return b.Source == source && (b.Through == 0 || seq <= b.Through)
}

// ReleaseBody ends a hold.
type ReleaseBody struct {
	Hold uint64 `json:"hold"` // its record
}

// PacksBody lists packs by digest, and index objects and objects of logs, without "log/", that go with them.
type PacksBody struct {
	Packs   []string `json:"packs"`
	Indexes []string `json:"indexes,omitempty"`
	Logs    []string `json:"logs,omitempty"`
}

// KeysBody lists who can open the key files that this record adds.
type KeysBody struct {
	Recipients []string `json:"recipients"`
	Readers    []string `json:"readers,omitempty"` // who can open those of epochs only
}

// TakeoverBody replaces the signing key.
type TakeoverBody struct {
	Certificate string `json:"certificate"`
}

// ClockBody accepts that the clock goes back.
type ClockBody struct {
	Was time.Time `json:"was"`
}

// LogBody says that a stretch of a source's log was captured, or why it was not.
type LogBody struct {
	Source string `json:"source"` // opaque, of the source's log
	From   string `json:"from"`
	To     string `json:"to"`
	Gap    string `json:"gap,omitempty"`
}

// DrillBody says what a restore drill came to. The report stands sealed under objects. Durations are milliseconds, sizes bytes.
type DrillBody struct {
	Source   string      `json:"source"` // opaque, as the two that follow
	Policy   string      `json:"policy"`
	Copy     string      `json:"copy,omitempty"` // that was read
	Report   string      `json:"report"`         // SHA-256 of the report's envelope, hex
	Result   string      `json:"result"`         // pass, fail or inconclusive
	Mode     string      `json:"mode"`
	Due      *time.Time  `json:"due,omitempty"` // the time of a schedule that it serves
	Missed   []time.Time `json:"missed,omitempty"`
	Began    time.Time   `json:"began"`
	Snapshot uint64      `json:"snapshot,omitempty"`
	RTO      int64       `json:"rto_ms"`
	RPO      int64       `json:"rpo_ms"`
	Fetch    int64       `json:"restore_ms"` // of RTO: from the plan until everything is written
	Replay   int64       `json:"replay_ms"`  // of RTO: until the engine is ready
	Size     int64       `json:"size"`
	LogSize  int64       `json:"log_bytes"`
}

// ReviewBody says that somebody has read a report.
type ReviewBody struct {
	Report string `json:"report"` // SHA-256 of its envelope, hex
	As     string `json:"as"`     // who, in their own words
}

// PolicyBody says how a policy reads from now on. Its text stands sealed under objects.
type PolicyBody struct {
	Policy string `json:"policy"` // opaque
	Digest string `json:"sha256"` // of its text, hex; empty: there is no such policy any more
}

// RestoreBody says that somebody has restored a source.
type RestoreBody struct {
	Source   string `json:"source"` // opaque
	Snapshot uint64 `json:"snapshot"`
	Point    string `json:"point"` // as it was asked for
	Result   string `json:"result"`
}

// DeniedBody says that somebody was refused.
type DeniedBody struct {
	At    string `json:"at"` // socket
	Who   string `json:"who"`
	Count int    `json:"count"` // how often, since the last such record
}

// CertifyBody lets a drill host's key count from this record on.
type CertifyBody struct {
	Certificate string `json:"certificate"`
}

// RevokeBody ends that.
type RevokeBody struct {
	Revocation string `json:"revocation"`
}

// ViaBody is the record of a drill host that is entered.
type ViaBody struct {
	Host   crypto.Role `json:"host"`
	Record string      `json:"record"` // its bytes
}

// Entry is a verified record with the bytes that were signed.
type Entry struct {
	Record
	Raw []byte
}

// Hash is the SHA-256 of a record's bytes, hex: what the next record's Prev must be.
func Hash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Name is the object name of record seq.
func Name(seq uint64) string { return fmt.Sprintf("journal/writer/%012d", seq) }

func sign(r *Record, s note.Signer) ([]byte, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record %d: %w", r.Seq, err)
	}
	raw, err := note.Sign(&note.Note{Text: string(line) + "\n"}, s)
	if err != nil {
		return nil, fmt.Errorf("sign record %d: %w", r.Seq, err)
	}
	if len(raw) > maxRecord {
		return nil, fmt.Errorf("encode record %d: %d bytes, more than a reader accepts", r.Seq, len(raw))
	}
	return raw, nil
}
