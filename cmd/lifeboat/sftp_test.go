package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
)

// onSFTP is the line of a target on a host.
func onSFTP(d *testenv.SSHD, path string) string {
	return fmt.Sprintf("  offsite: {type: sftp, host: 127.0.0.1, port: %d, user: %s, key_file: %s, known_hosts: %s, path: %s}\n", d.Port, d.User, d.Key, d.KnownHosts, path)
}

// TestSFTPTarget keeps one of two copies on another host: it is founded there, caught up after the host was away, checked,
// and is all that a restore elsewhere needs.
func TestSFTPTarget(t *testing.T) {
	d := testenv.StartSSHD(t)
	x := newFixture(t, "disk")
	disk := fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk"))
	x.configure("lifeboat.yaml", "state", disk+onSFTP(d, "vault/crm"))
	x.want(0, "init", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
	want := x.restored("--from", "offsite")

	d.Kill()
	if s := x.want(3, "backup", "crm", "--full"); !strings.Contains(s.err, "offsite") || !strings.Contains(s.err, "start sshd") {
		t.Error(s)
	}
	d.Start()
	x.want(0, "backup", "crm")
	x.want(0, "check", "--from", "offsite", "--read-data=100%", "--identity", x.path("key"))

	from := fmt.Sprintf("sftp://%s@127.0.0.1:%d%s?%s", d.User, d.Port, filepath.Join(d.Home, "vault/crm"),
		url.Values{"key_file": {d.Key}, "known_hosts": {d.KnownHosts}}.Encode())
	elsewhere := &fixture{t: t, dir: t.TempDir()}
	to := elsewhere.path("out")
	elsewhere.want(0, "restore", "crm", "-c", "", "--from", from, "--identity", x.path("key"), "--to", to)
	if got := x.restored("--from", from); !bytes.Equal(got, want) {
		t.Error("a restore through a URL yields another database")
	}
	if s := x.want(1, "snapshots", "--from", strings.Replace(from, "known_hosts=", "known_hosts=/absent", 1)); !strings.Contains(s.err, "ssh-keyscan") {
		t.Error(s)
	}
}

// TestSFTPApart refuses targets that are one directory, or one inside the other, however it is written.
func TestSFTPApart(t *testing.T) {
	d := testenv.StartSSHD(t)
	x := newFixture(t, "disk")
	home := filepath.Join(d.Home, "vault")
	two := func(second string) string {
		return onSFTP(d, "vault") + strings.Replace(second, "offsite:", "other:", 1)
	}
	refused := func(second string) {
		t.Helper()
		x.configure("lifeboat.yaml", "state", two(second))
		if s := x.want(2, "init"); !strings.Contains(s.err, "one inside the other") || !strings.Contains(s.err, "target other") {
			t.Error(s)
		}
	}
	refused(onSFTP(d, "vault"))
	refused(onSFTP(d, "~/vault/./crm"))
	d.Kill()
	refused(onSFTP(d, "/~/x/../vault/")) // as it is written
	d.Start()
	refused(onSFTP(d, home)) // as the host has it
	x.must(os.Symlink("vault", filepath.Join(d.Home, "link")))
	refused(onSFTP(d, "link"))
	refused(onSFTP(d, "link/crm"))
	known, err := os.ReadFile(d.KnownHosts)
	x.must(err)
	x.must(os.WriteFile(d.KnownHosts, append(known, strings.Replace(string(known), "127.0.0.1", "localhost", 1)...), 0o600))
	refused(strings.Replace(onSFTP(d, home), "127.0.0.1", "localhost", 1))

	x.configure("lifeboat.yaml", "other-state", strings.Replace(two(onSFTP(d, "vault-2")), "path: vault,", "path: vault-1,", 1))
	x.want(0, "init")
}

// TestSFTPAppendOnly founds, backs up and takes over with a key that can only add, as doc/targets.md describes it. The full key cleans up.
func TestSFTPAppendOnly(t *testing.T) {
	d := testenv.StartSSHD(t)
	x := newFixture(t, "disk")
	targets := fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk")) + onSFTP(d, filepath.Join(d.Home, "vault"))
	probes := func() int {
		found, err := filepath.Glob(filepath.Join(d.Home, "vault", "probe-*"))
		x.must(err)
		return len(found)
	}
	key := d.Keygen("limited")
	d.Allow(key, addOnly(t))
	x.configure("lifeboat.yaml", "state", strings.Replace(targets, d.Key, key, 1))
	for n := 1; n <= 2; n++ {
		if s := x.want(0, "init", "--identity", x.path("key")); !strings.Contains(s.out, "offsite: ready") || !strings.Contains(s.err, "warning: target offsite: objects cannot be deleted") {
			t.Error(s)
		}
		if probes() != n {
			t.Errorf("init leaves %d probes; want %d", probes(), n)
		}
	}
	x.want(0, "backup", "crm")
	x.want(0, "backup", "crm", "--full")
	x.want(0, "check", "--from", "offsite", "--read-data=100%", "--identity", x.path("key"))
	if s := x.run("forget", "s2", "--yes", "--reason", "a test"); s.code == 0 || !strings.Contains(s.err, "may not delete") {
		t.Errorf("forget: %s", s)
	}
	x.want(0, "check", "--from", "offsite", "--read-data=100%", "--identity", x.path("key"))
	x.restored("--from", "offsite")

	pack, err := filepath.Glob(filepath.Join(d.Home, "vault", "packs", "*", "*"))
	x.must(err)
	x.must(os.Chmod(pack[0], 0o600))
	x.must(os.WriteFile(pack[0], []byte("damaged"), 0o600))
	if s := x.run("heal"); s.code == 0 || !strings.Contains(s.out+s.err, "posix-rename") && !strings.Contains(s.out+s.err, "permission") {
		t.Errorf("heal: %s", s)
	}
	x.must(os.RemoveAll(x.path("state")))
	x.want(0, "init", "--take-over", "--identity", x.path("key"))
	x.configure("lifeboat.yaml", "state", targets)
	x.want(0, "heal")
	x.want(0, "backup", "crm")
	x.want(0, "forget", "s3", "--yes", "--reason", "a test")
	if probes() != 0 {
		t.Errorf("%d probes are left once a key may delete them", probes())
	}
	x.want(0, "check", "--from", "offsite", "--read-data=100%", "--identity", x.path("key"))
}

// addOnly is what doc/targets.md writes before such a key.
func addOnly(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../doc/targets.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^(restrict,command="internal-sftp -p [^"]+") ssh-ed25519 `).FindSubmatch(doc)
	if found == nil {
		t.Fatal("doc/targets.md does not describe a key that can only add")
	}
	return string(found[1])
}
