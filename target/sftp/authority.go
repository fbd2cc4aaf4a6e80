package sftp

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sort tells the host's own keys from those of authorities, which package knownhosts does not.
func (p *pin) sort(known []knownhosts.KnownKey) error {
	if len(known) == 0 {
		return nil // there may be no file
	}
	text, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for _, k := range known {
		if k.Line <= len(lines) && strings.HasPrefix(strings.TrimSpace(lines[k.Line-1]), "@cert-authority") {
			p.authorities = append(p.authorities, k)
		} else {
			p.keys = append(p.keys, k)
		}
	}
	return nil
}

// uncertified says why a certificate is refused.
func (p *pin) uncertified(cert *ssh.Certificate, err error) error {
	for _, a := range p.authorities {
		if bytes.Equal(a.Key.Marshal(), cert.SignatureKey.Marshal()) {
			return fmt.Errorf("%w: the certificate of %s, by the authority on line %d of %s, is refused: %w: have its key signed anew for the name %s (ssh-keygen -s AUTHORITY -I ID -h -n %s KEY.pub), or correct host",
				ErrHostKey, p.addr(), a.Line, p.file, err, p.host, p.host)
		}
	}
	return fmt.Errorf("%w: WARNING: the certificate of %s is by %s %s, and %s has other authorities for it: %s. Ask whoever runs the authority; only if it has another key: correct its line",
		ErrHostKey, p.addr(), cert.SignatureKey.Type(), ssh.FingerprintSHA256(cert.SignatureKey), p.file, list(p.authorities))
}

// unsigned is for a host without a certificate where only authorities are known.
func (p *pin) unsigned() error {
	return fmt.Errorf("%w: %s shows no certificate, and %s has no key of it, only authorities: %s. Have its key signed (ssh-keygen -s) and named as HostCertificate in its sshd_config, or pin the key itself: %s",
		ErrHostKey, p.addr(), p.file, list(p.authorities), p.scan())
}

func list(known []knownhosts.KnownKey) string {
	var out []string
	for _, k := range known {
		out = append(out, fmt.Sprintf("%s %s (line %d)", k.Key.Type(), ssh.FingerprintSHA256(k.Key), k.Line))
	}
	return strings.Join(out, ", ")
}
