package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"slices"
	"strings"
)

const dsnHint = "write it as mysql://user@host:3306/database, or mysql://user@localhost/database?socket=/run/mysqld/mysqld.sock"

// server is where a DSN leads.
type server struct {
	network, addr  string // tcp or unix
	user, password string
	database       string // may be empty
	tls            *tls.Config
	plain          bool   // TLS may be left out where the server has none
	ca             string // file with the server's authority; empty: those of the system
	verified       bool   // the server must prove which one it is
}

// The values of ssl-mode, as MariaDB's and MySQL's own clients know them.
const (
	tlsDisabled  = "DISABLED"
	tlsPreferred = "PREFERRED"
	tlsRequired  = "REQUIRED"
	tlsVerifyCA  = "VERIFY_CA"
	tlsVerify    = "VERIFY_IDENTITY"
)

// parse reads a DSN. Errors never quote it.
func parse(dsn, password string) (*server, error) {
	u, err := url.Parse(dsn)
	switch {
	case err != nil || u.Opaque != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: it is no URL", ErrDSN)
	case u.Scheme != "mysql" && u.Scheme != "mariadb":
		return nil, fmt.Errorf("%w: it does not begin with mysql://", ErrDSN)
	case u.Host == "":
		return nil, fmt.Errorf("%w: it names no host", ErrDSN)
	}
	s := &server{network: "tcp", user: u.User.Username(), database: strings.TrimPrefix(u.Path, "/"), password: password}
	if inline, ok := u.User.Password(); ok && password == "" {
		s.password = inline
	}
	if s.password == "" {
		s.password = os.Getenv("MYSQL_PWD")
	}
	if s.user == "" { // as the server's own clients do
		me, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("%w: it names no user", ErrDSN)
		}
		s.user = me.Username
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	s.addr = net.JoinHostPort(u.Hostname(), port)
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: its options cannot be read", ErrDSN)
	}
	for name := range options {
		if !slices.Contains([]string{"socket", "ssl-mode", "ssl-ca"}, name) {
			return nil, fmt.Errorf("%w: it has an option that is not known: known are socket, ssl-mode and ssl-ca", ErrDSN)
		}
	}
	if path := options.Get("socket"); path != "" {
		s.network, s.addr = "unix", path
		return s, nil
	}
	return s, s.secure(u.Hostname(), options.Get("ssl-mode"), options.Get("ssl-ca"))
}

// secure decides about TLS: without any option it is used where the server can, as by the server's own clients.
func (s *server) secure(host, mode, ca string) error {
	if mode == "" {
		mode = tlsPreferred
		if ca != "" {
			mode = tlsVerify
		}
	}
	s.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // of a server that nobody can tell from another
	switch strings.ToUpper(mode) {
	case tlsDisabled:
		s.tls = nil
		return nil
	case tlsPreferred:
		s.plain = true
		return nil
	case tlsRequired:
		return nil
	case tlsVerify:
		s.tls.InsecureSkipVerify, s.verified = false, true
	case tlsVerifyCA:
		s.verified = true
		s.tls.VerifyConnection = func(c tls.ConnectionState) error { return chained(c, s.tls.RootCAs) }
	default:
		return fmt.Errorf("%w: its ssl-mode is none of %s, %s, %s, %s and %s", ErrDSN, tlsDisabled, tlsPreferred, tlsRequired, tlsVerifyCA, tlsVerify)
	}
	if ca == "" {
		return nil // the authorities of this system
	}
	s.ca = ca
	pem, err := os.ReadFile(ca)
	if err != nil {
		return fmt.Errorf("%w: ssl-ca: %w", ErrDSN, err)
	}
	s.tls.RootCAs = x509.NewCertPool()
	if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%w: ssl-ca: there is no certificate in the file", ErrDSN)
	}
	return nil
}

// chained makes sure that an authority vouches for a certificate, whatever name it has.
func chained(c tls.ConnectionState, roots *x509.CertPool) error {
	if len(c.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	between := x509.NewCertPool()
	for _, cert := range c.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := c.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}
