package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/capture"
	"lifeboat/internal/testenv"
	"lifeboat/snapshot"
)

// TestS3 keeps copies in two buckets beside a disk, and restores from one with nothing but its URL and the identity.
func TestS3(t *testing.T) {
	store := testenv.StartS3(t)
	store.Bucket("plain", false)
	store.Bucket("locks", true)
	x := newFixture(t, "disk")
	t.Setenv("S3_SECRET", store.SecretKey)
	keys := fmt.Sprintf("endpoint: %q, access_key: %s, secret_key: \"${S3_SECRET}\"", store.URL(), store.AccessKey)
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n  cloud: {type: s3, bucket: plain, %s}\n", x.path("disk"), keys)+
		fmt.Sprintf("  vault: {type: s3, bucket: locks, prefix: prod, %s, object_lock: {mode: governance, for: 30d}}\n", keys))
	s := x.want(0, "init")
	for _, want := range []string{"cloud: ready", "vault: ready", "warning: target cloud: the bucket keeps no versions"} {
		if !strings.Contains(s.out+s.err, want) {
			t.Errorf("init does not say %q: %s", want, s)
		}
	}
	if strings.Contains(s.err, "target vault") || strings.Contains(s.out+s.err, store.SecretKey) {
		t.Errorf("init says %s", s)
	}
	x.want(0, "backup", "crm")
	x.want(0, "check", "--from", "cloud", "--identity", x.path("key"), "--read-data=100%")
	t.Setenv("AWS_ACCESS_KEY_ID", store.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", store.SecretKey)
	if !bytes.Equal(x.restored("--from", "s3://locks/prod?region=us-east-1&path_style=true&endpoint="+store.URL()), x.database()) {
		t.Error("the database that was restored from a bucket is not the one that was backed up")
	}
	x.rewrite()
	second, _, _ := strings.Cut(x.want(0, "backup", "crm").out, " ")
	if s := x.want(0, "forget", "s2", "--yes"); !strings.Contains(s.out+s.err, "are deleted after") {
		t.Errorf("forget says %s", s)
	}
	// Weeks later what it alone needed is deleted, but not where it is locked: that is no failure.
	x.shift = 8 * 24 * time.Hour
	x.want(0, "backup", "crm")
	if s := x.want(0, "forget", second, "--yes"); !strings.Contains(s.out, "deleted") {
		t.Errorf("forget says %s", s)
	}
	x.want(0, "check", "--from", "vault", "--identity", x.path("key"), "--read-data=100%")

	// One bucket inside another's prefix would be one copy.
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  a: {type: s3, bucket: plain, %s}\n  b: {type: s3, bucket: plain, prefix: x, %[1]s}\n", keys))
	if s := x.want(2, "init"); !strings.Contains(s.err, "one inside the other") {
		t.Errorf("init says %s", s)
	}
}

// TestSweepable holds what a lock must not hold: it names the same objects that capture replaces.
func TestSweepable(t *testing.T) {
	digest, source := strings.Repeat("0", 64), strings.Repeat("a", 16)
	n := capture.Name{Source: source, From: snapshot.Pos{Line: 1, Offset: 1}, To: snapshot.Pos{Line: 1, Offset: 2}, Kind: capture.Tail, Digest: digest}
	s := n
	s.Kind = capture.Segment
	for name, want := range map[string]bool{
		n.String(): true, "probe-00": true, s.String(): false, "packs/" + digest: false, "log/x-tail-" + digest: false, "journal/probe-1": false,
	} {
		if got := sweepable(name); got != want {
			t.Errorf("sweepable(%s) is %v; want %v", name, got, want)
		}
	}
}

// TestS3WrongBytes restores over a line on which bits flip: what is wrong is noticed, and taken from another copy; where there is none, nothing is
// restored.
func TestS3WrongBytes(t *testing.T) {
	store := testenv.StartS3(t)
	store.Bucket("plain", false)
	line := testenv.StartProxy(t, store.Addr)
	x := newFixture(t, "disk")
	targets := fmt.Sprintf("  cloud: {type: s3, bucket: plain, endpoint: %q, access_key: %s, secret_key: %s}\n", "http://"+line.Addr, store.AccessKey, store.SecretKey)
	x.configure("lifeboat.yaml", "state", targets+fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk")))
	x.want(0, "init", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
	for _, after := range []int64{2_000, 20_000, 200_000} {
		line.CutAll()
		line.Down(testenv.Fault{Corrupt: true, After: after})
		to := x.path(fmt.Sprint("out-", after))
		x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", to)
		if !bytes.Equal(x.read(filepath.Base(to), "crm.db"), x.database()) {
			t.Errorf("bits flip behind %d: other bytes came back", after)
		}
		to += "-alone"
		if s := x.run("restore", "crm", "--identity", x.path("key"), "--to", to, "--from", "cloud"); s.code == 0 {
			t.Errorf("bits flip behind %d, and nothing is wrong: %s", after, s)
		}
		if left, err := os.ReadDir(to); err == nil {
			t.Errorf("a restore that failed left %v", left)
		}
	}
	line.Down(testenv.Fault{})
	line.CutAll()
	x.want(0, "copy") // of what restores recorded meanwhile
	x.want(0, "check", "--identity", x.path("key"))
}
