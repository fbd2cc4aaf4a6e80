package s3_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/testenv"
	"lifeboat/target"
	"lifeboat/target/s3"
)

const tail = "log/0123456789abcdef/0000000000000001-0000000000000000-0000000000000001-tail-00"

// TestLock stores under locks of seconds: a Delete is refused while they last, and the object stays visible; then it works.
// What must be sweepable is not locked.
func TestLock(t *testing.T) {
	t.Parallel()
	store := start(t)
	for _, mode := range []string{"governance", "compliance"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := settings(store, "locks")
			c.Prefix, c.Lock = mode, s3.Lock{Mode: mode, For: 4 * time.Second}
			tg := s3.Locked{Target: open(t, c)}
			for _, name := range []string{"packs/a", tail} {
				if err := tg.Put(t.Context(), name, text("first")); err != nil {
					t.Fatal(err)
				}
			}
			until, err := tg.Retained(t.Context(), "packs/a")
			if err != nil || until.IsZero() {
				t.Fatalf("locked until %v, %v", until, err)
			}
			wantError(t, tg.Delete(t.Context(), "packs/a"), target.ErrRetained, "until "+until.UTC().Format(time.RFC3339))
			wantObject(t, tg, "packs/a", []byte("first"))
			if until, err := tg.Retained(t.Context(), tail); err != nil || !until.IsZero() {
				t.Errorf("a tail is locked until %v, %v", until, err)
			}
			if err := tg.Delete(t.Context(), tail); err != nil {
				t.Error(err)
			}
			// A damaged object is replaced by a version beside it, and both go when the last lock ends.
			if err := tg.Replace(t.Context(), "packs/a", text("better")); err != nil {
				t.Fatal(err)
			}
			wantObject(t, tg, "packs/a", []byte("better"))
			wantVersions(t, store, "locks", mode+"/packs/a", 2)
			for err = tg.Delete(t.Context(), "packs/a"); errors.Is(err, target.ErrRetained); err = tg.Delete(t.Context(), "packs/a") {
				wantObject(t, tg, "packs/a", []byte("better"))
				time.Sleep(200 * time.Millisecond)
			}
			if err != nil {
				t.Fatal(err)
			}
			wantVersions(t, store, "locks", mode+"/packs/a", 0)
			_, err = tg.Retained(t.Context(), "packs/a")
			wantError(t, err, fs.ErrNotExist, "read the retention of")
		})
	}
}

// wantVersions counts the versions and delete markers of a key.
func wantVersions(t *testing.T, store *testenv.S3, bucket, key string, want int) {
	t.Helper()
	out, err := store.Client().ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: &bucket, Prefix: &key})
	if err != nil || len(out.Versions)+len(out.DeleteMarkers) != want {
		t.Errorf("%s has %d versions and %d delete markers, %v; want %d", key, len(out.Versions), len(out.DeleteMarkers), err, want)
	}
}

// TestRetain extends locks and never shortens them.
func TestRetain(t *testing.T) {
	store := start(t)
	c := settings(store, "locks")
	c.Lock = s3.Lock{Mode: "governance", For: time.Hour}
	tg := s3.Locked{Target: open(t, c)}
	if err := tg.Put(t.Context(), "packs/a", text("a")); err != nil {
		t.Fatal(err)
	}
	if err := tg.Put(t.Context(), tail, text("b")); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	for _, tt := range []struct {
		name        string
		until, want time.Duration
	}{{"packs/a", 2 * time.Hour, 2 * time.Hour}, {"packs/a", time.Minute, 2 * time.Hour}, {"packs/a", 3 * time.Hour, 3 * time.Hour}, {tail, time.Hour, time.Hour}} {
		if err := tg.Retain(t.Context(), tt.name, now.Add(tt.until)); err != nil {
			t.Fatal(err)
		}
		if until, err := tg.Retained(t.Context(), tt.name); err != nil || !until.Equal(now.Add(tt.want)) {
			t.Errorf("after Retain for %s: locked until %v, %v; want %v", tt.until, until, err, now.Add(tt.want))
		}
	}
	wantError(t, tg.Retain(t.Context(), "packs/absent", now.Add(time.Hour)), fs.ErrNotExist)
	// Another mode that stands there is kept: compliance cannot be weakened.
	strict := types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(now.Add(4 * time.Hour))}
	if err := tg.Put(t.Context(), "log-tail-c", text("c")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Client().PutObjectRetention(t.Context(), &sdk.PutObjectRetentionInput{Bucket: aws.String("locks"), Key: aws.String("log-tail-c"), Retention: &strict}); err != nil {
		t.Fatal(err)
	}
	if err := tg.Retain(t.Context(), "log-tail-c", now.Add(5*time.Hour)); err != nil {
		t.Fatal(err)
	}
	out, err := store.Client().GetObjectRetention(t.Context(), &sdk.GetObjectRetentionInput{Bucket: aws.String("locks"), Key: aws.String("log-tail-c")})
	if err != nil || out.Retention.Mode != strict.Mode || !out.Retention.RetainUntilDate.Equal(now.Add(5*time.Hour)) {
		t.Errorf("retention is %+v, %v", out.Retention, err)
	}
}

