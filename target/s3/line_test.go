package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target/s3"
)

// behind is a target behind a line that can fail.
func behind(t *testing.T, store *testenv.S3, patience time.Duration) (*s3.Target, *testenv.Proxy) {
	t.Helper()
	line := testenv.StartProxy(t, store.Addr)
	c := settings(store, "locks")
	c.Endpoint, c.Patience = "http://"+line.Addr, patience
	return open(t, c), line
}

// TestLine puts and gets over lines that break, stand still, damage bytes and are slow: what was put is what is got.
func TestLine(t *testing.T) {
	t.Parallel()
	store := start(t)
	want := content(3 << 20)
	for name, f := range map[string]testenv.Fault{
		"cut at once":   {Cut: true, Times: 3},
		"cut half-way":  {Cut: true, After: 1 << 20, Times: 3},
		"stalls":        {Stall: true, After: 1 << 20, Times: 1},
		"stalls mute":   {Stall: true, Times: 1},
		"damages":       {Corrupt: true, After: 2 << 20, Times: 2},
		"far away":      {Latency: 5 * time.Millisecond},
		"slow":          {Rate: 1 << 20},
		"always breaks": {Cut: true, After: 1<<20 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg, line := behind(t, store, 2*time.Second)
			object := "packs/" + strings.ReplaceAll(name, " ", "-")
			line.Up(f)
			err := tg.Put(t.Context(), object, body(want))
			if name == "always breaks" {
				wantError(t, err, nil, "put", "no answer from 127.0.0.1")
				line.Up(testenv.Fault{})
				err = tg.Put(t.Context(), object, body(want))
			}
			if err != nil && !errors.Is(err, fs.ErrExist) { // it was stored, and the answer was lost
				t.Fatal(err)
			}
			line.Up(testenv.Fault{})
			line.CutAll()
			line.Down(f)
			got, err := read(t, tg, object)
			if name == "damages" {
				return // nothing guards what comes back: whoever reads verifies
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want the %d that were put", len(got), err, len(want))
			}
		})
	}
}

// TestDead has a peer that takes everything and says nothing: each method ends by itself, and says so.
func TestDead(t *testing.T) {
	t.Parallel()
	store := start(t)
	tg, line := behind(t, store, 500*time.Millisecond)
	want := content(1 << 20)
	if err := tg.Put(t.Context(), "packs/a", body(want)); err != nil {
		t.Fatal(err)
	}
	r, err := tg.Get(t.Context(), "packs/a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	line.Up(testenv.Fault{Stall: true})
	line.Down(testenv.Fault{Stall: true})
	line.CutAll()
	_, err = io.Copy(io.Discard, r)
	wantError(t, err, nil, "no byte moved for 500ms")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	// A cancelled call does not wait for that.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	wantError(t, tg.Put(ctx, "packs/b", body(want)), context.DeadlineExceeded)
}

// TestCutParts breaks the line under a large Put, for good. Its parts are removed once the store is back.
func TestCutParts(t *testing.T) {
	t.Parallel()
	store := start(t)
	tg, line := behind(t, store, 2*time.Second)
	large := content(40 << 20)
	line.Up(testenv.Fault{Cut: true, After: 8 << 20})
	err := tg.Put(t.Context(), "packs/large", body(large))
	wantError(t, err, nil, "put", "no answer from")
	line.Up(testenv.Fault{})
	_, err = read(t, tg, "packs/large")
	wantError(t, err, fs.ErrNotExist)
	if err := tg.Clean(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	wantUploads(t, store, 0)
	// One that is cancelled cleans up by itself.
	ctx, cancel := context.WithCancel(t.Context())
	line.Up(testenv.Fault{Rate: 4 << 20})
	time.AfterFunc(time.Second, cancel)
	wantError(t, tg.Put(ctx, "packs/large", body(large)), context.Canceled)
	wantUploads(t, store, 0)
}

// TestLostAnswer stores an object whose answer never comes: the next attempt finds it taken, and knows it for its own. Another's is not.
func TestLostAnswer(t *testing.T) {
	store := start(t)
	tg, line := behind(t, store, 2*time.Second)
	if err := tg.Put(t.Context(), "packs/first", text("first")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"packs/new": nil, "packs/first": fs.ErrExist} {
		line.CutAll()
		line.Down(testenv.Fault{Cut: true, Times: 1})
		if err := tg.Put(t.Context(), name, text("second")); !errors.Is(err, want) {
			t.Errorf("put %s: %v; want %v", name, err, want)
		}
	}
	wantObject(t, tg, "packs/first", []byte("first"))
	wantObject(t, tg, "packs/new", []byte("second"))
}
