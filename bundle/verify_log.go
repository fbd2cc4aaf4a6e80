package bundle

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"lifeboat/journal"
)

// readJournal verifies record after record, as far as that goes.
func (v *verifier) readJournal() {
	b, err := v.a.read(fileJournal)
	if err != nil {
		v.problem(BadJournal, 0, fileJournal, "The journal cannot be read: %v.", err)
		return
	}
	for len(b) > 0 {
		next := v.chain.Len() + 1
		raw, rest, err := cut(b, next)
		if err == nil {
			err = v.chain.Append(raw)
		}
		if err != nil {
			v.problem(BadJournal, next, fileJournal, "Record %d of the journal was altered, is missing, or is not signed by a key that may: %v. Nothing behind record %d counts.", next, err, next-1)
			return
		}
		b = rest
	}
	if v.whole = v.chain.Len() > 0; !v.whole {
		v.problem(BadJournal, 0, fileJournal, "The journal is empty.")
		return
	}
	v.Head, v.HeadTime = v.chain.Head(), v.chain.Time()
	if root, err := v.chain.Root(v.chain.Len()); err == nil {
		v.Root = root.String()
	}
}

// cut takes a record from the journal: a line with its number and its length, and its bytes.
func cut(b []byte, seq uint64) (raw, rest []byte, err error) {
	line, _, ok := bytes.Cut(b[:min(len(b), 64)], []byte("\n"))
	if !ok {
		return nil, nil, errors.New("there is no line before it")
	}
	rest = b[len(line)+1:]
	_, length, _ := strings.Cut(string(line), " ")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(rest) || string(line) != fmt.Sprintf("%d %d", seq, n) {
		return nil, nil, fmt.Errorf("the line before it is %.64q", line)
	}
	return rest[:n], rest[n:], nil
}

// hasRoot reports whether the first records of the journal have a root, in base64. There must be so many.
func (v *verifier) hasRoot(size uint64, want string) bool {
	root, err := v.chain.Root(size)
	return err == nil && root.String() == want
}

// checkpoints verifies the bundle's own checkpoint, and those that the auditor kept.
func (v *verifier) checkpoints() {
	v.own()
	type kept struct {
		journal.Checkpoint
		err error
	}
	var all []kept
	for i, signed := range v.o.Checkpoints {
		c, err := journal.VerifyCheckpoint(v.chain, signed)
		if err != nil && !errors.Is(err, journal.ErrRolledBack) && !errors.Is(err, journal.ErrForked) {
			v.problem(BadKept, 0, "", "Checkpoint %d of those that you kept does not belong to this journal: %v. If you have it from this repository, its journal was replaced.", i+1, err)
			continue
		}
		all = append(all, kept{c, err})
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.Size, b.Size) })
	good := uint64(0) // up to here the journal is what it was
	for _, c := range all {
		switch n := v.chain.Len(); {
		case c.err == nil:
			good = c.Size
		case errors.Is(c.err, journal.ErrForked):
			v.problem(Forked, good+1, fileJournal, "You keep a signed checkpoint over %d records, and others stand here: between records %d and %d the journal was rewritten, or it was set back and went on another way.", c.Size, good+1, c.Size)
		case v.whole: // or else that it ends there is told already
			v.problem(RolledBack, n, fileJournal, "The journal ends with record %d, and you keep a signed checkpoint over %d: the last %d of these were removed, or the journal was set back to an older state.", n, c.Size, c.Size-n)
		}
		v.Kept = append(v.Kept, KeptCheckpoint{Records: c.Size, Agrees: c.err == nil})
	}
}

// own verifies the checkpoint in the bundle.
func (v *verifier) own() {
	b, err := v.a.read(fileCheckpoint)
	if err != nil {
		v.problem(Malformed, 0, fileCheckpoint, "The checkpoint cannot be read: %v.", err)
		return
	}
	if !v.whole {
		return // it cannot fit what is left of the journal
	}
	c, err := journal.VerifyCheckpoint(v.chain, b)
	n := v.chain.Len()
	if err == nil && c.Size == n {
		err = covers(v.chain, b)
	}
	switch {
	case errors.Is(err, journal.ErrRolledBack):
		v.problem(Truncated, n, fileJournal, "The checkpoint covers %d records, and the bundle holds %d: the journal was cut, or the checkpoint is not its own.", c.Size, n)
	case errors.Is(err, journal.ErrForked):
		v.problem(Forked, 0, fileCheckpoint, "The checkpoint is for %d other records than those in the bundle.", c.Size)
	case err != nil:
		v.problem(BadCheckpoint, 0, fileCheckpoint, "The checkpoint does not count: %v.", err)
	case c.Size < n:
		v.problem(BadCheckpoint, c.Size, fileCheckpoint, "The checkpoint covers %d records, and the bundle holds %d: nobody vouches for the last ones together.", c.Size, n)
	}
}

// audit verifies the extract row by row, with its proofs.
func (v *verifier) audit() {
	if !v.whole {
		return
	}
	var got Audit
	b, err := v.a.read(fileAudit)
	if err == nil {
		err = strictly(b, &got)
	}
	if err != nil {
		v.problem(Malformed, 0, fileAudit, "The extract of the journal cannot be read: %v.", err)
		return
	}
	n := int64(v.chain.Len())
	root, err := v.chain.Root(v.chain.Len())
	want, werr := auditOf(v.chain, v.manifest.Since)
	if err := errors.Join(err, werr); err != nil {
		v.problem(Malformed, 0, fileAudit, "The extract of the journal cannot be compared: %v.", err)
		return
	}
	if got.Records != want.Records || !got.Since.Equal(want.Since) || len(got.Rows) != len(want.Rows) || fmt.Sprint(got.LeftOut) != fmt.Sprint(want.LeftOut) {
		v.problem(BadAudit, 0, fileAudit, "The extract has %d rows from %d records, and %d from %d belong into it: rows were added or left out.", len(got.Rows), got.Records, len(want.Rows), want.Records)
	}
	for i := range min(len(got.Rows), len(want.Rows)) {
		row, should := got.Rows[i], want.Rows[i]
		if !row.same(should) {
			v.problem(BadAudit, should.Seq, fileAudit, "Row %d of the extract does not say what record %d says.", i+1, should.Seq)
		} else if err := tlog.CheckRecord(row.Proof, n, root, int64(row.Seq)-1, row.Leaf); err != nil {
			v.problem(BadAudit, should.Seq, fileAudit, "The proof that record %d stands under the checkpoint is wrong.", should.Seq)
		}
	}
}
