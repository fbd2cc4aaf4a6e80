package sftp_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/bandwidth"
	"lifeboat/internal/clock"
	"lifeboat/internal/testenv"
	"lifeboat/target/sftp"
)

// TestLimit counts the pieces in which objects pass a limit, by a clock that runs so fast that nothing has to wait.
func TestLimit(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	cfg := at(testenv.StartSSHD(t), "target")
	cfg.Limit = bandwidth.New(bandwidth.Always(1_000_000), func() time.Time { return time.Unix(asked.Add(1), 0) })
	tg := create(t, cfg)
	want := content(1, 3<<20)
	asked.Store(0)
	if err := tg.Put(t.Context(), "a/b", section(want)); err != nil {
		t.Fatal(err)
	}
	if n := asked.Swap(0); n < 60 {
		t.Errorf("3 MB are put in %d pieces of a twentieth of a megabyte", n)
	}
	wantObject(t, tg, "a/b", want)
	if n := asked.Load(); n < 60 {
		t.Errorf("3 MB are got in %d pieces of a twentieth of a megabyte", n)
	}
}

// TestLimitSilence has transfers take longer, by their limit, than a host may be silent; and some that are cancelled before they would
// end, in a quarter of an hour.
func TestLimitSilence(t *testing.T) {
	t.Parallel()
	cfg := at(testenv.StartSSHD(t), "target")
	if err := create(t, cfg).Put(t.Context(), "a/large", section(content(1, 9<<20))); err != nil {
		t.Fatal(err)
	}
	cfg.Limit = bandwidth.New(bandwidth.Always(40_000), clock.System)
	tg := open(t, sftp.WithBeat(cfg, 500*time.Millisecond))
	want := content(1, 120_000)
	if err := tg.Put(t.Context(), "a/b", section(want)); err != nil {
		t.Fatal(err)
	}
	wantObject(t, tg, "a/b", want)

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	if err := tg.Put(ctx, "a/c", section(content(1, 9<<20))); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	r, err := tg.Get(ctx, "a/large", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	time.AfterFunc(500*time.Millisecond, cancel)
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %d bytes, %v", n, err)
	}
	// One that connects only now.
	cfg.Limit = bandwidth.New(bandwidth.Always(10_000), clock.System)
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := sftp.Open(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
}
