package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Bounds of what a host may take to answer: its address, and until the session stands.
const (
	dialTimeout  = 15 * time.Second
	loginTimeout = 30 * time.Second
)

// requests of 32 KiB under way at a time, per file: 2 MiB, which is also the window of an SSH channel.
const requests = 64

func newTarget(cfg Config) (*Target, error) {
	if cfg.Port == 0 {
		cfg.Port = 22
	}
	if cfg.beat == 0 {
		cfg.beat = 15 * time.Second
	}
	if cfg.User == "" {
		u, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("no user is configured, and the present one has no name: %w", err)
		}
		cfg.User = u.Username
	}
	if cfg.KnownHosts == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("no known_hosts is configured, and there is no home directory: %w", err)
		}
		cfg.KnownHosts = filepath.Join(home, ".ssh", "known_hosts")
	}
	t := &Target{cfg: cfg, durable: make(map[string]bool)}
	t.place = fmt.Sprintf("sftp://%s@%s/%s", cfg.User, t.addr(), strings.TrimPrefix(cfg.Path, "/"))
	for i := range t.slots {
		t.slots[i] = newSlot()
	}
	return t, nil
}

func (t *Target) addr() string { return net.JoinHostPort(t.cfg.Host, strconv.Itoa(t.cfg.Port)) }

// dial makes a connection, up to a session that answers.
func (t *Target) dial(ctx context.Context) (*conn, error) {
	within, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	c, err := t.login(within)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case within.Err() != nil:
		return nil, againError{fmt.Errorf("connect to %s: no session within %v: is this an SSH server?", t.addr(), loginTimeout)}
	}
	return nil, fmt.Errorf("connect to %s: %w", t.addr(), err)
}

func (t *Target) login(ctx context.Context) (*conn, error) {
	keys, err := t.keys(ctx)
	if err != nil {
		return nil, err
	}
	defer keys.release()
	pin, err := readPin(t.cfg.KnownHosts, t.cfg.Host, t.cfg.Port)
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", t.addr())
	if err != nil {
		return nil, unreachable(err)
	}
	c := &conn{heard: &counted{Conn: raw}, dead: make(chan struct{})}
	c.net = t.cfg.Limit.Conn(c.heard)
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() }) // ends the handshake
	err = t.handshake(c, keys, pin)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.net.Close()
		return nil, err
	}
	go c.watch(t.cfg.beat)
	return c, nil
}

func (t *Target) handshake(c *conn, keys *keys, pin *pin) error {
	sc, channels, incoming, err := ssh.NewClientConn(c.net, t.addr(), &ssh.ClientConfig{
		User:              t.cfg.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(keys.signers...)},
		HostKeyCallback:   pin.check,
		HostKeyAlgorithms: pin.algorithms,
	})
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case err == nil:
	case pin.refused != nil:
		return pin.refused
	case errors.As(err, &negotiation) && strings.Contains(err.Error(), "host key"):
		return pin.missing(err)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("the host refuses user %s with %s: add the public key to ~%s/.ssh/authorized_keys there: %w",
			t.cfg.User, keys, t.cfg.User, os.ErrPermission)
	case errors.As(err, &negotiation):
		return err
	default:
		return againError{fmt.Errorf("the host ended the handshake: %w", err)}
	}
	c.ssh = ssh.NewClient(sc, channels, incoming)
	c.client, err = session(c.ssh)
	return err
}

// session begins SFTP.
func session(c *ssh.Client) (*sftp.Client, error) {
	s, err := c.NewSession()
	if err != nil {
		return nil, againError{fmt.Errorf("the host allows no session: look into its log: %w", err)}
	}
	w, err := s.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.RequestSubsystem("sftp"); errors.Is(err, io.EOF) {
		return nil, againError{err}
	} else if err != nil {
		return nil, fmt.Errorf("the host does not offer SFTP: add `Subsystem sftp internal-sftp` to its sshd_config: %w", err)
	}
	client, err := sftp.NewClientPipe(r, &modes{WriteCloser: w}, sftp.MaxConcurrentRequestsPerFile(requests))
	if err != nil {
		return nil, againError{fmt.Errorf("the account does not speak SFTP: look into the host's log, and for a ForceCommand or a directory that ChrootDirectory refuses: %w", err)}
	}
	return client, nil
}

// unreachable says what to do about a host that does not take a connection. Only a name that is not known is final.
func unreachable(err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("%w: correct the host's name", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return againError{fmt.Errorf("%w: nothing listens there: start sshd, or correct the port", err)}
	}
	return againError{fmt.Errorf("%w: check the host, the network and its firewalls", err)}
}
