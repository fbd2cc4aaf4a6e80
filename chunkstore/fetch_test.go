package chunkstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"lifeboat/crypto"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// shelf is some frames in packs, and copies of them.
type shelf struct {
	t      *testing.T
	frames []stored // in the order in which they stand
	index  *Index
	packs  []Pack
	dirs   []string
	copies []*faulty.Target
}

// newShelf stores n frames of size bytes, on copies that are all of one directory.
func newShelf(t *testing.T, copies, n, size int) *shelf {
	t.Helper()
	tg, dir := newTarget(t)
	w := newWriter(t, t.Context(), tg)
	s := &shelf{t: t}
	for i := range n {
		s.frames = append(s.frames, add(t, w, Sealed, noise(uint64(i), size)))
		if err := w.dispatch(&w.open[Sealed]); err != nil {
			t.Fatal(err)
		}
	}
	s.packs = finish(t, w)
	s.index = NewIndex(s.packs)
	at := map[crypto.ID]int{}
	for i, p := range s.packs {
		for _, f := range p.Frames {
			at[f.ID] = i<<32 + int(f.Off)
		}
	}
	slices.SortFunc(s.frames, func(a, b stored) int { return at[a.loc.Frame] - at[b.loc.Frame] })
	for range copies {
		s.dirs, s.copies = append(s.dirs, dir), append(s.copies, faulty.New(tg))
	}
	return s
}

// apart gives each copy a directory of its own.
func (s *shelf) apart() {
	s.t.Helper()
	for i := range s.copies {
		tg, dir := newTarget(s.t)
		if err := os.CopyFS(dir, os.DirFS(s.dirs[i])); err != nil {
			s.t.Fatal(err)
		}
		s.dirs[i], s.copies[i] = dir, faulty.New(tg)
	}
}

// reader reads from the copies, and missed counts what it said of them.
func (s *shelf) reader() (r *Reader, missed func() map[int]int) {
	r = NewReader(s.copies[0], s.index, ring(s.t).epoch)
	for _, c := range s.copies[1:] {
		r.Siblings = append(r.Siblings, c)
	}
	var mu sync.Mutex
	said := map[int]int{}
	r.Missed = func(n int, err error) {
		mu.Lock()
		defer mu.Unlock()
		said[n]++
		s.t.Logf("copy %d: %v", n, err)
	}
	return r, func() map[int]int { return said }
}

// gets counts the reads of a copy.
func (s *shelf) gets(n int) (gets int) {
	for _, op := range s.copies[n].Log() {
		if op.Method == faulty.Get {
			gets++
		}
	}
	return gets
}

// fetch fetches every step-th frame; each must come back once, and right.
func (s *shelf) fetch(ctx context.Context, r *Reader, step int) error {
	s.t.Helper()
	var mu sync.Mutex
	seen := map[int]bool{}
	raws := make([][]byte, 3)
	err := Fetch(ctx, r, len(raws), func(_ context.Context, want func(crypto.ID, int) error) error {
		for i := 0; i < len(s.frames); i += step {
			if err := want(s.frames[i].loc.Frame, i); err != nil {
				return err
			}
		}
		return nil
	}, func(ctx context.Context, n int, f Fetched, i int) (err error) {
		raws[n], err = f.Open(ctx, raws[n], func(raw []byte) error {
			if !bytes.Equal(raw, s.frames[i].data) {
				return crypto.ErrDamaged
			}
			return nil
		})
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[i] || !bytes.Equal(raws[n], s.frames[i].data) {
			s.t.Errorf("frame %d came twice, or is not right", i)
		}
		seen[i] = true
		return nil
	})
	if want := (len(s.frames) + step - 1) / step; err == nil && len(seen) != want {
		s.t.Errorf("%d frames came, not %d", len(seen), want)
	}
	return err
}

// from is a fault of all reads but the first n.
func (s *shelf) from(c, n int, f faulty.Fault) {
	s.copies[c].Queue(faulty.Get, slices.Repeat([]faulty.Fault{faulty.None()}, n)...)
	s.copies[c].Random(1, faulty.Chance{Method: faulty.Get, P: 1, Draw: faulty.Same(f)})
}

func TestFetchSpans(t *testing.T) {
	for _, tt := range []struct{ n, size, step, most int }{
		{40, 900_000, 1, 13},   // four in a span
		{40, 900_000, 2, 20},   // each alone: what is between would cost more than a request
		{180, 20_000, 1, 1},    // all together
		{180, 20_000, 5, 1},    // small gaps are read over
		{5, frameTarget, 9, 1}, // one
	} {
		s := newShelf(t, 1, tt.n, tt.size)
		r, missed := s.reader()
		if err := s.fetch(t.Context(), r, tt.step); err != nil {
			t.Fatal(err)
		}
		if got := s.gets(0); got > tt.most || len(missed()) > 0 {
			t.Errorf("%+v: %d reads, %v", tt, got, missed())
		}
	}
}

// TestFetchFails lets the copy that serves fail in the middle, in every way and for good.
func TestFetchFails(t *testing.T) {
	broken := errors.New("broken")
	s := newShelf(t, 3, 60, 900_000)
	inner, err := local.Open(s.dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	for name, f := range map[string]faulty.Fault{
		"fails": faulty.Fail(broken), "breaks": faulty.Break(1_000_000, broken), "is short": faulty.Short(1_000_000),
		"garbles": faulty.Garble(1), "hangs": faulty.Hang(), "one bit": faulty.Flip(8_000_000),
	} {
		t.Run(name, func(t *testing.T) {
			for i := range s.copies {
				s.copies[i] = faulty.New(inner)
			}
			s.t = t
			s.from(0, 3, f)
			for _, c := range s.copies[1:] { // so that the first one serves
				c.Random(1, faulty.Chance{Method: faulty.Get, P: 1, Draw: faulty.Same(faulty.Slow(300 * time.Millisecond))})
			}
			r, missed := s.reader()
			noLeak(t, func() {
				if err := s.fetch(t.Context(), r, 1); err != nil {
					t.Error(err)
				}
			})
			if got := missed(); len(got) != 1 || got[0] != 1 {
				t.Errorf("it was said %v", got)
			}
			if n := s.gets(0); n == 0 || n > 15 {
				t.Errorf("%d reads of the copy that failed", n)
			}
		})
	}
}

// TestFetchGathers spoils every frame on two of three copies, each time on others.
func TestFetchGathers(t *testing.T) {
	s := newShelf(t, 3, 30, 300_000)
	s.apart()
	for _, p := range s.packs {
		for c := range 3 {
			for i, f := range p.Frames {
				if i%3 != c {
					damagePack(t, s.dirs[c], p, func(b []byte) []byte { b[int(f.Off)+f.Len/2] ^= 1; return b })
				}
			}
		}
	}
	r, missed := s.reader()
	if err := s.fetch(t.Context(), r, 1); err != nil {
		t.Error(err)
	}
	for n, times := range missed() {
		if times != 1 {
			t.Errorf("of copy %d it was said %d times", n, times)
		}
	}
	// What is whole nowhere is damaged.
	damagePack(t, s.dirs[0], s.packs[0], func([]byte) []byte { return nil })
	damagePack(t, s.dirs[1], s.packs[0], func(b []byte) []byte { return b[:len(b)/2] })
	damagePack(t, s.dirs[2], s.packs[0], func(b []byte) []byte { clear(b); return b })
	noLeak(t, func() {
		if err := s.fetch(t.Context(), r, 1); !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%v", err)
		}
	})
}

// TestFetchMissing lets a copy that is not up to date lack packs: it serves what it has, and nothing is said of it.
func TestFetchMissing(t *testing.T) {
	s := newShelf(t, 2, 60, 900_000)
	s.apart()
	for _, p := range s.packs[1:] {
		damagePack(t, s.dirs[1], p, func([]byte) []byte { return nil })
	}
	r, missed := s.reader()
	if err := s.fetch(t.Context(), r, 1); err != nil || len(missed()) > 0 {
		t.Errorf("%v, %v", err, missed())
	}
	damagePack(t, s.dirs[0], s.packs[0], func([]byte) []byte { return nil })
	r, missed = s.reader()
	if err := s.fetch(t.Context(), r, 1); err != nil || missed()[0] > 1 || missed()[1] > 0 { // the other one may be asked first
		t.Errorf("%v, %v", err, missed())
	}
}

