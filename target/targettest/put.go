package targettest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"

	"lifeboat/target"
)

func testRoundTrip(t *testing.T, tg target.Target) {
	for i, size := range []int{0, 1, 4095, 4096, 1<<20 + 1, 20 << 20} {
		name, want := fmt.Sprintf("packs/%02d", i), content(uint64(i), size)
		put(t, tg, name, want)
		wantObject(t, tg, name, want)
	}
}

// testSection puts a part of a larger file, with the section's cursor not at its beginning: the body is the section.
func testSection(t *testing.T, tg target.Target) {
	all := content(1, 1<<20)
	body := io.NewSectionReader(bytes.NewReader(all), 1000, 300_000)
	if _, err := body.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"once", "twice"} {
		if err := tg.Put(t.Context(), name, body); err != nil {
			t.Fatal(err)
		}
		wantObject(t, tg, name, all[1000:301_000])
	}
}

func testCreateOnly(t *testing.T, tg target.Target) {
	want := content(1, 1000)
	put(t, tg, "a/b", want)
	for _, b := range [][]byte{want, content(2, 1000), content(2, 2000), nil} {
		wantError(t, "Put of a taken name", tg.Put(t.Context(), "a/b", section(b)), fs.ErrExist)
	}
	wantObject(t, tg, "a/b", want)
	wantNames(t, tg, "", "a/b")
}

func testCreateOnlyConcurrent(t *testing.T, tg target.Target) {
	const writers = 16
	bodies, errs := make([][]byte, writers), make([]error, writers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range writers {
		bodies[i] = content(uint64(i), 200_000+i)
		wg.Go(func() {
			<-start
			errs[i] = tg.Put(t.Context(), "contended/name", section(bodies[i]))
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err != nil:
			wantError(t, "losing Put", err, fs.ErrExist)
		case winner >= 0:
			t.Errorf("Puts %d and %d of one name both succeeded", winner, i)
		default:
			winner = i
		}
	}
	if winner < 0 {
		t.Fatal("no Put succeeded")
	}
	wantObject(t, tg, "contended/name", bodies[winner])
	wantNames(t, tg, "", "contended/name")
}

// gate is a body whose first read calls reached and then waits until opened is closed.
type gate struct {
	io.ReaderAt
	once    sync.Once
	reached chan struct{}
	opened  chan struct{}
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	g.once.Do(func() { close(g.reached) })
	<-g.opened
	return g.ReaderAt.ReadAt(p, off)
}

// testAtomic looks at an object while it is being put: nothing may be seen of it.
func testAtomic(t *testing.T, tg target.Target) {
	want := content(1, 1<<20)
	g := &gate{ReaderAt: bytes.NewReader(want), reached: make(chan struct{}), opened: make(chan struct{})}
	release := sync.OnceFunc(func() { close(g.opened) })
	defer release()
	done := make(chan error, 1)
	go func() { done <- tg.Put(t.Context(), "slow/one", io.NewSectionReader(g, 0, int64(len(want)))) }()
	select {
	case <-g.reached:
	case err := <-done:
		t.Fatalf("Put returned without reading the body: %v", err)
	}
	_, err := get(t.Context(), tg, "slow/one", 0, -1)
	wantError(t, "Get of an unfinished object", err, fs.ErrNotExist)
	wantNames(t, tg, "")
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantObject(t, tg, "slow/one", want)
	wantNames(t, tg, "", "slow/one")
}

type failingBody struct {
	io.ReaderAt
	from int64
}

var errBody = errors.New("body failed")

func (b failingBody) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.from {
		return 0, errBody
	}
	return b.ReaderAt.ReadAt(p, off)
}

// testBadBody puts bodies that end early or fail half-way: nothing may stand, and the name stays free.
func testBadBody(t *testing.T, tg target.Target) {
	b := content(1, 1<<20)
	for name, body := range map[string]*io.SectionReader{
		"empty":  io.NewSectionReader(bytes.NewReader(nil), 0, 10),
		"short":  io.NewSectionReader(bytes.NewReader(b), 0, 1<<20+1),
		"failed": io.NewSectionReader(failingBody{bytes.NewReader(b), 1 << 19}, 0, 1<<20),
	} {
		if err := tg.Put(t.Context(), name, body); err == nil {
			t.Errorf("Put of a body that is %s succeeded", name)
		}
		_, err := get(t.Context(), tg, name, 0, -1)
		wantError(t, "Get after a failed Put", err, fs.ErrNotExist)
		wantNames(t, tg, "")
		put(t, tg, name, b)
		if err := tg.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

func testPutAfterDelete(t *testing.T, tg target.Target) {
	for i := range 3 {
		want := content(uint64(i), 100+i)
		put(t, tg, "a/b", want)
		wantObject(t, tg, "a/b", want)
		if err := tg.Delete(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
		wantNames(t, tg, "")
	}
}

// testReplace is for a target that can be repaired.
func testReplace(t *testing.T, tg target.Target) {
	r, ok := tg.(target.Repairer)
	if !ok {
		return
	}
	put(t, tg, "a/b", content(1, 100))
	for i, size := range []int{1000, 10, 0, 3 << 20} {
		want := content(uint64(i+2), size)
		if err := r.Replace(t.Context(), "a/b", section(want)); err != nil {
			t.Fatalf("Replace: %v", err)
		}
		if got, err := get(t.Context(), tg, "a/b", 0, -1); err != nil || !bytes.Equal(got, want) {
			t.Errorf("after Replace: %d bytes, %v; want %d bytes", len(got), err, size)
		}
		wantNames(t, tg, "", "a/b")
	}
	if err := r.Replace(t.Context(), "c/d", section(content(9, 10))); err != nil {
		t.Errorf("Replace of an absent object: %v", err)
	}
	wantNames(t, tg, "", "a/b", "c/d")
	wantError(t, "Put after Replace", tg.Put(t.Context(), "c/d", section(nil)), fs.ErrExist)
}
