package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"lifeboat/internal/clock"
	"lifeboat/internal/testenv"
)

// TestInterruptConnecting stops commands, as Ctrl-C does, while they wait for a host that takes connections and says nothing. None tries again.
func TestInterruptConnecting(t *testing.T) {
	d := testenv.StartSSHD(t)
	x := newFixture(t, "disk")
	for _, args := range [][]string{{"init"}, {"backup", "crm"}, {"copy"}, {"status"}, {"check"}, {"heal"}, {"restore", "crm", "--to", x.path("out")}, {"snapshots", "--from", "url"}} {
		t.Run(args[0], func(t *testing.T) {
			mute, err := net.Listen("tcp", "127.0.0.1:0")
			x.must(err)
			defer mute.Close()
			ctx, cancel := context.WithCancel(t.Context())
			var taken atomic.Int64
			go func() {
				for {
					c, err := mute.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					taken.Add(1)
					cancel()
				}
			}()
			port := mute.Addr().(*net.TCPAddr).Port
			line := strings.Replace(onSFTP(d, "vault"), fmt.Sprint("port: ", d.Port), fmt.Sprint("port: ", port), 1)
			x.configure("lifeboat.yaml", "state", line+fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk")))
			if args[len(args)-1] == "url" {
				args[len(args)-1] = fmt.Sprintf("sftp://%s@127.0.0.1:%d/vault?key_file=%s&known_hosts=%s", d.User, port, d.Key, d.KnownHosts)
			}
			var said bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &said, err: &said, now: clock.System, file: x.path("lifeboat.yaml")}
			code := a.run(ctx, append([]string{"-c", a.file, "--quiet"}, append(args, identityFor(x, args[0])...)...))
			if code != exitInterrupted || !strings.Contains(said.String(), "safe to repeat") {
				t.Errorf("exit code %d: %s", code, &said)
			}
			if n := taken.Load(); n != 1 {
				t.Errorf("%d connections were made; want 1", n)
			}
		})
	}
}

// identityFor is what a command needs to come as far as connecting.
func identityFor(x *fixture, command string) []string {
	if command == "restore" || command == "check" {
		return []string{"--identity", x.path("key")}
	}
	return nil
}
