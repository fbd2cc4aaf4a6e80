package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"

	"lifeboat/config"
)

// The socket, in the state directory, is for whom the daemon runs as, and root. What it serves only reads.
const socketFile = "daemon.sock"

const (
	controlTimeout = 10 * time.Second
	maxStatus      = 16 << 20 // bytes that a client reads
	stuck          = time.Minute
)

// control serves the socket, and where the configuration says so an address for metrics and health.
type control struct {
	log     *slog.Logger
	servers []*http.Server
	ended   sync.WaitGroup
}

// listen begins to serve. Nobody else can have the socket: the daemon's lock is held.
func (d *Daemon) listen(cfg *config.Config) (*control, error) {
	c := &control{log: d.Log}
	path := filepath.Join(cfg.StateDir, socketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make the daemon's socket: %w", err)
	}
	l, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("make the daemon's socket %s: %w", path, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", d.serveStatus)
	d.health(mux)
	c.serve(peersOnly{l, d.strangers.refused}, mux)
	if cfg.Daemon.Listen != "" {
		l, err := net.Listen("tcp", cfg.Daemon.Listen)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("listen for metrics and health: %w: change daemon.listen, or stop what has the port", err)
		}
		mux := http.NewServeMux()
		d.health(mux)
		c.serve(l, mux)
	}
	return c, nil
}

func (c *control) serve(l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: controlTimeout, ReadTimeout: controlTimeout, WriteTimeout: controlTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	c.servers = append(c.servers, s)
	c.ended.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.log.Error("status and metrics are served no more: start the daemon anew", "at", l.Addr(), "error", err)
		}
	})
}

func (c *control) close() {
	for _, s := range c.servers {
		_ = s.Close() // nobody waits for an answer any more
	}
	c.ended.Wait()
}

// health serves what supervisors ask. Alive is a daemon that looks for what is due; ready one that has begun.
func (d *Daemon) health(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.Alive(), "alive", "stuck") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		ready := d.ready
		d.mu.Unlock()
		answer(w, ready, "ready", "starting")
	})
}

func answer(w http.ResponseWriter, ok bool, yes, no string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		yes = no
	}
	_, _ = io.WriteString(w, yes+"\n") // who asked sees that it broke off
}

// serveStatus answers with the Status.
func (d *Daemon) serveStatus(w http.ResponseWriter, _ *http.Request) {
	b, err := json.Marshal(d.Status())
	if err != nil {
		d.Log.Error("the status cannot be told", "error", err)
		http.Error(w, "the status cannot be told: see the daemon's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // as above
}

// listenUnix makes a socket that nobody else can open, at a path of any length: an address has room for a short one only.
func listenUnix(path string) (net.Listener, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.Listen("unix", short(dir, path))
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its short name ends with dir; the next daemon removes it
	}
	return l, os.Chmod(path, 0o600)
}

// short is a name of a file in an open directory.
func short(dir *os.File, path string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
}

// peersOnly accepts connections of whom the daemon runs as, and of root.
type peersOnly struct {
	net.Listener
	refused func(uid uint32, known bool)
}

// Accept implements net.Listener.
func (l peersOnly) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peer(c)
		if err == nil && (uid == uint32(os.Geteuid()) || uid == 0) {
			return c, nil
		}
		_ = c.Close() // a stranger
		l.refused(uid, err == nil)
	}
}

// peer is who is at the other end of a socket.
func peer(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	return cred.Uid, nil
}

// ErrNotRunning is wrapped where no daemon answers.
var ErrNotRunning = errors.New("no daemon runs with this state directory")

// Ask asks the daemon of a state directory how things are. It trusts nobody but the owner of the directory, and root, to be that.
func Ask(ctx context.Context, stateDir string) (s Status, err error) {
	path := filepath.Join(stateDir, socketFile)
	owner, err := ownerOf(stateDir)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	client := &http.Client{Timeout: controlTimeout, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, path, owner)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://daemon/status", nil)
	if err != nil {
		return s, err
	}
	r, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return s, ErrNotRunning
	}
	if err != nil {
		return s, fmt.Errorf("ask the daemon: %w", err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(io.LimitReader(r.Body, maxStatus)).Decode(&s); err != nil {
		return s, fmt.Errorf("ask the daemon: it answers with something else: %w", err)
	}
	return s, nil
}

func dial(ctx context.Context, path string, owner uint32) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", short(dir, path))
	if err != nil {
		return nil, err
	}
	uid, err := peer(c)
	if err == nil && uid != owner && uid != 0 {
		err = fmt.Errorf("the socket %s is served by user %d, not by the owner of its directory: somebody pretends to be the daemon", path, uid)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func ownerOf(path string) (uint32, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("who owns it cannot be seen")
	}
	return st.Uid, nil
}
