package targettest

import (
	"bytes"
	"io"
	"io/fs"
	"math"
	"sync"
	"testing"

	"lifeboat/target"
)

func testRanges(t *testing.T, tg target.Target) {
	const size = 100_000
	all := content(1, size)
	put(t, tg, "a", all)
	put(t, tg, "empty", nil)
	for _, r := range []struct{ off, n, from, to int64 }{
		{0, -1, 0, size}, {0, size, 0, size}, {0, 1, 0, 1}, {0, 0, 0, 0},
		{10, 0, 10, 10}, {10, 20, 10, 30}, {10, -1, 10, size}, {10, math.MinInt64, 10, size},
		{size - 1, 1, size - 1, size}, {size - 1, 2, size - 1, size}, {size - 10, 1 << 40, size - 10, size},
		{1, math.MaxInt64, 1, size},
		{size, -1, size, size}, {size, 0, size, size}, {size, 1, size, size},
		{size + 1, -1, size, size}, {size + 1, 10, size, size}, {1 << 40, 10, size, size},
	} {
		got, err := get(t.Context(), tg, "a", r.off, r.n)
		if err != nil {
			t.Errorf("Get(off=%d, n=%d): %v", r.off, r.n, err)
		} else if want := all[r.from:r.to]; !bytes.Equal(got, want) {
			t.Errorf("Get(off=%d, n=%d) yields %d bytes; want %d, bytes %d to %d", r.off, r.n, len(got), len(want), r.from, r.to)
		}
	}
	for _, r := range [][2]int64{{0, -1}, {0, 0}, {0, 5}, {5, 5}, {5, -1}} {
		if got, err := get(t.Context(), tg, "empty", r[0], r[1]); err != nil || len(got) != 0 {
			t.Errorf("Get(off=%d, n=%d) of an empty object: %d bytes, %v", r[0], r[1], len(got), err)
		}
	}
}

func testGetAbsent(t *testing.T, tg target.Target) {
	put(t, tg, "a/b/c", content(1, 10))
	// Neither the beginning nor the continuation of a name is an object.
	for _, name := range []string{"absent", "a", "a/b", "a/b/c/d", "a/b/c/d/e", "a/x/c", "a/b/cc", "a/b/c."} {
		for _, n := range []int64{-1, 0, 5} {
			_, err := get(t.Context(), tg, name, 0, n)
			wantError(t, "Get("+name+")", err, fs.ErrNotExist)
		}
	}
}

// testGetThenDelete deletes what is being read: the reader yields the object or an error, never other bytes.
func testGetThenDelete(t *testing.T, tg target.Target) {
	want := content(1, 8<<20)
	put(t, tg, "a", want)
	r, err := tg.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 100)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	if err := tg.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	put(t, tg, "a", content(2, 8<<20))
	rest, err := io.ReadAll(r)
	got := append(head, rest...)
	if !bytes.HasPrefix(want, got) || (err == nil && len(got) != len(want)) {
		t.Errorf("an object deleted while being read yields %d bytes that are not its own, error %v", len(got), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func testDeleteAbsent(t *testing.T, tg target.Target) {
	put(t, tg, "a/b/c", content(1, 10))
	for _, name := range []string{"absent", "a", "a/b", "a/b/c/d", "a/x/c", "x/y/z"} {
		wantError(t, "Delete("+name+")", tg.Delete(t.Context(), name), fs.ErrNotExist)
	}
	wantNames(t, tg, "", "a/b/c")
	if err := tg.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	wantError(t, "second Delete", tg.Delete(t.Context(), "a/b/c"), fs.ErrNotExist)
	_, err := get(t.Context(), tg, "a/b/c", 0, -1)
	wantError(t, "Get after Delete", err, fs.ErrNotExist)
	wantNames(t, tg, "")
}

// testDeleteConcurrent deletes one object many times at once. A store may acknowledge more than one of them.
func testDeleteConcurrent(t *testing.T, tg target.Target) {
	put(t, tg, "a/b", content(1, 1000))
	put(t, tg, "a/c", content(2, 1000))
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = tg.Delete(t.Context(), "a/b") })
	}
	wg.Wait()
	deleted := 0
	for _, err := range errs {
		if err == nil {
			deleted++
		} else {
			wantError(t, "Delete", err, fs.ErrNotExist)
		}
	}
	if deleted == 0 {
		t.Error("no Delete succeeded")
	}
	wantNames(t, tg, "", "a/c")
}
