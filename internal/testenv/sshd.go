package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SSHD is a throw-away OpenSSH server with one account: that of the user that servers run as.
type SSHD struct {
	Base       string // holds all of it
	Home       string // where the account begins
	Port       int
	User       string
	Key        string // private key of the account, a file
	KnownHosts string // with the key of this host
	cmd        *exec.Cmd
	used       usage
	t          TB
}

// StartSSHD starts a server. Its sshd_config begins with lines, and the first word about a setting is what counts there.
func StartSSHD(t TB, lines ...string) *SSHD {
	t.Helper()
	base := tempDir(t)
	s := &SSHD{Base: base, Home: filepath.Join(base, "home"), Port: FreePort(t), User: accountName(t),
		Key: filepath.Join(base, "key"), KnownHosts: filepath.Join(base, "known_hosts"), t: t}
	must(t, os.Mkdir(s.Home, 0o700))
	must(t, give(s.Home))
	s.Keygen("host_key")
	must(t, give(filepath.Join(base, "host_key")))
	s.Keygen("key")
	s.Allow(s.Key, "restrict")
	s.Know("host_key")
	conf := append(slices.Clone(lines), "ListenAddress 127.0.0.1", fmt.Sprintf("Port %d", s.Port), "HostKey "+filepath.Join(base, "host_key"),
		"AuthorizedKeysFile "+filepath.Join(base, "authorized_keys"), "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"StrictModes no", "UsePAM no", "PidFile none", "MaxStartups 100")
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Subsystem ") }) {
		conf = append(conf, "Subsystem sftp internal-sftp -d "+s.Home)
	}
	must(t, os.WriteFile(filepath.Join(base, "sshd_config"), []byte(strings.Join(conf, "\n")+"\n"), 0o644))
	s.Start()
	t.Cleanup(s.Kill)
	return s
}

// accountName is the user that servers run as.
func accountName(t TB) string {
	t.Helper()
	if uid, _, ok := serverUser(); ok {
		u, err := user.LookupId(strconv.Itoa(uid))
		must(t, err)
		return u.Username
	}
	u, err := user.Current()
	must(t, err)
	return u.Username
}

// Keygen makes a key pair in Base, and returns the file of the private key.
func (s *SSHD) Keygen(name string, args ...string) string {
	s.t.Helper()
	file := filepath.Join(s.Base, name)
	if len(args) == 0 {
		args = []string{"-t", "ed25519", "-N", ""}
	}
	if out, err := exec.Command("ssh-keygen", append(args, "-q", "-f", file)...).CombinedOutput(); err != nil {
		s.t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return file
}

// Allow adds a key to those of the account, with the options that limit it.
func (s *SSHD) Allow(key, options string) {
	s.t.Helper()
	pub, err := os.ReadFile(key + ".pub")
	must(s.t, err)
	f, err := os.OpenFile(filepath.Join(s.Base, "authorized_keys"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(s.t, err)
	_, err = fmt.Fprintf(f, "%s %s", options, pub)
	must(s.t, err)
	must(s.t, f.Close())
}

// Know writes a known_hosts file with the key name of Base, for the server's address and those of proxies before it.
func (s *SSHD) Know(name string, lines ...*Proxy) {
	s.t.Helper()
	pub, err := os.ReadFile(filepath.Join(s.Base, name+".pub"))
	must(s.t, err)
	hosts := fmt.Sprintf("[127.0.0.1]:%d", s.Port)
	for _, p := range lines {
		hosts += fmt.Sprintf(",[127.0.0.1]:%d", p.Port)
	}
	must(s.t, os.WriteFile(s.KnownHosts, fmt.Appendf(nil, "%s %s", hosts, pub), 0o644))
}

// Give makes a file or directory the account's own.
func (s *SSHD) Give(path string) {
	s.t.Helper()
	must(s.t, give(path))
}

// Start starts the server, and waits until it takes connections.
func (s *SSHD) Start() {
	s.t.Helper()
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		s.t.Fatalf("%v: run scripts/setup", err)
	}
	log, err := os.OpenFile(filepath.Join(s.Base, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(s.t, err)
	defer log.Close()
	s.cmd = command(context.Background(), "/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(s.Base, "sshd_config"))
	s.cmd.Stderr = log
	must(s.t, s.cmd.Start())
	for range 200 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		if err == nil {
			must(s.t, c.Close())
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.t.Fatalf("sshd does not listen: %s", s.Log())
}

// Log is what the server said.
func (s *SSHD) Log() string {
	b, err := os.ReadFile(filepath.Join(s.Base, "log"))
	must(s.t, err)
	return string(b)
}

// Kill kills the server and its sessions.
func (s *SSHD) Kill() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	s.KillSessions()
	must(s.t, s.cmd.Process.Kill())
	_ = s.cmd.Wait() // killed, it says
	s.cmd = nil
}

// CPU is the processor time of the server and its sessions so far. Of a session that ended, it is what it was at the last call, so call it often.
func (s *SSHD) CPU() time.Duration {
	s.t.Helper()
	return s.used.look(s.t, s.cmd.Process.Pid)
}

// KillSessions kills the processes of all connections, and leaves the server.
func (s *SSHD) KillSessions() {
	s.t.Helper()
	for _, pid := range descendants(s.t, s.cmd.Process.Pid) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			s.t.Fatal(err)
		}
	}
}
