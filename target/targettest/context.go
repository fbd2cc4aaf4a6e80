package targettest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"lifeboat/target"
)

func testCancelledBefore(t *testing.T, tg target.Target) {
	put(t, tg, "old", content(1, 10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, "Put", tg.Put(ctx, "new", section(content(2, 10))), context.Canceled)
	wantError(t, "Delete", tg.Delete(ctx, "old"), context.Canceled)
	_, err := get(ctx, tg, "old", 0, -1)
	wantError(t, "Get", err, context.Canceled)
	calls := 0
	for info, err := range tg.List(ctx, "") {
		calls++
		wantError(t, "List, yielding "+info.Name, err, context.Canceled)
	}
	if calls != 1 {
		t.Errorf("List with a cancelled context yields %d times; want its error once", calls)
	}
	wantNames(t, tg, "", "old")
}

// cancelling is a body that cancels a context when it is first read.
type cancelling struct {
	io.ReaderAt
	cancel context.CancelFunc
}

func (c cancelling) ReadAt(p []byte, off int64) (int, error) {
	c.cancel()
	return c.ReaderAt.ReadAt(p, off)
}

func testCancelledPut(t *testing.T, tg target.Target) {
	for _, size := range []int{1, 8 << 20} {
		b := content(1, size)
		ctx, cancel := context.WithCancel(t.Context())
		err := tg.Put(ctx, "a/b", io.NewSectionReader(cancelling{bytes.NewReader(b), cancel}, 0, int64(size)))
		wantError(t, "Put", err, context.Canceled)
		_, err = get(t.Context(), tg, "a/b", 0, -1)
		wantError(t, "Get after a cancelled Put", err, fs.ErrNotExist)
		wantNames(t, tg, "")
	}
}

func testCancelledGet(t *testing.T, tg target.Target) {
	want := content(1, 20<<20)
	put(t, tg, "a", want)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := tg.Get(ctx, "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	// What was under way may still arrive, but not the whole object.
	_, err = io.Copy(io.Discard, r)
	wantError(t, "Read after cancelling", err, context.Canceled)
	if err := r.Close(); err != nil {
		t.Errorf("Close after cancelling: %v", err)
	}
}

func testCancelledList(t *testing.T, tg target.Target) {
	for i := range 20 {
		put(t, tg, fmt.Sprintf("d%d/%d", i%3, i), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	calls := 0
	for _, err := range tg.List(ctx, "") {
		if last != nil {
			t.Error("List goes on after an error")
		}
		calls, last = calls+1, err
		cancel()
	}
	wantError(t, "List", last, context.Canceled)
	if calls != 2 {
		t.Errorf("List cancelled at its first object yields %d times; want that object and the error", calls)
	}
}