func TestFetchUnknown(t *testing.T) {
	s := newShelf(t, 2, 3, 1000)
	r, missed := s.reader()
	s.frames[1].loc.Frame[0] ^= 1
	if err := s.fetch(t.Context(), r, 1); !errors.Is(err, ErrUnknownFrame) || len(missed()) > 0 {
		t.Errorf("%v, %v", err, missed())
	}
}

// TestFetchEnds ends it early: where it is cancelled, where the work fails, and where there is none.
func TestFetchEnds(t *testing.T) {
	stop := errors.New("stop")
	for _, copies := range []int{1, 2} {
		s := newShelf(t, copies, 20, 900_000)
		for _, c := range s.copies {
			c.Random(1, faulty.Chance{Method: faulty.Get, P: 1, Draw: faulty.Same(faulty.Hang())})
		}
		r, missed := s.reader()
		noLeak(t, func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := s.fetch(ctx, r, 1); !errors.Is(err, context.DeadlineExceeded) || len(missed()) > 0 {
				t.Errorf("%v, %v", err, missed())
			}
		})
		for _, c := range s.copies {
			c.Random(1)
		}
		noLeak(t, func() {
			err := Fetch(t.Context(), r, 2, func(_ context.Context, want func(crypto.ID, int) error) error {
				for _, f := range s.frames {
					if err := want(f.loc.Frame, 0); err != nil {
						return err
					}
				}
				return nil
			}, func(context.Context, int, Fetched, int) error { return stop })
			if !errors.Is(err, stop) {
				t.Error(err)
			}
			err = Fetch(t.Context(), r, 2, func(_ context.Context, want func(crypto.ID, int) error) error {
				return errors.Join(want(s.frames[0].loc.Frame, 0), stop)
			}, func(context.Context, int, Fetched, int) error { return nil })
			if !errors.Is(err, stop) {
				t.Error(err)
			}
		})
	}
}

// stubborn does not notice that its context is done: it goes on once it may, and then it lies.
type stubborn struct {
	target.Target
	may chan struct{}
}

func (s stubborn) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := s.Target.Get(context.WithoutCancel(ctx), name, off, n)
	return waiting{r, s.may}, err
}

type waiting struct {
	io.ReadCloser
	may chan struct{}
}

func (w waiting) Read(b []byte) (int, error) {
	<-w.may
	clear(b)
	return len(b), nil
}

// TestFetchLateReads lets reads that another copy won go on and write while their frames, and others, are used.
func TestFetchLateReads(t *testing.T) {
	s := newShelf(t, 2, 60, 900_000)
	r, missed := s.reader()
	may := make(chan struct{})
	r.target = stubborn{r.target, may}
	noLeak(t, func() {
		var once sync.Once
		raws := make([][]byte, 2)
		err := Fetch(t.Context(), r, len(raws), func(_ context.Context, want func(crypto.ID, int) error) error {
			for i, f := range s.frames {
				if err := want(f.loc.Frame, i); err != nil {
					return err
				}
			}
			return nil
		}, func(ctx context.Context, n int, f Fetched, i int) (err error) {
			if i == len(s.frames)/2 {
				once.Do(func() { close(may) })
			}
			if raws[n], err = f.Open(ctx, raws[n], nil); err == nil && !bytes.Equal(raws[n], s.frames[i].data) {
				t.Errorf("frame %d is not right", i)
			}
			return err
		})
		once.Do(func() { close(may) })
		if err != nil || missed()[0] != 1 || len(missed()) != 1 {
			t.Errorf("%v, %v", err, missed())
		}
	})
}
