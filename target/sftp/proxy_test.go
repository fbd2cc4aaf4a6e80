package sftp_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target/sftp"
)

// proxy passes connections on to a server, until it is told to lose what the server says.
type proxy struct {
	listener net.Listener
	to       string
	down     atomic.Int64 // bytes that came from the server

	mu    sync.Mutex
	pipes []*pipe
}

// pipe is a connection through a proxy.
type pipe struct {
	client, server net.Conn
	left           atomic.Int64 // bytes that still pass from the server
	stall          atomic.Bool  // what comes after them is kept back for ever; otherwise the connection ends
}

// through starts a proxy before a server, and returns the configuration that takes it.
func through(t *testing.T, d *testenv.SSHD, dir string) (*proxy, sftp.Config) {
	t.Helper()
	l := listen(t)
	p := &proxy{listener: l, to: fmt.Sprintf("127.0.0.1:%d", d.Port)}
	go p.serve()
	t.Cleanup(func() { p.each((*pipe).close) })
	cfg := at(d, dir)
	cfg.Port = portOf(l)
	key, err := os.ReadFile(filepath.Join(d.Base, "host_key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
	write(t, cfg.KnownHosts, fmt.Sprintf("[127.0.0.1]:%d %s", cfg.Port, key))
	return p, cfg
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close() // as the server would
			continue
		}
		c := &pipe{client: client, server: server}
		c.left.Store(1 << 60)
		p.mu.Lock()
		p.pipes = append(p.pipes, c)
		p.mu.Unlock()
		go func() { _, _ = io.Copy(server, client); c.close() }()
		go c.answer(&p.down)
	}
}

func (c *pipe) close() {
	_ = c.client.Close() // both may be closed already
	_ = c.server.Close()
}

// answer passes on what the server says, as far as that goes. The server goes on with what it was asked to do.
func (c *pipe) answer(down *atomic.Int64) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(buf)
		if err != nil {
			if !c.stall.Load() {
				c.close()
			}
			return
		}
		down.Add(int64(n))
		pass := max(0, min(int64(n), c.left.Load()))
		c.left.Add(-pass)
		if _, err := c.client.Write(buf[:pass]); err != nil {
			c.close()
			return
		}
		if pass < int64(n) && !c.stall.Load() {
			time.AfterFunc(50*time.Millisecond, c.close)
		}
	}
}

func (p *proxy) each(do func(*pipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.pipes {
		do(c)
	}
}

// lose has all present connections lose what the server says after so many bytes more, and then stall or end.
func (p *proxy) lose(after int64, stall bool) {
	p.each(func(c *pipe) { c.stall.Store(stall); c.left.Store(after) })
}

// listen takes connections, which nobody serves yet.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody is waiting
	return l
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
