package s3_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/bandwidth"
	"lifeboat/internal/clock"
)

// TestLimit counts the pieces in which objects pass a limit, by a clock that runs so fast that nothing has to wait.
func TestLimit(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	c := settings(start(t), "plain")
	c.Limit = bandwidth.New(bandwidth.Always(1_000_000), func() time.Time { return time.Unix(asked.Add(1), 0) })
	tg := open(t, c)
	want := content(3 << 20)
	if err := tg.Put(t.Context(), "packs/a", body(want)); err != nil {
		t.Fatal(err)
	}
	if n := asked.Swap(0); n < 60 {
		t.Errorf("3 MB are put in %d pieces of a twentieth of a megabyte", n)
	}
	wantObject(t, tg, "packs/a", want)
	if n := asked.Load(); n < 60 {
		t.Errorf("3 MB are got in %d pieces of a twentieth of a megabyte", n)
	}
}

// TestLimitPatience has transfers take longer, by their limit, than a silent connection may live; and one that is cancelled before it would
// end, in a quarter of an hour.
func TestLimitPatience(t *testing.T) {
	t.Parallel()
	c := settings(start(t), "plain")
	if err := open(t, c).Put(t.Context(), "packs/large", body(content(9<<20))); err != nil {
		t.Fatal(err)
	}
	c.Patience = time.Second
	c.Limit = bandwidth.New(bandwidth.Always(40_000), clock.System)
	tg := open(t, c)
	want := content(120_000)
	if err := tg.Put(t.Context(), "packs/a", body(want)); err != nil {
		t.Fatal(err)
	}
	wantObject(t, tg, "packs/a", want)

	c.Limit = bandwidth.New(bandwidth.Always(10_000), clock.System)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	wantError(t, open(t, c).Put(ctx, "packs/b", body(content(9<<20))), context.Canceled)
	ctx, cancel = context.WithCancel(t.Context())
	r, err := open(t, c).Get(ctx, "packs/large", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, cancel)
	_, err = io.Copy(io.Discard, r)
	wantError(t, err, context.Canceled)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
