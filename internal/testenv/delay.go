package testenv

import (
	"net"
	"slices"
	"sync"
	"time"
)

// pieceSize and ahead bound what one direction of a connection has under way.
const (
	pieceSize = 64 << 10
	ahead     = 256
)

// pace lets n bytes onto the line, as soon as all before them are on it. What was slept too long is made up for.
func (w *way) pace(n int) {
	const slack = 20 * time.Millisecond
	w.mu.Lock()
	if now := time.Now(); w.free.Before(now.Add(-slack)) {
		w.free = now.Add(-slack)
	}
	w.free = w.free.Add(time.Duration(n) * time.Second / time.Duration(w.Rate))
	free := w.free
	w.mu.Unlock()
	time.Sleep(time.Until(free))
}

// delayed is a connection that pieces reach later, each at its time.
type delayed struct {
	to     *net.TCPConn
	pieces chan piece
	wait   sync.WaitGroup // for those under way
}

type piece struct {
	bytes []byte
	due   time.Time
}

// delay writes what is under way until the channel of pieces is closed.
func delay(to *net.TCPConn) *delayed {
	d := &delayed{to: to, pieces: make(chan piece, ahead)}
	go func() {
		for p := range d.pieces {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				_ = to.Close() // the other direction ends then, and this one with it
			}
			d.wait.Done()
		}
	}()
	return d
}

// write is no faster than the rate, and returns before bytes are written that come later.
func (d *delayed) write(bytes []byte, w *way) error {
	for len(bytes) > 0 {
		n := len(bytes)
		if w.Rate > 0 {
			n = min(n, max(1, w.Rate/20))
			w.pace(n)
		}
		if w.Latency > 0 {
			d.wait.Add(1)
			d.pieces <- piece{slices.Clone(bytes[:n]), time.Now().Add(w.Latency)}
		} else {
			d.wait.Wait()
			if _, err := d.to.Write(bytes[:n]); err != nil {
				return err
			}
		}
		bytes = bytes[n:]
	}
	return nil
}
