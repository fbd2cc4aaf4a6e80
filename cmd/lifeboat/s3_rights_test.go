package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/repository"
	"lifeboat/target/s3"
)

// backupHost is who may only add to a bucket.
const backupHost, backupHostSecret = "backup-host", "backup-host-secret"

// owned is a copy as the owner of its bucket sees it.
func owned(t *testing.T, store *testenv.S3, bucket string) *s3.Target {
	t.Helper()
	opened, err := s3.Open(t.Context(), s3.Config{Bucket: bucket, Prefix: "prod", Endpoint: store.URL(), Region: testenv.S3Region, AccessKey: store.AccessKey, SecretKey: store.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// mayAdd makes a bucket to which the backup host may add as doc/targets.md describes it, and nothing else.
func mayAdd(t *testing.T, store *testenv.S3, bucket string, locks bool) {
	t.Helper()
	doc, err := os.ReadFile("../../doc/targets.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)can only add.*?```json\n(.*?)```").FindSubmatch(doc)
	if found == nil {
		t.Fatal("doc/targets.md does not describe a backup host that can only add")
	}
	policy := strings.ReplaceAll(string(found[1]), "crm-backup", bucket)
	policy = strings.ReplaceAll(policy, `"Effect": "Allow",`, fmt.Sprintf(`"Effect": "Allow", "Principal": {"AWS": [%q]},`, backupHost))
	if strings.Contains(policy, "Delete") || strings.Contains(policy, "Bypass") {
		t.Fatalf("the policy allows more than adding: %s", policy)
	}
	store.Bucket(bucket, locks)
	store.Policy(bucket, policy)
}

// cloud is the line of a target in a bucket, with the rights of the backup host.
func cloud(store *testenv.S3, bucket, more string) string {
	return fmt.Sprintf("  %s: {type: s3, bucket: %[1]s, prefix: prod, endpoint: %q, access_key: %s, secret_key: %s%s}\n", bucket, store.URL(), backupHost, backupHostSecret, more)
}

// TestS3AppendOnly keeps copies in buckets of which the backup host can delete nothing: one that each object is locked in by Lifeboat, one that
// locks by default, and one that locks nothing. All works; only what a collection would delete stays, and is told.
func TestS3AppendOnly(t *testing.T) {
	store := testenv.StartS3(t)
	store.User(backupHost, backupHostSecret)
	mayAdd(t, store, "locked", true)
	mayAdd(t, store, "default", true)
	mayAdd(t, store, "plain", false)
	store.LockByDefault("default", 2)
	x := newFixture(t, "disk")
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk"))+cloud(store, "locked", ", object_lock: {mode: compliance, for: 30d}")+
		cloud(store, "default", "")+cloud(store, "plain", ""))
	if s := x.want(0, "init", "--identity", x.path("key")); !strings.Contains(s.err, "target default: the bucket locks every object by a default retention") {
		t.Errorf("init: %s", s)
	}
	x.real = true
	x.want(0, "backup", "crm")
	first := x.database()
	x.rewrite()
	x.want(0, "backup", "crm", "--full")
	x.want(0, "copy")
	x.want(0, "check", "--read-data=10%")
	x.want(0, "check", "--identity", x.path("key"))
	x.want(0, "status")
	for _, bucket := range []string{"locked", "default", "plain"} {
		if !bytes.Equal(x.restored("--from", bucket, "--at", "snapshot:s2"), first) || !bytes.Equal(x.restored("--from", bucket), x.database()) {
			t.Errorf("other bytes came back from %s", bucket)
		}
	}

	// What is damaged there is healed by another version, and heals others.
	index := ""
	for _, name := range x.objects("disk") {
		if strings.HasPrefix(name, "index/") {
			index = name
		}
	}
	x.put(nil, "disk", index)
	for _, bucket := range []string{"default", "plain"} {
		x.must(owned(t, store, bucket).Replace(t.Context(), index, io.NewSectionReader(strings.NewReader("damaged"), 0, 7)))
	}
	x.want(3, "check")
	x.want(0, "heal")
	x.want(0, "check", "--identity", x.path("key"))

	x.rewrite()
	x.want(0, "backup", "crm", "--full")
	x.want(3, "forget", "s2", "--yes") // what init tried the targets with stays
	x.real = false
	x.shift = 8 * 24 * time.Hour // by this host's clock: the store's locks stay
	s := x.want(3, "forget", "s3", "--yes", "--json")
	var got repository.Collected
	x.must(json.Unmarshal([]byte(s.out), &got))
	left := map[string]repository.Left{}
	for _, l := range got.Left {
		left[l.Target] = l
	}
	if l := left["locked"]; l.Retained == 0 || time.Until(l.Until).Hours() < 29*24 || !strings.Contains(s.err, "target locked: not everything that nothing needs could be deleted (1 objects stay)") ||
		!strings.Contains(s.err, fmt.Sprintf("%d objects that nothing needs are protected from deletion, the first of them until %s", l.Retained, l.Until.Format(time.RFC3339))) {
		t.Errorf("where Lifeboat locks: %+v", l)
	}
	for _, bucket := range []string{"default", "plain"} {
		if l := left[bucket]; l.Failed < 2 || !strings.Contains(l.Err, "the credentials need the right to s3:GetObject and s3:DeleteObject") {
			t.Errorf("%s: %+v", bucket, l)
		}
	}
	if _, ok := left["disk"]; ok || got.Swept == 0 {
		t.Errorf("on the disk: %+v", got)
	}
	x.real, x.shift = true, 0
	x.want(0, "check", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
	x.want(0, "status")
}

// TestPostgresS3AppendOnly captures a log into a bucket in which nothing can be deleted: tails stay there, and nothing else is different.
func TestPostgresS3AppendOnly(t *testing.T) {
	store := testenv.StartS3(t)
	store.User(backupHost, backupHostSecret)
	mayAdd(t, store, "locked", true)
	x, pg := newCluster(t, testenv.PostgresBin)
	x.real = true
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(string(x.read("lifeboat.yaml"))+cloud(store, "locked", ", object_lock: {mode: compliance, for: 30d}")), 0o600))
	x.want(0, "init", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
	tails := func() (n int) {
		for o, err := range owned(t, store, "locked").List(t.Context(), "log/") {
			x.must(err)
			if strings.Contains(o.Name, "-tail-") {
				n++
			}
		}
		return n
	}
	end := x.stream()
	for round := range 2 {
		add(pg, 2)
		for try := 0; tails() <= round; try++ {
			if try == 600 {
				t.Fatalf("no tail was stored after a minute: %s", x.read("stream.log"))
			}
			time.Sleep(100 * time.Millisecond)
		}
		x.caught(pg) // switches to another segment, which replaces the tails
	}
	end(syscall.SIGTERM)
	if said := string(x.read("stream.log")); strings.Contains(said, "locked") {
		t.Errorf("the stream says %s", said)
	}
	if n := tails(); n < 2 {
		t.Errorf("%d tails stayed", n)
	}
	_, query := x.boot(pg, "--from", "locked")
	if n := consistent(t, query); n != 4 {
		t.Errorf("%d transactions came back, not 4", n)
	}
	x.want(0, "check", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
	x.want(0, "status")
}
