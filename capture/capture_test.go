package capture_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/capture"
	"lifeboat/crypto"
	"lifeboat/snapshot"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

const segmentSize = 64 << 10

// fixture is a repository's keys and a log of random bytes with an event here and there.
type fixture struct {
	t      *testing.T
	host   *crypto.HostKeys
	epoch  crypto.EpochSecret
	signer note.Signer
	key    note.Verifier
	repo   crypto.ID
	log    []byte
	events []snapshot.LogEvent
}

// The fixture is its own Keys.
func (f *fixture) Repository() crypto.ID                     { return f.repo }
func (f *fixture) WriterAfter(uint64) (note.Verifier, error) { return f.key, nil }

func newFixture(t *testing.T, seed uint64, size int) *fixture {
	t.Helper()
	root, host, epoch, err := crypto.Generate()
	must(t, err)
	keys, err := host.Keys()
	must(t, err)
	signer, err := crypto.NewSigner(root.Repository, crypto.Writer, host.SigningSeed)
	must(t, err)
	vkey, err := crypto.VerifierKey(root.Repository, crypto.Writer, host.SigningSeed)
	must(t, err)
	key, err := crypto.NewVerifier(root.Repository, crypto.Writer, vkey)
	must(t, err)
	f := &fixture{t: t, host: keys, epoch: epoch, signer: signer, key: key, repo: root.Repository, log: make([]byte, size)}
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range f.log {
		f.log[i] = byte(r.Uint32() & 15)
	}
	for at := uint64(r.IntN(900)); at < uint64(size); at += 1 + uint64(r.IntN(900)) {
		kind := []snapshot.EventKind{snapshot.Commit, snapshot.Abort, snapshot.Mark}[r.IntN(3)]
		f.events = append(f.events, snapshot.LogEvent{Kind: kind, Start: at / 2, End: at, Time: time.UnixMicro(int64(at)).UTC(), ID: fmt.Sprintf("100%% of\n%d", at)})
	}
	return f
}

// pieces yields the log from an offset on in random pieces, and ends or fails after the last.
func (f *fixture) pieces(seed uint64, from int, end error) iter.Seq2[snapshot.LogPiece, error] {
	return func(yield func(snapshot.LogPiece, error) bool) {
		r := rand.New(rand.NewPCG(seed, 2))
		for at := from; at < len(f.log); {
			to := min(at+r.IntN(9000), (at/segmentSize+1)*segmentSize, len(f.log))
			p := snapshot.LogPiece{From: pos(at), To: pos(to), Data: f.log[at:to], Segment: to%segmentSize == 0 && to > at, Until: time.UnixMicro(int64(to)).UTC()}
			for _, e := range f.events {
				if e.End > uint64(at) && e.End <= uint64(to) {
					p.Events = append(p.Events, e)
				}
			}
			if !yield(p, nil) {
				return
			}
			at = to
		}
		if end != nil {
			yield(snapshot.LogPiece{}, end)
		}
	}
}

func pos(at int) snapshot.Pos { return snapshot.Pos{Line: 3, Offset: uint64(at)} }

func (f *fixture) job(targets ...capture.Target) capture.Job {
	return capture.Job{Source: "0123456789abcdef", System: "7331", Repository: f.repo, After: func() (uint64, error) { return 1, nil }, Keys: f.host, Signer: f.signer,
		Targets: targets, SpoolDir: f.t.TempDir(), Durable: func(snapshot.Pos) {}, Failed: func(string, error) {}, Genuine: func(ctx context.Context, t target.Target, o capture.Object) error {
			r, err := capture.NewReader(t, f)
			if err == nil {
				_, _, err = r.Header(ctx, o)
			}
			return err
		}}
}

func newTarget(t *testing.T) *faulty.Target {
	t.Helper()
	l, err := local.Create(t.TempDir())
	must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // nothing depends on it any more
	return faulty.New(l)
}

// read returns the log and the events that a target holds from an offset on, or its siblings.
func (f *fixture) read(tg target.Target, from int, siblings ...target.Target) ([]byte, []snapshot.LogEvent, []capture.Object) {
	f.t.Helper()
	id, _, err := f.epoch.Open()
	must(f.t, err)
	r, err := capture.NewReader(tg, f, id)
	must(f.t, err)
	r.Siblings = siblings
	objects, err := r.List(f.t.Context(), "0123456789abcdef")
	must(f.t, err)
	var log bytes.Buffer
	var events []snapshot.LogEvent
	for _, o := range capture.Cover(objects, pos(from)) {
		h, _, err := r.Header(f.t.Context(), o)
		must(f.t, err)
		if h.Until != time.UnixMicro(int64(h.To.Offset)).UTC() {
			f.t.Errorf("%s is until %s", o, h.Until)
		}
		var b bytes.Buffer
		must(f.t, r.Log(f.t.Context(), o, &b))
		seen := from + log.Len()
		log.Write(b.Bytes()[seen-int(o.From.Offset):])
		more, err := r.Events(f.t.Context(), o)
		must(f.t, err)
		for _, e := range more {
			if e.End > uint64(seen) || seen == 0 {
				events = append(events, e)
			}
		}
	}
	return log.Bytes(), events, objects
}

func (f *fixture) whole(tg target.Target, from int, siblings ...target.Target) []capture.Object {
	f.t.Helper()
	log, events, objects := f.read(tg, from, siblings...)
	if !bytes.Equal(log, f.log[from:]) {
		f.t.Errorf("%d bytes of log came back, not the %d that were captured", len(log), len(f.log)-from)
	}
	if from == 0 && !reflect.DeepEqual(events, f.events) {
		f.t.Errorf("%d events came back, not the %d that were captured", len(events), len(f.events))
	}
	return objects
}

// TestRun captures a log that breaks off and goes on, on two targets of which one fails now and then.
func TestRun(t *testing.T) {
	f := newFixture(t, 1, 10*segmentSize+12345)
	good, bad := newTarget(t), newTarget(t)
	bad.Random(1, faulty.Flaky(0.2)...)
	targets := []capture.Target{{Name: "good", Target: good}, {Name: "bad", Target: bad}}
	var mu sync.Mutex
	var durable snapshot.Pos
	job := f.job(targets...)
	job.Durable = func(p snapshot.Pos) {
		mu.Lock()
		defer mu.Unlock()
		if order, ok := p.Compare(durable); ok && order < 0 {
			t.Errorf("durable up to %s, then up to %s", durable, p)
		}
		durable = p
	}
	broken := errors.New("the server went away")
	part := *f
	part.log = f.log[:3*segmentSize+777]
	if err := capture.Run(t.Context(), job, part.pieces(1, 0, broken)); !errors.Is(err, broken) {
		t.Fatalf("a log that breaks off: %v", err)
	}
	from := int(durable.Offset) / segmentSize * segmentSize
	durable = snapshot.Pos{} // the segment's beginning comes again
	if err := capture.Run(t.Context(), job, f.pieces(2, from, nil)); err != nil {
		t.Fatalf("a log that ends: %v", err)
	}
	if durable != pos(len(f.log)) {
		t.Errorf("durable up to %s, not to the end of the log", durable)
	}
	bad.Random(0)
	f.whole(good, 0, bad) // either may have what the first run stored last
	f.whole(good, from)
	tails := 0
	objects, err := capture.List(t.Context(), good, "0123456789abcdef")
	must(t, err)
	for _, o := range objects {
		if o.Kind == capture.Tail && o.To.Offset > uint64(from) {
			tails++
			if o.To.Offset <= 10*segmentSize {
				t.Errorf("%s is covered by a segment", o)
			}
		}
	}
	if tails == 0 {
		t.Error("no tail stands")
	}
}

// TestRunWithoutTargets captures more than the spool holds while no target answers: it waits, and loses nothing.
func TestRunWithoutTargets(t *testing.T) {
	f := newFixture(t, 3, 40*segmentSize)
	tg := newTarget(t)
	down := make(chan struct{})
	tg.Random(1, faulty.Chance{Method: faulty.Put, P: 1, Draw: faulty.Same(faulty.Fail(errors.New("down")))})
	job := f.job(capture.Target{Name: "disk", Target: tg})
	var yielded atomic.Int32
	told := 0
	job.Failed = func(string, error) { told++ }
	go func() {
		for yielded.Load() < 17 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if n := yielded.Load(); n != 17 { // the spool is full
			t.Errorf("%d segments were asked for", n)
		}
		tg.Random(1)
		close(down)
	}()
	log := func(yield func(snapshot.LogPiece, error) bool) {
		for i := range 40 {
			if i > 20 {
				<-down
			}
			yielded.Store(int32(i + 1))
			if !yield(snapshot.LogPiece{From: pos(i * segmentSize), To: pos((i + 1) * segmentSize), Data: f.log[i*segmentSize:][:segmentSize], Segment: true, Until: time.UnixMicro(int64((i + 1) * segmentSize)).UTC()}, nil) {
				return
			}
		}
	}
	must(t, capture.Run(t.Context(), job, log))
	got, _, _ := f.read(tg, 0)
	if !bytes.Equal(got, f.log) {
		t.Errorf("%d bytes came back of %d", len(got), len(f.log))
	}
	if told != 2 {
		t.Errorf("it was told %d times that the target is down, or goes on", told)
	}
}

// TestRunOverLines captures a log that goes on in another line, in the middle of a segment.
func TestRunOverLines(t *testing.T) {
	f := newFixture(t, 8, 3*segmentSize)
	tg := newTarget(t)
	end := segmentSize + 4321
	log := func(yield func(snapshot.LogPiece, error) bool) {
		for _, p := range []snapshot.LogPiece{
			{From: pos(0), To: pos(segmentSize), Data: f.log[:segmentSize], Segment: true},
			{From: pos(segmentSize), To: pos(end), Data: f.log[segmentSize:end]},
			{From: snapshot.Pos{Line: 4, Offset: segmentSize}, To: snapshot.Pos{Line: 4, Offset: 2 * segmentSize}, Data: f.log[segmentSize : 2*segmentSize], Segment: true},
			{From: snapshot.Pos{Line: 4, Offset: 2 * segmentSize}, To: snapshot.Pos{Line: 4, Offset: 3 * segmentSize}, Data: f.log[2*segmentSize:], Segment: true},
		} {
			if !yield(p, nil) {
				return
			}
		}
	}
	must(t, capture.Run(t.Context(), f.job(capture.Target{Name: "disk", Target: tg}), log))
	objects, err := capture.List(t.Context(), tg, "0123456789abcdef")
	must(t, err)
	for line, want := range map[uint64]uint64{3: uint64(end), 4: 3 * segmentSize} {
		cover := capture.Cover(objects, snapshot.Pos{Line: line, Offset: segmentSize})
		if n := len(cover); n == 0 || cover[n-1].To.Offset != want {
			t.Errorf("line %d is covered by %v", line, cover)
		}
	}
}

// TestReaderRefuses damages, swaps and forges objects.
func TestReaderRefuses(t *testing.T) {
	f := newFixture(t, 5, segmentSize+5000)
	tg := newTarget(t)
	must(t, capture.Run(t.Context(), f.job(capture.Target{Name: "disk", Target: tg}), f.pieces(1, 0, nil)))
	objects, err := capture.List(t.Context(), tg, "0123456789abcdef")
	must(t, err)
	id, _, err := f.epoch.Open()
	must(t, err)
	try := func(what string, o capture.Object, body []byte) {
		t.Helper()
		on := newTarget(t)
		must(t, target.Store(t.Context(), on, o.String(), body))
		o.Size = int64(len(body))
		r, err := capture.NewReader(on, f, id)
		must(t, err)
		_, err1 := r.Events(t.Context(), o)
		if err2 := r.Log(t.Context(), o, &bytes.Buffer{}); err1 == nil && err2 == nil {
			t.Errorf("%s: it was believed", what)
		}
	}
	r := rand.New(rand.NewPCG(7, 7))
	for i, o := range objects {
		b, err := target.Read(t.Context(), tg, o.String(), capture.MaxObject)
		must(t, err)
		for range 60 {
			spoilt := bytes.Clone(b)
			at := r.IntN(len(b))
			spoilt[at] ^= 1 << r.IntN(8)
			try(fmt.Sprintf("byte %d flipped", at), o, spoilt)
			try(fmt.Sprintf("cut to %d", at), o, b[:at])
		}
		try("longer", o, append(bytes.Clone(b), 0))
		other, err := target.Read(t.Context(), tg, objects[(i+1)%len(objects)].String(), capture.MaxObject)
		must(t, err)
		try("another object", o, other)
		thief := newFixture(t, 5, 10)
		f2 := *f
		f2.signer = thief.signer
		forged := newTarget(t)
		must(t, capture.Run(t.Context(), f2.job(capture.Target{Name: "disk", Target: forged}), f2.pieces(1, 0, nil)))
		fakes, err := capture.List(t.Context(), forged, "0123456789abcdef")
		must(t, err)
		fake, err := target.Read(t.Context(), forged, fakes[0].String(), capture.MaxObject)
		must(t, err)
		try("signed by somebody else", fakes[0], fake)
	}
}

// TestReaderHangs reads from a copy that does not answer, beside one that does.
func TestReaderHangs(t *testing.T) {
	f := newFixture(t, 1, 3*segmentSize)
	good, hangs := newTarget(t), newTarget(t)
	must(t, capture.Run(t.Context(), f.job(capture.Target{Name: "good", Target: good}, capture.Target{Name: "hangs", Target: hangs}), f.pieces(1, 0, nil)))
	hangs.Random(1, faulty.Chance{Method: faulty.Get, P: 1, Draw: faulty.Same(faulty.Hang())})
	before := len(hangs.Log())
	f.whole(hangs, 0, good)
	if n := len(hangs.Log()) - before; n != 2 { // one list, one read
		t.Errorf("%d calls of the copy that hangs", n)
	}
}

