package testenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority certifies servers that speak TLS. No system knows it.
type Authority struct {
	File string // its certificate, PEM
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	t    testing.TB
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir(), t: t}
	a.File = filepath.Join(a.dir, "ca.pem")
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a private authority"}, NotBefore: time.Now().Add(-48 * time.Hour),
		NotAfter: time.Now().Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a.key = key
	a.write(a.File, a.cert, a.cert, key.Public())
	return a
}

// Issue makes a certificate for 127.0.0.1, and returns its file and that of its key.
func (a *Authority) Issue(until time.Time) (cert, key string) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	cert, key = filepath.Join(a.dir, rand.Text()+".pem"), filepath.Join(a.dir, rand.Text()+".key")
	a.write(cert, &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: a.cert.NotBefore, NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert, k.Public())
	der, err := x509.MarshalPKCS8PrivateKey(k)
	must(a.t, err)
	must(a.t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return cert, key
}

func (a *Authority) write(file string, cert, parent *x509.Certificate, of crypto.PublicKey) {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, of, a.key)
	must(a.t, err)
	must(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}
