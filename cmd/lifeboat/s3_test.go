package main

import (
	"bytes"
	"fmt"
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
	x.want(0, "backup", "crm")
	if s := x.want(0, "forget", "s2", "--yes"); !strings.Contains(s.out+s.err, "are deleted after") {
		t.Errorf("forget says %s", s)
	}
	// Weeks later what it alone needed is deleted, but not where it is locked: that is no failure.
	x.shift = 8 * 24 * time.Hour
	x.want(0, "backup", "crm")
	if s := x.want(0, "forget", "s3", "--yes"); !strings.Contains(s.out, "deleted") {
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
