package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target/s3"
)

// three founds a repository on a disk, in a bucket with object lock, and on another host.
func three(t *testing.T) (x *fixture, store *testenv.S3, host *testenv.SSHD) {
	t.Helper()
	store, host = testenv.StartS3(t), testenv.StartSSHD(t)
	store.Bucket("locks", true)
	x = newFixture(t, "disk")
	t.Setenv("AWS_ACCESS_KEY_ID", store.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", store.SecretKey)
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk"))+
		fmt.Sprintf("  cloud: {type: s3, bucket: locks, prefix: prod, endpoint: %q, object_lock: {mode: governance, for: 30d}}\n", store.URL())+
		strings.Replace(onSFTP(host, "vault"), "path:", "offsite: true, media: tape, path:", 1)+
		"policies:\n  crm: {sources: [crm], copies: {count: 3, media: 3, offsite: 1, immutable: 1}}\n")
	x.want(0, "init", "--identity", x.path("key"))
	return x, store, host
}

// ruin spoils some of the objects below a directory at random.
func ruin(t *testing.T, dir string, rng *rand.Rand) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || rng.IntN(2) == 0 {
			return err
		}
		n++
		if rng.IntN(3) == 0 {
			return os.Remove(path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, spoil([]string{"flip", "truncate"}[rng.IntN(2)], b), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestThreeCopies backs up to three kinds of targets, ruins two of them by hand, restores and heals, and restores in the end from the one that
// is left, on a host that knows nothing but its URL and has the identity.
func TestThreeCopies(t *testing.T) {
	x, store, host := three(t)
	x.want(0, "backup", "crm")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	if s := x.want(3, "status"); !strings.Contains(s.err, "0 of 3 copies") || !strings.Contains(s.err, "cloud does not count: it was never checked") {
		t.Error(s)
	}
	x.want(0, "check", "--identity", x.path("key"))
	var report statusReport
	x.must(json.Unmarshal([]byte(x.want(0, "status", "--json").out), &report))
	if p := report.Policies; len(p) != 1 || p[0].Verdict != "ok" || p[0].Have != (copiesStatus{3, 3, 1, 1}) {
		t.Errorf("the rule says %+v", p)
	}
	if until := report.Copies[1].LockedUntil; until == nil || time.Until(*until) < 29*24*time.Hour || report.Copies[0].LockedUntil != nil {
		t.Errorf("locked until %v", until)
	}
	want := x.database()

	rng := rand.New(rand.NewPCG(11, 4))
	vault := filepath.Join(host.Home, "vault")
	ruined := 0
	for _, part := range []string{"packs", "index", "keys"} {
		ruined += ruin(t, x.path("disk", part), rng) + ruin(t, filepath.Join(vault, part), rng)
	}
	if ruined < 5 {
		t.Fatalf("only %d objects were spoilt", ruined)
	}
	if s := x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", x.path("amid")); !bytes.Equal(x.read("amid", "crm.db"), want) {
		t.Errorf("a restore amid the damage: %s", s)
	}
	x.want(3, "check")
	if s := x.want(3, "status"); !strings.Contains(s.err, "1 of 3 copies") || !strings.Contains(s.err, "offsite does not count: it is damaged") {
		t.Error(s)
	}
	x.want(0, "heal")
	x.want(0, "check", "--identity", x.path("key"))
	x.want(0, "backup", "crm")

	host.Kill()
	x.must(churnRows(t.Context(), x.path("crm.db"), 2, 20))
	x.want(3, "backup", "crm")
	if s := x.want(3, "status"); !strings.Contains(s.err, "offsite does not count: it cannot be reached") {
		t.Error(s)
	}
	host.Start()
	if s := x.want(0, "copy"); !strings.Contains(s.out, "offsite  brought up to date") {
		t.Error(s)
	}
	x.want(0, "status")
	want = x.database()

	x.must(os.RemoveAll(x.path("disk")))
	x.must(os.RemoveAll(vault))
	elsewhere := &fixture{t: t, dir: t.TempDir()}
	from := "s3://locks/prod?" + url.Values{"endpoint": {store.URL()}, "region": {testenv.S3Region}, "path_style": {"true"}}.Encode()
	elsewhere.want(0, "restore", "crm", "-c", "", "--from", from, "--identity", x.path("key"), "--to", elsewhere.path("out"))
	if !bytes.Equal(elsewhere.read("out", "crm.db"), want) {
		t.Error("the last copy yields another database")
	}
}

// TestPostgresAppendOnly captures a log onto a host where nothing can be deleted: tails stay there, and nothing else is different.
func TestPostgresAppendOnly(t *testing.T) {
	d := testenv.StartSSHD(t)
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	conf := string(x.read("lifeboat.yaml")) + onSFTP(d, filepath.Join(d.Home, "vault"))
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(conf), 0o600))
	x.want(0, "init", "--identity", x.path("key"))
	key := d.Keygen("limited")
	d.Allow(key, addOnly(t))
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(strings.Replace(conf, d.Key, key, 1)), 0o600))
	x.want(0, "backup", "crm")
	end := x.stream()
	for range 3 {
		add(pg, 2)
		x.caught(pg) // switches to another segment
	}
	end(syscall.SIGTERM)
	if said := string(x.read("stream.log")); strings.Contains(said, "offsite") {
		t.Errorf("the stream says %s", said)
	}
	_, query := x.boot(pg, "--from", "offsite")
	if n := consistent(t, query); n != 6 {
		t.Errorf("%d transactions came back, not 6", n)
	}
	x.want(0, "check", "--identity", x.path("key"))
}

// TestLocksRenewed lets weeks pass by the clock of the program: what is needed stays locked, what was forgotten does not, and status raises the
// alarm where no backup comes.
func TestLocksRenewed(t *testing.T) {
	x, store, _ := three(t)
	x.want(0, "backup", "crm")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm", "--full")
	x.want(0, "check")
	opened, err := openURL(t.Context(), "s3://locks/prod?"+url.Values{"endpoint": {store.URL()}, "region": {testenv.S3Region}, "path_style": {"true"}}.Encode())
	x.must(err)
	cloud := s3.Locked{Target: opened.(*s3.Target)}
	days := func(name string) int {
		until, err := cloud.Retained(t.Context(), name)
		x.must(err)
		return int(time.Until(until).Hours()/24 + 0.5)
	}
	names := x.objects("disk")
	for _, step := range []struct{ pass, want int }{{5, 30}, {10, 40}, {12, 40}, {20, 50}} {
		x.shift = time.Duration(step.pass) * 24 * time.Hour
		x.want(0, "backup", "crm")
		x.want(0, "status")
		for _, name := range names {
			if got := days(name); got < step.want-1 || got > step.want {
				t.Errorf("day %d: %s is locked for %d days, not %d", step.pass, name, got, step.want)
			}
		}
	}
	x.shift = 36 * 24 * time.Hour
	if s := x.want(3, "status"); !strings.Contains(s.err, "target cloud: locks begin to lapse") {
		t.Error(s)
	}
	x.want(0, "backup", "crm")
	x.want(0, "status")
}