func TestNames(t *testing.T) {
	n := capture.Name{Source: "0123456789abcdef", From: pos(5), To: pos(9), Kind: capture.Tail, Digest: strings.Repeat("ab", 32)}
	if got, ok := capture.ParseName(n.String()); !ok || got != n {
		t.Errorf("%s is read as %v, %t", n, got, ok)
	}
	for _, s := range []string{"", "log/x/y", strings.Replace(n.String(), "tail", "tale", 1), strings.ToUpper(n.String()), n.String() + "0", strings.Replace(n.String(), "-0000000000000009-tail", "-0000000000000005-segment", 1), strings.Replace(n.String(), "-0000000000000009-", "-0000000000000004-", 1)} {
		if _, ok := capture.ParseName(s); ok {
			t.Errorf("%q is taken for a log object", s)
		}
	}
}

// TestBogusSegment puts an object there whose name covers everything, and which nobody signed: no tail goes for it.
func TestBogusSegment(t *testing.T) {
	f := newFixture(t, 4, segmentSize+3000)
	tg := newTarget(t)
	must(t, capture.Run(t.Context(), f.job(capture.Target{Name: "disk", Target: tg}), f.pieces(1, 0, nil)))
	bogus := capture.Name{Source: "0123456789abcdef", From: pos(0), To: pos(1 << 40), Kind: capture.Segment, Digest: strings.Repeat("ab", 32)}
	must(t, target.Store(t.Context(), tg, bogus.String(), []byte("lifeboat log 1 7\n")))
	nothing := func(func(snapshot.LogPiece, error) bool) {}
	must(t, capture.Run(t.Context(), f.job(capture.Target{Name: "disk", Target: tg}), nothing))
	must(t, tg.Delete(t.Context(), bogus.String()))
	if got, _, _ := f.read(tg, 0); !bytes.Equal(got, f.log) {
		t.Errorf("%d bytes are left of %d", len(got), len(f.log))
	}
}

// TestRunIdle captures a log in which nothing comes any more: the target is told up to when, and a reader finds the newest word.
func TestRunIdle(t *testing.T) {
	f := newFixture(t, 9, segmentSize)
	tg := newTarget(t)
	until := time.UnixMicro(1).UTC()
	log := func(yield func(snapshot.LogPiece, error) bool) {
		if !yield(snapshot.LogPiece{From: pos(0), To: pos(segmentSize), Data: f.log, Segment: true, Until: until}, nil) {
			return
		}
		for range 20 {
			time.Sleep(5 * time.Millisecond)
			until = until.Add(time.Hour)
			if !yield(snapshot.LogPiece{From: pos(segmentSize), To: pos(segmentSize), Until: until}, nil) {
				return
			}
		}
	}
	must(t, capture.Run(t.Context(), f.job(capture.Target{Name: "disk", Target: tg, Every: time.Millisecond}), log))
	objects, err := capture.List(t.Context(), tg, "0123456789abcdef")
	must(t, err)
	cover := capture.Cover(objects, pos(0))
	if len(objects) != 2 || len(cover) != 1 {
		t.Fatalf("%d objects stand, %d of them with log", len(objects), len(cover))
	}
	reader, err := capture.NewReader(tg, f)
	must(t, err)
	for _, o := range objects {
		h, _, err := reader.Header(t.Context(), o)
		must(t, err)
		if o.Kind == capture.Tail && !h.Until.Equal(until) {
			t.Errorf("nothing came until %s, not until %s", h.Until, until)
		}
	}
}

// TestCover tries random sets of objects against a simple model.
func TestCover(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 3000 {
		var objects []capture.Object
		for range r.IntN(12) {
			from := r.IntN(30)
			objects = append(objects, capture.Object{Name: capture.Name{From: snapshot.Pos{Line: uint64(r.IntN(2)), Offset: uint64(from)}, To: snapshot.Pos{Offset: uint64(from + 1 + r.IntN(9))}, Kind: capture.Tail, Digest: fmt.Sprint(r.Uint64())}})
			o := &objects[len(objects)-1]
			o.To.Line = o.From.Line
		}
		at := uint64(r.IntN(30))
		want := at
		for moved := true; moved; {
			moved = false
			for _, o := range objects {
				if o.From.Line == 1 && o.From.Offset <= want && o.To.Offset > want {
					want, moved = o.To.Offset, true
				}
			}
		}
		got := at
		for _, o := range capture.Cover(objects, snapshot.Pos{Line: 1, Offset: at}) {
			if o.From.Line != 1 || o.From.Offset > got || o.To.Offset <= got {
				t.Fatalf("%v does not go on from %d", o, got)
			}
			got = o.To.Offset
		}
		if got != want {
			t.Fatalf("covered up to %d, not %d: %v", got, want, objects)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
