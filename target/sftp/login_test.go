package sftp_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target/sftp"
)

// wantRefused opens a target in vain, and looks for words in the reason.
func wantRefused(t *testing.T, cfg sftp.Config, is error, words ...string) {
	t.Helper()
	tg, err := sftp.Open(t.Context(), cfg)
	if err == nil {
		t.Errorf("Open succeeded: %v", tg.Close())
		return
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("Open: %v; want an error that satisfies %q", err, is)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("Open: %v; want %q in it", err, w)
		}
	}
}

// fingerprint is what ssh-keygen says of a key.
func fingerprint(t *testing.T, file string) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-l", "-f", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[1]
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostKey(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	cfg := at(d, "target")
	create(t, cfg)
	host := fingerprint(t, filepath.Join(d.Base, "host_key.pub"))

	if out, err := exec.Command("ssh-keygen", "-H", "-f", d.KnownHosts).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen -H: %v: %s", err, out)
	}
	put(t, open(t, cfg), "hashed")

	unknown := cfg
	unknown.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
	wantRefused(t, unknown, sftp.ErrHostKey, host, "ssh-keyscan -p", unknown.KnownHosts)
	write(t, unknown.KnownHosts, "elsewhere ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHm2LYTvnxXJQJSSE4cYMGjvQCnNFY3AnxkYwJ0yDXYK\n")
	wantRefused(t, unknown, sftp.ErrHostKey, host, "ssh-keyscan -p")
	write(t, unknown.KnownHosts, "nonsense\n")
	wantRefused(t, unknown, nil, unknown.KnownHosts)

	d.Keygen("other")
	d.Know("other")
	wantRefused(t, cfg, sftp.ErrHostKey, "HAS CHANGED", host, fingerprint(t, filepath.Join(d.Base, "other.pub")), "ssh-keygen -f")
	d.Keygen("rsa", "-t", "rsa", "-b", "2048", "-N", "")
	d.Know("rsa")
	wantRefused(t, cfg, sftp.ErrHostKey, "WARNING", "rsa-sha2-512")
}

// TestHostKeyTypes pins one of two keys that a host has, and it is not the one that would be negotiated otherwise.
func TestHostKeyTypes(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	d.Keygen("rsa", "-t", "rsa", "-b", "2048", "-N", "")
	d.Give(filepath.Join(d.Base, "rsa"))
	d.Kill()
	conf, err := os.ReadFile(filepath.Join(d.Base, "sshd_config"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(d.Base, "sshd_config"), string(conf)+"HostKey "+filepath.Join(d.Base, "rsa")+"\n")
	d.Give(filepath.Join(d.Base, "sshd_config"))
	d.Start()
	d.Know("rsa")
	put(t, create(t, at(d, "target")), "a")
}

func TestUserKey(t *testing.T) {
	d := testenv.StartSSHD(t)
	create(t, at(d, "target"))

	cfg := at(d, "target")
	cfg.KeyFile = d.Keygen("stranger")
	wantRefused(t, cfg, fs.ErrPermission, d.User, fingerprint(t, cfg.KeyFile+".pub"), "authorized_keys")

	cfg.KeyFile = d.Keygen("locked", "-t", "ed25519", "-N", "a passphrase")
	wantRefused(t, cfg, nil, "passphrase", "agent")

	cfg.KeyFile = filepath.Join(d.Base, "key.pub")
	if err := os.Chmod(cfg.KeyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, cfg, nil, "no private key")

	cfg.KeyFile = d.Key
	if err := os.Chmod(d.Key, 0o640); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, cfg, nil, "can be read by others", "0640", "chmod 600 "+d.Key)

	cfg.KeyFile = filepath.Join(d.Base, "absent")
	wantRefused(t, cfg, fs.ErrNotExist, "ssh-keygen")
}

func TestAgent(t *testing.T) {
	d := testenv.StartSSHD(t)
	cfg := at(d, "target")
	cfg.KeyFile = ""
	t.Setenv("SSH_AUTH_SOCK", "")
	wantRefused(t, cfg, nil, "key_file", "SSH_AUTH_SOCK")

	socket := filepath.Join(t.TempDir(), "agent")
	t.Setenv("SSH_AUTH_SOCK", socket)
	wantRefused(t, cfg, fs.ErrNotExist, "start it")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = agent.Wait() // killed, it says
	})
	for i := 0; ; i++ {
		if _, err := os.Stat(socket); err == nil {
			break
		} else if i == 200 {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Millisecond)
	}
	wantRefused(t, cfg, nil, "no keys", "ssh-add")
	if out, err := exec.Command("ssh-add", "-q", d.Key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	put(t, create(t, cfg), "a")
}

// TestUnreachable expects each reason to say what to do.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	d := testenv.StartSSHD(t)
	create(t, at(d, "target"))

	cfg := at(d, "absent")
	wantRefused(t, cfg, fs.ErrNotExist, "lifeboat init")
	write(t, filepath.Join(d.Home, "file"), "")
	cfg.Path = filepath.Join(d.Home, "file")
	wantRefused(t, cfg, nil, "has to be a directory")

	cfg.Host = "no-such-host.invalid"
	wantRefused(t, cfg, nil, "no-such-host.invalid")
	cfg = at(d, "target")
	cfg.Port = testenv.FreePort(t)
	wantRefused(t, cfg, nil, "start sshd, or correct the port")

	none := testenv.StartSSHD(t, "Subsystem other internal-sftp")
	wantRefused(t, at(none, "target"), nil, "Subsystem sftp internal-sftp")
	shell := testenv.StartSSHD(t, "ForceCommand /bin/false")
	wantRefused(t, at(shell, "target"), nil, "ForceCommand")
}

func TestRelativePaths(t *testing.T) {
	d := testenv.StartSSHD(t)
	for i, dir := range []string{"target", "~/target", "/~/target", "./x/../target", filepath.Join(d.Home, "target")} {
		name := string(rune('a' + i))
		put(t, create(t, at(d, dir)), name)
		if _, err := os.Stat(filepath.Join(d.Home, "target", name)); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
