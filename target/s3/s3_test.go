package s3_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/clock"
	"lifeboat/internal/testenv"
	"lifeboat/target"
	"lifeboat/target/s3"
	"lifeboat/target/targettest"
)

// start starts a store with the bucket "plain" and the bucket "locks", which keeps versions and can lock.
func start(t *testing.T) *testenv.S3 {
	t.Helper()
	store := testenv.StartS3(t)
	store.Bucket("plain", false)
	store.Bucket("locks", true)
	return store
}

func settings(store *testenv.S3, bucket string) s3.Config {
	return s3.Config{
		Bucket: bucket, Endpoint: store.URL(), Region: testenv.S3Region, AccessKey: store.AccessKey, SecretKey: store.SecretKey,
		Now: clock.System, Sweepable: func(name string) bool { return strings.Contains(name, "-tail-") },
	}
}

func open(t *testing.T, c s3.Config) *s3.Target {
	t.Helper()
	tg, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

func TestConformance(t *testing.T) {
	t.Parallel()
	store := start(t)
	var n atomic.Int64
	for _, tt := range []struct{ name, bucket, prefix string }{
		{"plain", "", ""}, {"locked", "locks", "a/b-c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			targettest.Run(t, func(t *testing.T) target.Target {
				i := n.Add(1)
				c := settings(store, tt.bucket)
				if c.Bucket == "" {
					c.Bucket = fmt.Sprintf("plain-%d", i)
					store.Bucket(c.Bucket, false)
				} else {
					c.Prefix = fmt.Sprintf("/%s/%d/", tt.prefix, i)
				}
				return open(t, c)
			})
		})
	}
}

func body(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// content is n bytes that do not repeat.
func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // never fails
	return b
}

func read(t *testing.T, tg target.Target, name string) ([]byte, error) {
	t.Helper()
	r, err := tg.Get(t.Context(), name, 0, -1)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func wantObject(t *testing.T, tg target.Target, name string, want []byte) {
	t.Helper()
	if got, err := read(t, tg, name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v; want the %d that were put", name, len(got), err, len(want))
	}
}

func wantError(t *testing.T, err, want error, parts ...string) {
	t.Helper()
	if want != nil && !errors.Is(err, want) {
		t.Errorf("error is %v; want one that satisfies %v", err, want)
	}
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("error is\n%v\nwant one that says %q", err, p)
		}
	}
}

// TestLarge puts objects in parts, and leaves nothing of those that fail.
func TestLarge(t *testing.T) {
	store := start(t)
	tg := open(t, settings(store, "locks"))
	want := content(50<<20 + 17)
	if err := tg.Put(t.Context(), "index/large", body(want)); err != nil {
		t.Fatal(err)
	}
	wantObject(t, tg, "index/large", want)
	if err := tg.Put(t.Context(), "index/large", body(want)); err == nil {
		t.Error("the second Put succeeded")
	}
	short := io.NewSectionReader(bytes.NewReader(want), 0, int64(len(want))+1)
	wantError(t, tg.Put(t.Context(), "index/short", short), io.ErrUnexpectedEOF)
	wantUploads(t, store, 0)
}

func wantUploads(t *testing.T, store *testenv.S3, want int) {
	t.Helper()
	out, err := store.Client().ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: aws.String("locks")})
	if err != nil || len(out.Uploads) != want {
		t.Errorf("%d unfinished uploads, %v; want %d", len(out.Uploads), err, want)
	}
}

// TestClean removes uploads that were begun long ago, and no others: neither young ones nor those of other prefixes.
func TestClean(t *testing.T) {
	store := start(t)
	c := settings(store, "locks")
	c.Prefix = "ours"
	tg := open(t, c)
	for _, key := range []string{"ours/packs/a", "ours/packs/b", "other/packs/a"} {
		if _, err := store.Client().CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: aws.String("locks"), Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		olderThan time.Time
		left      int
	}{{time.Now().Add(-time.Hour), 3}, {time.Now().Add(time.Hour), 1}} {
		if err := tg.Clean(t.Context(), step.olderThan); err != nil {
			t.Fatal(err)
		}
		wantUploads(t, store, step.left)
	}
}

// TestVerified puts bodies that have, and have not, the SHA-256 that they should have: as one request, locked, and in parts.
func TestVerified(t *testing.T) {
	t.Parallel()
	store := start(t)
	plain, locks := settings(store, "plain"), settings(store, "locks")
	locks.Lock = s3.Lock{Mode: "governance", For: time.Hour}
	for name, x := range map[string]struct {
		to   *s3.Target
		size int
	}{"one": {open(t, plain), 1 << 20}, "locked": {open(t, locks), 1 << 20}, "parts": {open(t, plain), 33 << 20}} {
		body := bytes.Repeat([]byte(name+"."), x.size/len(name))
		sum := sha256.Sum256(body)
		put := func(b []byte) error {
			return x.to.PutVerified(t.Context(), "packs/"+name, io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), sum)
		}
		other := bytes.Clone(body)
		other[len(other)/2] ^= 1
		if err := put(other); err == nil || !strings.Contains(err.Error(), "it was damaged before it was sent") {
			t.Errorf("%s: another body: %v", name, err)
		}
		if _, err := target.Read(t.Context(), x.to, "packs/"+name, int64(len(body))); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it was refused, and stands: %v", name, err)
		}
		if err := put(body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := target.Read(t.Context(), x.to, "packs/"+name, int64(len(body))); err != nil || !bytes.Equal(b, body) {
			t.Errorf("%s: %v", name, err)
		}
		if err := put(body); err != nil && !errors.Is(err, fs.ErrExist) { // where a first attempt was broken off, the same bytes are what it stored
			t.Errorf("%s: twice: %v", name, err)
		}
	}
}
