package sftp

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// ErrHostKey is wrapped where the host's key is not the one in known_hosts, or there is none.
var ErrHostKey = errors.New("the host's key is not trusted")

// pin is what known_hosts says of one host.
type pin struct {
	file        string
	host        string
	port        int
	known       ssh.HostKeyCallback
	keys        []knownhosts.KnownKey // of the host
	authorities []knownhosts.KnownKey // that certify the host's key
	algorithms  []string              // those of the known keys: others would be taken for a changed key; empty if the host is unknown
	refused     error                 // why check refused
}

func readPin(file, host string, port int) (*pin, error) {
	p := &pin{file: file, host: host, port: port}
	known, err := knownhosts.New(file)
	if errors.Is(err, fs.ErrNotExist) {
		known, err = func(string, net.Addr, ssh.PublicKey) error { return &knownhosts.KeyError{} }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the known host keys: %w: correct %s", err, file)
	}
	p.known = known
	var keyErr *knownhosts.KeyError
	if err := known(p.addr(), &net.TCPAddr{IP: net.IPv4zero, Port: port}, noKey{}); !errors.As(err, &keyErr) {
		return nil, fmt.Errorf("read the known host keys in %s: %w", file, err)
	}
	if err := p.sort(keyErr.Want); err != nil {
		return nil, fmt.Errorf("read the known host keys: %w", err)
	}
	if len(p.authorities) > 0 {
		p.algorithms = []string{ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
			ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01}
	}
	for _, k := range p.keys {
		types := []string{k.Key.Type()}
		if types[0] == ssh.KeyAlgoRSA {
			types = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, a := range types {
			if !slices.Contains(p.algorithms, a) {
				p.algorithms = append(p.algorithms, a)
			}
		}
	}
	return p, nil
}

func (p *pin) addr() string { return net.JoinHostPort(p.host, strconv.Itoa(p.port)) }

// check implements ssh.HostKeyCallback.
func (p *pin) check(addr string, remote net.Addr, key ssh.PublicKey) error {
	err := p.known(addr, remote, key)
	var keyErr *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	cert, certified := key.(*ssh.Certificate)
	if certified {
		// Without an authority it is a key like any other. A certificate does not bring a revoked key back, nor one of a revoked authority.
		plain, signer := p.known(addr, remote, cert.Key), p.known(addr, remote, cert.SignatureKey)
		if len(p.authorities) == 0 || errors.As(plain, &revoked) {
			certified, key, err = false, cert.Key, plain
		} else if errors.As(signer, &revoked) {
			certified, key, err = false, cert.SignatureKey, signer
		}
	}
	if err == nil {
		return nil
	}
	offered := key.Type() + " " + ssh.FingerprintSHA256(key)
	switch {
	case certified:
		p.refused = p.uncertified(cert, err)
	case errors.As(err, &revoked):
		p.refused = fmt.Errorf("%w: %s is revoked in %s:%d: do not use this host", ErrHostKey, offered, revoked.Revoked.Filename, revoked.Revoked.Line)
	case errors.As(err, &keyErr) && len(keyErr.Want) == 0:
		p.refused = fmt.Errorf("%w: %s does not know %s, which shows %s: get the fingerprint from whoever runs it (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and if it is the same: %s",
			ErrHostKey, p.file, p.addr(), offered, p.scan())
	case errors.As(err, &keyErr):
		p.refused = p.changed(offered)
	default:
		p.refused = fmt.Errorf("%w: %w", ErrHostKey, err)
	}
	return p.refused
}

func (p *pin) changed(offered string) error {
	return fmt.Errorf("%w: WARNING: THE KEY OF %s HAS CHANGED: somebody may be between you and the host. It shows %s, %s has %s. Nothing was sent. Ask whoever runs the host; only if they changed the key: ssh-keygen -f %s -R '%s', then %s",
		ErrHostKey, p.addr(), offered, p.file, list(p.keys), p.file, knownhosts.Normalize(p.addr()), p.scan())
}

// missing is for a host that has no key of the known types.
func (p *pin) missing(err error) error {
	if len(p.algorithms) == 0 {
		return err
	}
	if len(p.authorities) > 0 && len(p.keys) == 0 {
		return p.unsigned()
	}
	return fmt.Errorf("%w: WARNING: %s has no key of the types that %s knows (%s): its key was changed, or somebody is between you and the host. Ask whoever runs it; only if they changed the key: %s",
		ErrHostKey, p.addr(), p.file, strings.Join(p.algorithms, ", "), p.scan())
}

func (p *pin) scan() string {
	return fmt.Sprintf("ssh-keyscan -p %d %s >> %s", p.port, p.host, p.file)
}

// noKey is no host's key: asking for it yields those that are known.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return bytes.Repeat([]byte{0}, 16) }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }
