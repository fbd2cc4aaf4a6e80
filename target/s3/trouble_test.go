package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/testenv"
	"lifeboat/target"
	"lifeboat/target/s3"
)

// between starts an HTTP proxy before the store, and settings that go through it. ask may answer in the store's place, then it
// returns true; tell may change what the store answers.
func between(t *testing.T, store *testenv.S3, bucket string, ask func(http.ResponseWriter, *http.Request) bool, tell func(*http.Response)) s3.Config {
	t.Helper()
	to, err := url.Parse(store.URL())
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			if tell != nil {
				tell(r)
			}
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ask == nil || !ask(w, r) {
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c := settings(store, bucket)
	c.Endpoint = server.URL
	return c
}

// answer is an error of a store.
func answer(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

// useAll returns the error of each method.
func useAll(t *testing.T, tg target.Target) map[string]error {
	t.Helper()
	out := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for verb, use := range map[string]func() error{
		"put":         func() error { return tg.Put(t.Context(), "packs/new", text("new")) },
		"delete":      func() error { return tg.Delete(t.Context(), "packs/a") },
		"get":         func() error { _, err := tg.Get(t.Context(), "packs/a", 0, -1); return err },
		"get nothing": func() error { _, err := tg.Get(t.Context(), "packs/a", 0, 0); return err },
		"list": func() (err error) {
			for _, err = range tg.List(t.Context(), "") {
				continue
			}
			return err
		},
	} {
		wg.Go(func() {
			err := use()
			mu.Lock()
			defer mu.Unlock()
			out[verb] = err
		})
	}
	wg.Wait()
	return out
}

func text(s string) *io.SectionReader { return body([]byte(s)) }

// TestMistakes makes the usual mistakes in a configuration. Each method says what to do next, and none that an object is absent.
func TestMistakes(t *testing.T) {
	t.Parallel()
	store := start(t)
	if err := open(t, settings(store, "plain")).Put(t.Context(), "packs/a", text("a")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		change     func(*s3.Config)
	}{
		{"bucket", "NoSuchBucket (The specified bucket does not exist.): check bucket and endpoint, or create the bucket", func(c *s3.Config) { c.Bucket = "plane" }},
		{"key", "check access_key", func(c *s3.Config) { c.AccessKey = "nobody" }},
		{"secret", "the secret key does not belong to the access key: check secret_key_file", func(c *s3.Config) { c.SecretKey = "wrong-s3cret" }},
		{"region", "the bucket is in region us-east-1: set region to it", func(c *s3.Config) { c.Region = "eu-west-9" }},
		{"endpoint", "connection refused: check the endpoint, the network and the firewall", func(c *s3.Config) { c.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", testenv.FreePort(t)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := settings(store, "plain")
			tt.change(&c)
			for verb, err := range useAll(t, open(t, c)) {
				wantError(t, err, nil, strings.Fields(verb)[0], "s3://"+c.Bucket, tt.want)
				if errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), c.SecretKey) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	store := start(t)
	c := settings(store, "plain")
	c.CAFile = t.TempDir() + "/absent"
	_, err := s3.Open(t.Context(), c)
	wantError(t, err, fs.ErrNotExist, "open s3://plain: read ca_file")
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/absent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/absent")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	_, err = s3.Open(t.Context(), s3.Config{Bucket: "b"})
	wantError(t, err, nil, "add region")
	c = settings(store, "plain")
	c.AccessKey, c.SecretKey = "", ""
	wantError(t, open(t, c).Put(t.Context(), "a", text("a")), fs.ErrPermission, "there are no usable credentials: give access_key with secret_key_file")
}

// policy lets a user do some things in a bucket.
func policy(t *testing.T, store *testenv.S3, bucket, user string, actions ...string) {
	t.Helper()
	p := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":[%q]},"Action":["%s"],"Resource":["arn:aws:s3:::%s","arn:aws:s3:::%[3]s/*"]}]}`,
		user, strings.Join(actions, `","`), bucket)
	if _, err := store.Client().PutBucketPolicy(t.Context(), &sdk.PutBucketPolicyInput{Bucket: &bucket, Policy: &p}); err != nil {
		t.Fatal(err)
	}
}

// TestRights takes one right after the other: the error names it, and everything else works.
func TestRights(t *testing.T) {
	store := start(t)
	if err := open(t, settings(store, "plain")).Put(t.Context(), "packs/a", text("a")); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		verb, right string
		may         []string
	}{
		{"put", "s3:PutObject", []string{"s3:GetObject", "s3:ListBucket"}},
		{"get", "s3:GetObject and s3:ListBucket", []string{"s3:PutObject", "s3:ListBucket"}},
		{"list", "s3:ListBucket", []string{"s3:PutObject", "s3:GetObject"}},
		{"delete", "s3:GetObject and s3:DeleteObject", []string{"s3:PutObject", "s3:GetObject", "s3:ListBucket"}},
	} {
		user := fmt.Sprint("user-", i)
		store.User(user, "secret")
		policy(t, store, "plain", user, tt.may...)
		c := settings(store, "plain")
		c.AccessKey, c.SecretKey = user, "secret"
		tg := open(t, c)
		var err error
		switch tt.verb {
		case "put":
			err = tg.Put(t.Context(), "packs/b", text("b"))
		case "get":
			_, err = read(t, tg, "packs/a")
		case "list":
			for _, err = range tg.List(t.Context(), "") {
				continue
			}
		case "delete":
			if err := tg.Put(t.Context(), "packs/b", text("b")); err != nil {
				t.Fatal(err)
			}
			err = tg.Delete(t.Context(), "packs/a")
		}
		wantError(t, err, fs.ErrPermission, tt.verb, "AccessDenied", "the credentials need the right to "+tt.right)
	}
	wantObject(t, open(t, settings(store, "plain")), "packs/a", []byte("a"))
}

// TestStorm has the store answer that it is busy, and be down, for most of the time.
func TestStorm(t *testing.T) {
	t.Parallel()
	store := start(t)
	var asked atomic.Int64
	tg := open(t, between(t, store, "plain", func(w http.ResponseWriter, r *http.Request) bool {
		switch asked.Add(1) % 4 {
		case 1:
			answer(w, 503, "SlowDown", "Please reduce your request rate.")
		case 2:
			answer(w, 500, "InternalError", "We encountered an internal error.")
		case 3:
			if r.Method != http.MethodPut {
				return false
			}
			answer(w, 409, "ConditionalRequestConflict", "Try again.")
		default:
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		return true
	}, nil))
	want := content(1 << 20)
	if err := tg.Put(t.Context(), "packs/a", body(want)); err != nil {
		t.Fatal(err)
	}
	wantObject(t, tg, "packs/a", want)
	if err := tg.Delete(t.Context(), "packs/a"); err != nil {
		t.Fatal(err)
	}
	busy := open(t, between(t, store, "plain", func(w http.ResponseWriter, _ *http.Request) bool {
		answer(w, 503, "SlowDown", "Please reduce your request rate.")
		return true
	}, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := busy.Get(ctx, "packs/a", 0, -1)
	wantError(t, err, context.DeadlineExceeded)
}

// TestClock is what happens to a host whose clock is off: the SDK learns the store's time from its answer, and signs by that.
func TestClock(t *testing.T) {
	store := start(t)
	refused := 0
	c := between(t, store, "plain", func(w http.ResponseWriter, r *http.Request) bool {
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Errorf("a request is signed at %q", r.Header.Get("X-Amz-Date"))
		}
		there := time.Now().Add(time.Hour)
		w.Header().Set("Date", there.UTC().Format(http.TimeFormat))
		if d := there.Sub(signed); d.Abs() > 15*time.Minute {
			refused++
			answer(w, 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
			return true
		}
		answer(w, 404, "NoSuchKey", "The specified key does not exist.")
		return true
	}, nil)
	tg := open(t, c)
	for range 3 {
		_, err := tg.Get(t.Context(), "packs/a", 0, -1)
		wantError(t, err, fs.ErrNotExist)
	}
	if refused != 1 {
		t.Errorf("%d requests were signed by the wrong clock; want one", refused)
	}
	// A store that does not say what time it is cannot be followed.
	tg = open(t, between(t, store, "plain", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header()["Date"] = nil
		answer(w, 403, "RequestTimeTooSkewed", "The difference is too large.")
		return true
	}, nil))
	_, err := tg.Get(t.Context(), "packs/a", 0, -1)
	wantError(t, err, nil, "set this host's clock")
}

func TestExpired(t *testing.T) {
	tg := open(t, between(t, start(t), "plain", func(w http.ResponseWriter, _ *http.Request) bool {
		answer(w, 400, "ExpiredToken", "The provided token has expired.")
		return true
	}, nil))
	_, err := tg.Get(t.Context(), "packs/a", 0, -1)
	wantError(t, err, nil, "the credentials have expired: renew them")
}

// TestNoConditions has stores that know no If-None-Match: one ignores it, and would overwrite; the other refuses it.
func TestNoConditions(t *testing.T) {
	store := start(t)
	for _, ignores := range []bool{true, false} {
		c := between(t, store, "plain", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("If-None-Match") == "" {
				return false
			}
			if ignores {
				r.Header.Del("If-None-Match")
				r.Header.Del("Authorization")
				r.URL.Host = r.Host
				keys := aws.Credentials{AccessKeyID: store.AccessKey, SecretAccessKey: store.SecretKey}
				if err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(
					r.Context(), keys, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", testenv.S3Region, time.Now()); err != nil {
					t.Error(err)
				}
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			answer(w, 501, "NotImplemented", "A header you provided implies functionality that is not implemented.")
			return true
		}, nil)
		c.Prefix = fmt.Sprint(ignores)
		tg := open(t, c)
		if err := tg.Put(t.Context(), "packs/a", text("first")); err != nil {
			t.Fatal(err)
		}
		wantError(t, tg.Put(t.Context(), "packs/a", text("second")), fs.ErrExist)
		wantObject(t, tg, "packs/a", []byte("first"))
		missing, err := tg.Probe(t.Context())
		if err != nil || !strings.Contains(strings.Join(missing, "\n"), "does not refuse to overwrite") {
			t.Errorf("Probe says %q, %v", missing, err)
		}
	}
}

// TestLiar has a store that acknowledges an object and does not have it, or has other bytes, or fewer.
func TestLiar(t *testing.T) {
	store := start(t)
	spoil := func(what string) s3.Config {
		return between(t, store, "plain", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/packs/") {
				return false
			}
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			switch what {
			case "short":
				b = b[1:]
			case "other":
				b[0] ^= 1
			}
			if what != "absent" {
				key := strings.TrimPrefix(r.URL.Path, "/plain/")
				if _, err := store.Client().PutObject(r.Context(), &sdk.PutObjectInput{Bucket: aws.String("plain"), Key: &key, Body: bytes.NewReader(b)}); err != nil {
					t.Error(err)
				}
			}
			w.WriteHeader(200)
			return true
		}, nil)
	}
	for what, says := range map[string]string{"absent": "it is absent", "short": "it has 4 bytes instead of 5", "other": "it returns other bytes"} {
		wantError(t, open(t, spoil(what)).Put(t.Context(), "packs/"+what, text("bytes")), nil, "the store acknowledged the object and does not have it as it was sent", says)
	}
}

// TestOpaque has a store whose ETags are no MD5, as with KMS: it is believed once an object was read back, and not asked again.
func TestOpaque(t *testing.T) {
	store := start(t)
	reads := 0
	tg := open(t, between(t, store, "plain", func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			reads++
		}
		return false
	}, func(r *http.Response) {
		if r.Header.Get("ETag") != "" {
			r.Header.Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		}
	}))
	for _, name := range []string{"packs/a", "packs/b", "packs/c"} {
		if err := tg.Put(t.Context(), name, text(name)); err != nil {
			t.Fatal(err)
		}
	}
	if reads != 1 {
		t.Errorf("%d objects were read back; want 1", reads)
	}
}
