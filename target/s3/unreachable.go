package s3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// unreachable explains a request that was not answered.
func (t *Target) unreachable(sent *url.Error, err error) error {
	return &storeError{text: "no answer from " + t.where() + ": " + sent.Err.Error(), hint: t.reach(sent), cause: err}
}

// hopeless refuses another attempt where only a person can mend it.
func hopeless(err error) aws.Ternary {
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) || errors.Is(err, http.ErrSchemeMismatch) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// reach says what to do so that requests are answered.
func (t *Target) reach(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown) && t.CAFile != "":
		return "ca_file does not have the certificate of its authority: give the right one"
	case errors.As(err, &unknown):
		return "give the certificate of its authority as ca_file"
	case errors.As(err, &name):
		return "the store's certificate is not for this name: write the endpoint with the name that it is for"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the store's certificate is over or has not begun: have it renewed, or set this host's clock"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the store does not speak TLS there: write http:// in the endpoint, or the port where it does"
	case strings.HasPrefix(t.Endpoint, "http://") && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)):
		return "if the store speaks TLS there, write https:// in the endpoint; otherwise check the network and the firewall"
	}
	return "check the endpoint, the network and the firewall"
}

// where names the store.
func (t *Target) where() string {
	if u, err := url.Parse(t.Endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return "S3 in " + t.Region
}
