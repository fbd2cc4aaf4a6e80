package bundle

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"lifeboat/journal"
)

// Audit is the extract of the journal that people read: what somebody did, decided or was refused, and what drills came to. Snapshots and log, which
// go on by themselves, are only counted.
type Audit struct {
	Records uint64         `json:"records"` // of the checkpoint that the proofs are for
	Since   time.Time      `json:"since,omitzero"`
	Rows    []AuditRow     `json:"rows"`
	LeftOut map[string]int `json:"left_out"` // by action
}

// AuditRow is one record. Leaf and Proof show that it is in the log whose root the checkpoint states (RFC 6962); they are base64.
type AuditRow struct {
	Seq      uint64      `json:"seq"`
	Time     time.Time   `json:"time"`
	Happened time.Time   `json:"happened"`
	By       string      `json:"by"`
	From     string      `json:"from"`
	Host     string      `json:"host,omitempty"` // drill host whose word it is; the writer's has none
	Action   string      `json:"action"`
	Object   string      `json:"object"`
	Result   string      `json:"result"`
	Reason   string      `json:"reason"`
	SHA256   string      `json:"record_sha256"`
	Leaf     tlog.Hash   `json:"leaf_hash"`
	Proof    []tlog.Hash `json:"inclusion_proof"`
}

// leftOut are the records that no person made.
var leftOut = []journal.Type{journal.Snapshot, journal.Log}

func auditOf(c *journal.Chain, since time.Time) (*Audit, error) {
	a := &Audit{Records: c.Len(), Since: since.UTC(), Rows: []AuditRow{}, LeftOut: map[string]int{}}
	stored, err := treeOf(c)
	if err != nil {
		return nil, err
	}
	for i := range c.Entries() {
		e := &c.Entries()[i]
		if e.Time.Before(since) {
			continue
		}
		if slices.Contains(leftOut, e.Type) {
			a.LeftOut[string(e.Type)]++
			continue
		}
		row := rowOf(e)
		if row.Proof, err = tlog.ProveRecord(int64(c.Len()), int64(e.Seq-1), stored); err != nil {
			return nil, fmt.Errorf("prove record %d: %w", e.Seq, err)
		}
		a.Rows = append(a.Rows, row)
	}
	return a, nil
}

// treeOf is the Merkle tree over the records.
func treeOf(c *journal.Chain) (tlog.HashReader, error) {
	var all []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = all[x]
		}
		return out, nil
	})
	for _, e := range c.Entries() {
		h, err := tlog.StoredHashes(int64(e.Seq-1), e.Raw, read)
		if err != nil {
			return nil, fmt.Errorf("hash record %d: %w", e.Seq, err)
		}
		all = append(all, h...)
	}
	return read, nil
}

// rowOf is a record without its proof.
func rowOf(e *journal.Entry) AuditRow {
	r := AuditRow{Seq: e.Seq, Time: e.Time.UTC(), Happened: e.When(), By: e.By, From: e.From, Action: string(e.Type), Reason: e.Reason, SHA256: journal.Hash(e.Raw), Leaf: tlog.RecordHash(e.Raw)}
	if e.Via != nil {
		r.Host = string(e.Via.Host)
	}
	switch {
	case e.Drill != nil:
		r.Object, r.Result = "report "+e.Drill.Report, e.Drill.Result
	case e.Review != nil:
		r.Object, r.Result = "report "+e.Review.Report, "read by "+e.Review.As
	case e.Policy != nil && e.Policy.Digest == "":
		r.Object, r.Result = "policy "+e.Policy.Policy, "removed"
	case e.Policy != nil:
		r.Object, r.Result = "policy "+e.Policy.Policy, "text "+e.Policy.Digest
	case e.Restore != nil:
		r.Object, r.Result = fmt.Sprintf("snapshot %d of source %s to %s", e.Restore.Snapshot, e.Restore.Source, e.Restore.Point), e.Restore.Result
	case e.Denied != nil:
		r.Object, r.Result = e.Denied.At, fmt.Sprintf("%s was refused, %d times", e.Denied.Who, e.Denied.Count)
	case e.Drop != nil:
		r.Object = fmt.Sprintf("snapshots %v", e.Drop.Seqs())
	case e.Release != nil:
		r.Object = fmt.Sprintf("hold %d", e.Release.Hold)
	}
	return r
}

// same compares two rows but for their proofs.
func (r AuditRow) same(other AuditRow) bool {
	if !r.Time.Equal(other.Time) || !r.Happened.Equal(other.Happened) {
		return false
	}
	return r.Seq == other.Seq && r.By == other.By && r.From == other.From && r.Host == other.Host && r.Action == other.Action && r.Object == other.Object && r.Result == other.Result &&
		r.Reason == other.Reason && r.SHA256 == other.SHA256 && r.Leaf == other.Leaf
}
