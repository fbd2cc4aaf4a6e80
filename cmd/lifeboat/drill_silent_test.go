package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/clock"
	"lifeboat/internal/testenv"
)

// silent is the port of a host that takes connections and never says anything.
func silent(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// TestDrillSilentTarget drills while one target takes connections and never answers: the other copy is drilled, and takes the report.
func TestDrillSilentTarget(t *testing.T) {
	t.Parallel()
	host := testenv.StartSSHD(t)
	for name, line := range map[string]func(port int) string{
		"s3": func(port int) string {
			return fmt.Sprintf("  cloud: {type: s3, bucket: b, endpoint: \"http://127.0.0.1:%d\", access_key: k, secret_key: s}\n", port)
		},
		"sftp": func(port int) string {
			return strings.Replace(onSFTP(host, "vault"), fmt.Sprint("port: ", host.Port), fmt.Sprint("port: ", port), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newFixture(t, "disk")
			x.want(0, "backup", "crm")
			x.configure("lifeboat.yaml", "state", line(silent(t))+fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk")))
			x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", x.path("scratch")))
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second) // only a drill that hangs needs it
			defer cancel()
			var out, said bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &out, err: &said, now: clock.System, file: x.path("lifeboat.yaml")}
			code := a.run(ctx, []string{"-c", a.file, "drill", "run", "crm", "--identity", x.path("key"), "--json"})
			var r evidence.Report
			if err := json.Unmarshal(out.Bytes(), &r); err != nil || code != 0 {
				t.Fatalf("exit code %d, %v: %s", code, err, &said)
			}
			if r.Result != evidence.Pass || r.Backup.Copy.Target != "disk" || !strings.Contains(fmt.Sprint(r.Selection.Excluded), "did not answer") {
				t.Errorf("%s from %s, excluded %+v", r.Result, r.Backup.Copy.Target, r.Selection.Excluded)
			}
			x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk")))
			if n := strings.Count(x.want(0, "drill", "list", "--json", "--from", "disk").out, `"report_sha256"`); n != 1 || len(x.waiting()) > 0 {
				t.Errorf("%d drills are recorded, %v wait: %s", n, x.waiting(), &said)
			}
		})
	}
}

// waiting are the things that happened and stand in no record yet.
func (x *fixture) waiting() []string {
	x.t.Helper()
	return x.objects("state/outbox")
}
