package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
)

// TestLimited keeps copies in a bucket and on a host with limits that hold at all times, and restores without them: by then they are so
// slow that a restore that kept to them would take longer than any test may.
func TestLimited(t *testing.T) {
	store, host := testenv.StartS3(t), testenv.StartSSHD(t)
	store.Bucket("plain", false)
	x := newFixture(t, "disk")
	t.Setenv("AWS_ACCESS_KEY_ID", store.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", store.SecretKey)
	at := func(limit string) {
		x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk"))+
			fmt.Sprintf("  cloud: {type: s3, bucket: plain, endpoint: %q, %s}\n", store.URL(), limit)+
			strings.Replace(onSFTP(host, "vault"), "path:", limit+", path:", 1))
	}
	at("bandwidth: [{from: 08:00, to: 20:00, rate: 4MB/s}, {from: 20:00, to: 08:00, rate: 5MB/s}], timezone: Asia/Shanghai")
	x.want(0, "init", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
	host.Kill()
	big := exec.CommandContext(t.Context(), "sqlite3", x.path("crm.db"), "CREATE TABLE big(b); INSERT INTO big VALUES(randomblob(16000000))")
	if out, err := big.CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v: %s (scripts/setup installs it)", err, out)
	}
	x.want(3, "backup", "crm")
	host.Start()
	if s := x.want(0, "copy"); !strings.Contains(s.out, "offsite  brought up to date") {
		t.Error(s)
	}
	x.want(0, "check", "--identity", x.path("key"), "--read-data=100%")

	at("bandwidth: 10kB/s")
	for _, from := range []string{"cloud", "offsite"} {
		if !bytes.Equal(x.restored("--from", from), x.database()) {
			t.Errorf("%s: another database comes back", from)
		}
	}

	at("bandwidth: 0B/s, timezone: Mars/Olympus")
	s := x.want(2, "status")
	for _, want := range []string{"too slow for any copy", "not a time zone"} {
		if strings.Count(s.err, want) != 2 {
			t.Errorf("status does not say %q of both targets: %s", want, s)
		}
	}
}
