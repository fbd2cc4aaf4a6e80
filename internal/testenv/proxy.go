package testenv

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what happens to the bytes of one direction of a connection. The zero Fault is none.
type Fault struct {
	After   int64 // bytes of the connection pass unharmed, before:
	Cut     bool  // the connection is reset,
	Stall   bool  // nothing passes any more, and nobody is told,
	Corrupt bool  // or one bit of each next piece is another
	Times   int64 // how many connections that happens to; 0: all

	Rate    int           // bytes a second, of all connections together; 0: no limit
	Latency time.Duration // by which each byte comes later, and none holds up those behind it
}

// Proxy passes TCP connections on to a server, with faults.
type Proxy struct {
	Addr     string       // where it listens: host and port
	Port     int          // of that
	Answered atomic.Int64 // bytes that came back
	up, down atomic.Pointer[way]
	mu       sync.Mutex
	open     map[*net.TCPConn]bool
	closed   chan struct{}
}

// way is a fault, how many connections it has met, and when the line is free again where it has a rate.
type way struct {
	Fault
	met  atomic.Int64
	mu   sync.Mutex
	free time.Time
}

// StartProxy listens on loopback for connections to addr.
func StartProxy(t TB, addr string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &Proxy{Addr: l.Addr().String(), Port: portOf(l), open: map[*net.TCPConn]bool{}, closed: make(chan struct{})}
	p.Up(Fault{})
	p.Down(Fault{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Errorf("accept a connection: %v", err)
				return
			}
			wg.Go(func() { p.serve(c.(*net.TCPConn), addr) }) // a TCP listener has no other
		}
	})
	t.Cleanup(func() {
		close(p.closed)
		must(t, l.Close())
		p.CutAll()
		wg.Wait()
	})
	return p
}

// Up sets what happens on the way to the server, from now on.
func (p *Proxy) Up(f Fault) { p.up.Store(&way{Fault: f}) }

// Down sets what happens on the way back, from now on.
func (p *Proxy) Down(f Fault) { p.down.Store(&way{Fault: f}) }

// CutAll resets all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	clear(p.open)
}

func (p *Proxy) serve(client *net.TCPConn, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		_ = client.Close()
		return
	}
	server := c.(*net.TCPConn) // of TCP
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	select {
	case <-p.closed:
		p.CutAll()
	default:
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.pass(server, client, &p.up) })
	wg.Go(func() { p.pass(client, server, &p.down) })
	wg.Wait()
	p.cut(client, server)
}

// cut resets the two sides of a connection.
func (p *Proxy) cut(sides ...*net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range sides {
		_ = c.SetLinger(0)
		_ = c.Close()
		delete(p.open, c)
	}
}

// pass copies one direction until it ends, with the fault that is set at each piece.
func (p *Proxy) pass(to, from *net.TCPConn, set *atomic.Pointer[way]) {
	buf := make([]byte, pieceSize)
	var passed int64
	var struck *way
	late := delay(to)
	defer close(late.pieces)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			w := set.Load()
			if set == &p.down {
				p.Answered.Add(int64(n))
			}
			strike := func() bool { // this connection is one that the fault happens to
				if struck != w && (w.Times == 0 || w.met.Add(1) <= w.Times) {
					struck = w
				}
				return struck == w
			}
			piece := buf[:n]
			if due := w.After - passed; due < int64(n) && (w.Cut || w.Stall || w.Corrupt) && strike() {
				due = max(due, 0)
				if w.Cut || w.Stall {
					_ = late.write(piece[:due], w) // the connection ends or stands still anyway
					late.wait.Wait()
				}
				switch {
				case w.Cut:
					p.cut(to, from)
					return
				case w.Stall:
					p.hold(from, to)
					return
				}
				piece[due] ^= 1
			}
			if late.write(piece, w) != nil {
				p.cut(to, from)
				return
			}
			passed += int64(n)
		}
		if err == io.EOF {
			late.wait.Wait()
			_ = to.CloseWrite()
			return
		}
		if err != nil {
			p.cut(to, from)
			return
		}
	}
}

// hold lets a direction stand still until the proxy or the connection ends.
func (p *Proxy) hold(from, to *net.TCPConn) {
	for {
		p.mu.Lock()
		open := p.open[from] && p.open[to]
		p.mu.Unlock()
		select {
		case <-p.closed:
			return
		case <-time.After(20 * time.Millisecond):
			if !open {
				return
			}
		}
	}
}
