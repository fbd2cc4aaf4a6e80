package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"lifeboat/crypto"
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

// position is what a checkpoint says. One that covers more records than there are here may be signed by a key that came into force behind these.
type position struct {
	size  uint64
	root  string
	later bool // the key is not known here
}

// open reads a checkpoint, and verifies it against the keys of the journal.
func (v *verifier) open(signed []byte) (p position, err error) {
	if len(signed) > 4096 {
		return p, errors.New("it is too long for a checkpoint")
	}
	keys, err := v.writers()
	if err != nil {
		return p, err
	}
	n, err := note.Open(signed, note.VerifierList(keys...))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		p, perr := v.parse(unverified.Note.Text)
		if p.later = perr == nil && p.size > v.chain.Len(); p.later {
			return p, nil
		}
	}
	if err != nil {
		return p, fmt.Errorf("it is signed by no key of this journal: %w", err)
	}
	return v.parse(n.Text)
}

// writers are the keys that signed the journal.
func (v *verifier) writers() (keys []note.Verifier, err error) {
	for _, c := range v.certs {
		k, err := crypto.NewVerifier(v.chain.Repository(), crypto.Writer, c.Key)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(keys, func(have note.Verifier) bool { return have.Name() == k.Name() && have.KeyHash() == k.KeyHash() }) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// parse reads the text of a checkpoint.
func (v *verifier) parse(text string) (p position, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] != crypto.KeyName(v.chain.Repository(), crypto.Writer) {
		return p, errors.New("it is not a checkpoint of this journal")
	}
	if p.size, err = strconv.ParseUint(lines[1], 10, 63); err != nil || p.size == 0 {
		return p, errors.New("it does not say how many records it covers")
	}
	if _, err := tlog.ParseHash(lines[2]); err != nil {
		return p, fmt.Errorf("it states no root: %w", err)
	}
	p.root = lines[2]
	return p, nil
}

// agrees reports whether the journal has the root that a position states, which must not be behind its end.
func (v *verifier) agrees(p position) bool {
	root, err := v.chain.Root(p.size)
	return err == nil && root.String() == p.root
}

// checkpoints verifies the bundle's own checkpoint, and those that the auditor kept.
func (v *verifier) checkpoints() {
	v.own()
	all := make([]position, 0, len(v.o.Checkpoints))
	for i, signed := range v.o.Checkpoints {
		p, err := v.open(signed)
		if err != nil {
			v.problem(BadKept, 0, "", "Checkpoint %d of those that you kept does not belong to this journal: %v. If you have it from this repository, its journal was replaced, or cut before a new key came into force.", i+1, err)
			continue
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b position) int { return int(min(max(int64(a.size)-int64(b.size), -1), 1)) })
	good := uint64(0) // up to here the journal is what it was
	for _, p := range all {
		kept := KeptCheckpoint{Records: p.size}
		switch n := v.chain.Len(); {
		case p.size > n && !v.whole:
			// Where the journal is broken, that is told already.
		case p.size > n:
			v.problem(RolledBack, n, fileJournal, "The journal ends with record %d, and you keep a signed checkpoint over %d: records %d to %d were removed, or the journal was set back to an older state%s.", n, p.size, n+1, p.size,
				or(p.later, "; the key that signed that checkpoint is not named by what is left"))
		case v.agrees(p):
			kept.Agrees, good = true, p.size
		default:
			v.problem(Forked, good+1, fileJournal, "You keep a signed checkpoint over %d records, and others stand here: between records %d and %d the journal was rewritten, or it was set back and went on another way.", p.size, good+1, p.size)
		}
		v.Kept = append(v.Kept, kept)
	}
}

// or is a text where something holds.
func or(holds bool, text string) string {
	if holds {
		return text
	}
	return ""
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
	p, err := v.open(b)
	n := v.chain.Len()
	switch {
	case err != nil:
		v.problem(BadCheckpoint, 0, fileCheckpoint, "The checkpoint does not belong to this journal: %v.", err)
	case p.size > n:
		v.problem(Truncated, n, fileJournal, "The checkpoint covers %d records, and the bundle holds %d: the journal was cut%s.", p.size, n, or(p.later, ", or the checkpoint is made up: the key that signed it is not named by these records"))
	case p.size < n:
		v.problem(BadCheckpoint, p.size, fileCheckpoint, "The checkpoint covers %d records, and the bundle holds %d: nobody vouches for the last ones together.", p.size, n)
	case !v.agrees(p):
		v.problem(Forked, 0, fileCheckpoint, "The checkpoint is for %d other records than those in the bundle.", p.size)
	default:
		if err := covers(v.chain, b); err != nil {
			v.problem(BadCheckpoint, 0, fileCheckpoint, "The checkpoint does not count: %v.", err)
		}
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
