package sftp_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
	"lifeboat/target/sftp"
)

// certify has an authority sign a key of the server, and the server show the certificate.
func certify(t *testing.T, d *testenv.SSHD, authority, key string, args ...string) {
	t.Helper()
	args = append([]string{"-q", "-s", filepath.Join(d.Base, authority), "-I", "test", "-h"}, args...)
	if out, err := exec.Command("ssh-keygen", append(args, filepath.Join(d.Base, key+".pub"))...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen -s: %v: %s", err, out)
	}
	cert := filepath.Join(d.Base, key+"-cert.pub")
	d.Give(cert)
	d.Kill()
	file := filepath.Join(d.Base, "sshd_config")
	conf, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if line := "HostCertificate " + cert + "\n"; !strings.Contains(string(conf), line) {
		write(t, file, string(conf)+line)
		d.Give(file)
	}
	d.Start()
}

// TestHostAuthority trusts hosts by the certificate of an authority in known_hosts, and by nothing less.
func TestHostAuthority(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	for _, name := range []string{"ca", "other-ca"} {
		d.Keygen(name)
	}
	public := func(name string) string {
		b, err := os.ReadFile(filepath.Join(d.Base, name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	cfg := at(d, "target")
	create(t, cfg) // the key itself is known
	host := fmt.Sprintf("[127.0.0.1]:%d ", d.Port)
	known := func(lines ...string) { t.Helper(); write(t, cfg.KnownHosts, strings.Join(lines, "")) }
	authority := "@cert-authority " + fmt.Sprintf("[127.0.0.*]:%d ", d.Port) + public("ca")

	known("# who signs\n", authority)
	wantRefused(t, cfg, sftp.ErrHostKey, "shows no certificate", "HostCertificate", "(line 2)")
	known(authority, host+public("host_key"))
	put(t, open(t, cfg), "by-key")

	certify(t, d, "ca", "host_key", "-n", "127.0.0.1,vault.example.com", "-V", "-1h:+1h")
	known(authority)
	put(t, open(t, cfg), "by-certificate")
	known(authority, host+public("host_key"))
	put(t, open(t, cfg), "by-both")
	known(host + public("host_key"))
	put(t, open(t, cfg), "by-key-beside-a-certificate")
	known("elsewhere " + public("ca"))
	wantRefused(t, cfg, sftp.ErrHostKey, "does not know", fingerprint(t, filepath.Join(d.Base, "host_key.pub")), "ssh-keyscan")
	known("@cert-authority elsewhere " + public("ca"))
	wantRefused(t, cfg, sftp.ErrHostKey, "does not know", "ssh-keyscan")
	known(host + public("ca")) // an authority's key that is not marked as one
	wantRefused(t, cfg, sftp.ErrHostKey, "HAS CHANGED")
	known(strings.Replace(authority, public("ca"), public("other-ca"), 1))
	wantRefused(t, cfg, sftp.ErrHostKey, "WARNING", "has other authorities", fingerprint(t, filepath.Join(d.Base, "ca.pub")), fingerprint(t, filepath.Join(d.Base, "other-ca.pub")))
	for _, name := range []string{"ca", "host_key"} {
		known(authority, "@revoked * "+public(name))
		wantRefused(t, cfg, sftp.ErrHostKey, fingerprint(t, filepath.Join(d.Base, name+".pub"))+" is revoked in", ":2: do not use this host")
	}

	known(authority)
	certify(t, d, "ca", "host_key", "-n", "127.0.0.1", "-V", "-2h:-1h")
	wantRefused(t, cfg, sftp.ErrHostKey, "expired", "line 1", "signed anew for the name 127.0.0.1")
	certify(t, d, "ca", "host_key", "-n", "vault.example.com")
	wantRefused(t, cfg, sftp.ErrHostKey, "vault.example.com", "signed anew for the name 127.0.0.1", "or correct host")
	certify(t, d, "ca", "host_key")
	put(t, open(t, cfg), "for-every-name")
}
