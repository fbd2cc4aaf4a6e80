package restore_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/capture"
	"lifeboat/crypto"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target/local"
)

const logSegment = 64 << 10

// oneKey is a journal with a single writer.
type oneKey struct {
	repository crypto.ID
	key        note.Verifier
}

func (k oneKey) Repository() crypto.ID                     { return k.repository }
func (k oneKey) WriterAfter(uint64) (note.Verifier, error) { return k.key, nil }

// chronicle is what happened in each line, of which captures take stretches.
type chronicle map[uint64][]snapshot.LogEvent

// stretch yields the log of a line between two offsets in random pieces; the first begins a segment.
func (c chronicle) stretch(r *rand.Rand, line, from, to uint64) iter.Seq2[snapshot.LogPiece, error] {
	return func(yield func(snapshot.LogPiece, error) bool) {
		for at := from; at < to; {
			end := min(at+1+r.Uint64N(9000), (at/logSegment+1)*logSegment, to)
			p := snapshot.LogPiece{From: snapshot.Pos{Line: line, Offset: at}, To: snapshot.Pos{Line: line, Offset: end}, Data: make([]byte, end-at), Segment: end%logSegment == 0}
			for _, e := range c[line] {
				if e.End > at && e.End <= end || e.Kind == snapshot.Branch && at == from {
					p.Events = append(p.Events, e)
				}
			}
			if r.IntN(3) == 0 { // it is not always known
				p.Until = when(end).Add(-time.Second)
			}
			if !yield(p, nil) {
				return
			}
			at = end
		}
	}
}

// when is about the time at which the log was at an offset.
func when(offset uint64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(offset) * 50 * time.Millisecond)
}