// TestVersions deletes all versions where that is allowed, so that the space is free, and hides the object where it is not.
func TestVersions(t *testing.T) {
	store := start(t)
	tg := open(t, settings(store, "locks"))
	for _, name := range []string{"packs/a", "packs/b", "packs/ab"} {
		for _, b := range []string{"1", "2", "3"} {
			if err := tg.Replace(t.Context(), name, text(b)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tg.Delete(t.Context(), "packs/a"); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, store, "locks", "packs/a", 3) // of packs/ab
	store.User("hider", "secret")
	policy(t, store, "locks", "hider", "s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject", "s3:GetObjectRetention")
	c := settings(store, "locks")
	c.AccessKey, c.SecretKey = "hider", "secret"
	if err := open(t, c).Delete(t.Context(), "packs/b"); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, store, "locks", "packs/b", 4)
	_, err := read(t, tg, "packs/b")
	wantError(t, err, fs.ErrNotExist)
}

// TestProbe has buckets and credentials that lack something each.
func TestProbe(t *testing.T) {
	store := start(t)
	store.Bucket("defaults", true)
	if _, err := store.Client().PutObjectLockConfiguration(t.Context(), &sdk.PutObjectLockConfigurationInput{
		Bucket: aws.String("defaults"), ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: "Enabled", Rule: &types.ObjectLockRule{
			DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1)}}},
	}); err != nil {
		t.Fatal(err)
	}
	store.User("writer", "secret")
	policy(t, store, "plain", "writer", "s3:PutObject", "s3:GetObject", "s3:ListBucket")
	lock := s3.Lock{Mode: "compliance", For: time.Hour}
	for _, tt := range []struct {
		bucket, user string
		lock         s3.Lock
		ahead        time.Duration
		want         []string
	}{
		{"locks", "", lock, 0, nil},
		{"plain", "", s3.Lock{}, 0, []string{"keeps no versions"}},
		{"defaults", "", lock, 0, []string{"by a default retention"}},
		{"locks", "", s3.Lock{}, time.Hour, []string{"this host's clock is 1h0m"}},
		{"plain", "writer", s3.Lock{}, 0, []string{"whether the bucket keeps versions is unknown", "whether the bucket locks objects is unknown"}},
	} {
		c := settings(store, tt.bucket)
		c.Lock, c.Now = tt.lock, func() time.Time { return time.Now().Add(tt.ahead) }
		if tt.user != "" {
			c.AccessKey, c.SecretKey = tt.user, "secret"
		}
		missing, err := open(t, c).Probe(t.Context())
		if err != nil || len(missing) != len(tt.want) {
			t.Errorf("Probe of %s as %q: %q, %v; want %q", tt.bucket, tt.user, missing, err, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(missing[i], want) {
				t.Errorf("Probe of %s says %q; want %q", tt.bucket, missing[i], want)
			}
		}
	}
	c := settings(store, "plain")
	c.Lock = lock
	_, err := open(t, c).Probe(t.Context())
	wantError(t, err, nil, "object_lock is configured, and s3://plain has no object lock")
}
