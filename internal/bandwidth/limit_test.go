package bandwidth

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a time that a test sets.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) set(t time.Time)      { c.at.Store(t.UnixNano()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }
func (c *clock) ticking(d time.Duration) func() time.Time {
	return func() time.Time { c.pass(d); return c.now() }
}

// TestMeter lets several transfers of one target wait by a clock of their own, over the edges of windows: together they get what the
// schedule says, and no more.
func TestMeter(t *testing.T) {
	s := Schedule{Zone: time.UTC, Windows: []Window{window(t, "08:00", "08:10", 1_000_000), window(t, "08:10", "08:20", 100_000), window(t, "08:30", "08:40", 50_000)}}
	at := func(minute int) time.Time { return time.Date(2026, 11, 16, 8, minute, 0, 0, time.UTC) }
	var m meter
	now := at(0)
	passed := map[int]int{}
	free := [3]time.Time{now, now, now} // when each transfer has waited
	for now.Before(at(40)) {
		who := 0
		for i := range free {
			if free[i].Before(free[who]) {
				who = i
			}
		}
		now = free[who]
		n, wait := m.take(now, s.At(now), 1<<20)
		passed[now.Minute()/10] += n
		if n == 1<<20 {
			wait = time.Second // the line's own
		}
		free[who] = now.Add(wait)
	}
	for i, want := range []int{600_000_000, 60_000_000, 3 * 600 << 20, 30_000_000} {
		if got := passed[i]; got < want-want/500 || got > want+want/500 {
			t.Errorf("in window %d %d bytes pass; want %d", i, got, want)
		}
	}
}

// pair is a connection over loopback, the near end held to a limit.
func pair(t *testing.T, l *Limit) (near net.Conn, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	near = l.Conn(c)
	t.Cleanup(func() {
		_ = near.Close() // a test may have closed it
		_ = far.Close()
	})
	return near, far
}

// TestConn counts what each direction takes of the limit: all that passes, in pieces, and what passes is not changed.
func TestConn(t *testing.T) {
	var c clock
	var asked atomic.Int64
	ticks := c.ticking(time.Second) // nothing has to wait
	near, far := pair(t, New(Always(1_000_000), func() time.Time { asked.Add(1); return ticks() }))
	want := bytes.Repeat([]byte("0123456789"), 300_000)
	for name, way := range map[string][2]net.Conn{"up": {near, far}, "down": {far, near}} {
		asked.Store(0)
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := way[0].Write(want); n != len(want) || err != nil {
				t.Errorf("%s: write %d, %v", name, n, err)
			}
		})
		got := make([]byte, len(want))
		if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes arrive, %v", name, err)
		}
		wg.Wait()
		if n := asked.Load(); n < 60 {
			t.Errorf("%s: 3 MB at 1 MB/s took %d pieces; want 60 or more", name, n)
		}
	}
	if near, far := pair(t, New(Schedule{}, c.now)); near.LocalAddr().String() != far.RemoteAddr().String() {
		t.Error("a connection without a limit is another one")
	}
}

// TestWindowEnds has a transfer that would take hours when the window that slows it ends.
func TestWindowEnds(t *testing.T) {
	const size = 64 << 20
	var c clock
	s := Schedule{Zone: time.UTC, Windows: []Window{window(t, "08:00", "20:00", least)}}
	c.set(time.Date(2026, 11, 16, 19, 59, 59, 0, time.UTC))
	near, far := pair(t, New(s, c.now))
	done := make(chan error, 1)
	go func() {
		_, err := near.Write(make([]byte, size))
		done <- err
	}()
	if _, err := io.CopyN(io.Discard, far, 2*least/pieces); err != nil { // it has begun
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("all of it passed at 10 kB/s: %v", err)
	default:
	}
	c.pass(time.Second)
	if _, err := io.CopyN(io.Discard, far, size-2*least/pieces); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestClose ends what would wait for hours.
func TestClose(t *testing.T) {
	near, far := pair(t, New(Always(least), time.Now))
	var wg sync.WaitGroup
	begun := make(chan struct{})
	wg.Go(func() {
		if n, err := near.Write(make([]byte, 1<<30)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write %d, %v", n, err)
		}
	})
	wg.Go(func() {
		n, err := io.Copy(io.Discard, near)
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("read %d, %v", n, err)
		}
	})
	wg.Go(func() { _, _ = far.Write(make([]byte, 1<<30)) })
	wg.Go(func() {
		_, err := io.ReadFull(far, make([]byte, 2*least/pieces))
		close(begun)
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