// history lists what the first of logs says, and the others where it is asked again.
func history(t *testing.T, since, until time.Time, logs ...restore.Log) (out []restore.Entry) {
	t.Helper()
	open := func(context.Context) (restore.Log, error) {
		log := logs[0]
		logs = logs[1:]
		return log, nil
	}
	for e, err := range restore.History(t.Context(), open, since, until) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func at(line, offset uint64) snapshot.Pos { return snapshot.Pos{Line: line, Offset: offset} }

// TestHistory captures two lines in stretches that overlap and leave gaps, and looks for every event exactly once.
func TestHistory(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const left = 9*logSegment + 777 // where line 2 leaves line 1
	happened := chronicle{}
	for end := uint64(logSegment + 100); end < 16*logSegment; end += 40 + r.Uint64N(4000) {
		e := snapshot.LogEvent{Kind: []snapshot.EventKind{snapshot.Commit, snapshot.Commit, snapshot.Abort, snapshot.Mark}[r.IntN(4)],
			Start: end - 40, End: end, Time: when(end).Add(-time.Duration(r.IntN(30000)) * time.Millisecond), ID: fmt.Sprint(end)}
		happened[1] = append(happened[1], e)
		if e.Start >= left {
			e.ID += " of line 2"
		}
		happened[2] = append(happened[2], e)
	}
	branch := snapshot.LogEvent{Kind: snapshot.Branch, Start: 9 * logSegment, End: 9 * logSegment, Time: time.Unix(0, 0), ID: snapshot.BranchID{Parent: at(1, left), At: left, Text: "left"}.String()}
	happened[2] = slices.Insert(slices.DeleteFunc(happened[2], func(e snapshot.LogEvent) bool { return e.End <= 9*logSegment }), 0, branch)

	logs := capturing(t, func(run func(iter.Seq2[snapshot.LogPiece, error])) {
		for _, s := range [][3]uint64{{1, 1, 3*logSegment + 500}, {1, 3, 4*logSegment + 900}, {1, 4, 5*logSegment + 1}, {1, 7, 8*logSegment + 300}, {1, 7, 9*logSegment + 100}, {2, 9, 12*logSegment + 7}, {2, 14, 15 * logSegment}} {
			run(happened.stretch(r, s[0], s[1]*logSegment, s[2]))
		}
	})
	log := logs[len(logs)-1]
	want := []restore.Entry{}
	take := func(line, from, to uint64) {
		base := from
		for _, e := range happened[line] {
			if e.Kind != snapshot.Branch && e.Start >= from && e.End <= to {
				want = append(want, restore.Entry{Event: &e, From: at(line, e.Start), To: at(line, e.End), Log: e.End - base})
				base = e.End
			}
		}
	}
	missing := func(from, to snapshot.Pos) { want = append(want, restore.Entry{From: from, To: to}) }
	take(1, 1*logSegment, 5*logSegment+1)
	missing(at(1, 5*logSegment+1), at(1, 7*logSegment))
	take(1, 7*logSegment, 9*logSegment+100)
	missing(at(1, 9*logSegment+100), at(1, left))
	want = append(want, restore.Entry{Event: &branch, From: at(2, left), To: at(2, left), Parent: 1})
	take(2, left, 12*logSegment+7)
	missing(at(2, 12*logSegment+7), at(2, 14*logSegment))
	take(2, 14*logSegment, 15*logSegment)
	sameHistory(t, "all", history(t, time.Time{}, time.Time{}, log), want)
	old := slices.IndexFunc(want, func(e restore.Entry) bool { return e.From.Offset == 9*logSegment+100 })
	sameHistory(t, "from a list of objects that were replaced", history(t, time.Time{}, time.Time{}, logs[1], log), want[:old])

	for range 60 {
		since, until := when(r.Uint64N(16*logSegment)), when(r.Uint64N(16*logSegment))
		if until.Before(since) {
			since, until = until, time.Time{}
		}
		between := func(all []restore.Entry) (out []restore.Entry) {
			for _, e := range all {
				if e.Event != nil && e.Event.Kind != snapshot.Branch && !e.Event.Time.Before(since) && (until.IsZero() || !e.Event.Time.After(until)) {
					out = append(out, e)
				}
			}
			return out
		}
		got := history(t, since, until, log)
		sameHistory(t, fmt.Sprintf("since %s until %s", since, until), between(got), between(want))
		for _, e := range got {
			if e.Event == nil && when(e.To.Offset+logSegment).Before(since) {
				t.Errorf("since %s there is a gap long before: %v", since, e)
			}
		}
	}
}

// capturing lets do run captures of a source into one target, and returns what it holds after each.
func capturing(t *testing.T, do func(run func(iter.Seq2[snapshot.LogPiece, error]))) (logs []restore.Log) {
	t.Helper()
	root, host, epoch, err := crypto.Generate()
	must(t, err)
	keys, err := host.Keys()
	must(t, err)
	signer, err := crypto.NewSigner(root.Repository, crypto.Writer, host.SigningSeed)
	must(t, err)
	verifier, err := crypto.VerifierKey(root.Repository, crypto.Writer, host.SigningSeed)
	must(t, err)
	key, err := crypto.NewVerifier(root.Repository, crypto.Writer, verifier)
	must(t, err)
	tg, err := local.Create(t.TempDir())
	must(t, err)
	t.Cleanup(func() { _ = tg.Close() }) // nothing depends on it any more
	const source = "0123456789abcdef"
	id, _, err := epoch.Open()
	must(t, err)
	reader, err := capture.NewReader(tg, oneKey{root.Repository, key}, id)
	must(t, err)
	do(func(pieces iter.Seq2[snapshot.LogPiece, error]) {
		must(t, capture.Run(t.Context(), capture.Job{Source: source, System: "1", Repository: root.Repository, After: func() (uint64, error) { return 1, nil }, Keys: keys, Signer: signer,
			Targets: []capture.Target{{Name: "disk", Target: tg}}, SpoolDir: t.TempDir(), Durable: func(snapshot.Pos) {},
			Failed: func(target string, err error) { t.Errorf("%s: %v", target, err) }}, pieces))
		objects, err := capture.List(t.Context(), tg, source)
		must(t, err)
		logs = append(logs, restore.Log{Objects: objects, Reader: reader})
	})
	return logs
}

func sameHistory(t *testing.T, what string, got, want []restore.Entry) {
	t.Helper()
	text := func(e restore.Entry) string {
		s := fmt.Sprint(e.From, e.To, e.Parent, e.Log)
		if e.Event != nil {
			s += fmt.Sprint(*e.Event)
		}
		return s
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || text(got[i]) != text(want[i]) {
			t.Fatalf("%s: %d entries, not %d; number %d differs:\n%v\nnot\n%v", what, len(got), len(want), i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}
