package testenv

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/clock"
)

// S3Program is the store that scripts/setup installs.
const S3Program = "/usr/local/lib/lifeboat-test/bin/versitygw-v1.8.0"

// S3Region is where the store says it is.
const S3Region = "us-east-1"

// S3 is a store that speaks S3, with versions and object lock.
type S3 struct {
	Addr      string // host and port
	Dir       string // has a directory for each bucket, with its objects as files
	AccessKey string // may do everything
	SecretKey string
	scheme    string
	pid       int
	used      usage
	t         TB
}

// StartS3 starts a store without buckets, with more arguments for it. With --cert it speaks TLS.
func StartS3(t TB, args ...string) *S3 {
	t.Helper()
	base := t.TempDir()
	dir := func(name string) string {
		d := filepath.Join(base, name)
		must(t, os.Mkdir(d, 0o700))
		return d
	}
	s := &S3{Addr: fmt.Sprintf("127.0.0.1:%d", FreePort(t)), AccessKey: "root-" + rand.Text(), SecretKey: rand.Text(), Dir: dir("buckets"), scheme: "http", t: t}
	if slices.Contains(args, "--cert") {
		s.scheme = "https"
	}
	out, err := os.Create(filepath.Join(base, "log"))
	must(t, err)
	args = append(args, "--port", s.Addr, "--region", S3Region, "--health", "/health", "--quiet", "--iam-dir", dir("iam"))
	cmd := exec.Command(S3Program, append(args, "posix", "--versioning-dir", dir("versions"), s.Dir)...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.AccessKey, "ROOT_SECRET_ACCESS_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run scripts/setup", err)
	}
	s.pid = cmd.Process.Pid
	ended := make(chan struct{})
	go func() { defer close(ended); err = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		must(t, out.Close())
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // whichever store answers is the one
	for range 600 {
		if r, err := client.Get(s.URL() + "/health"); err == nil {
			must(t, r.Body.Close())
			return s
		}
		select {
		case <-ended:
			b, rerr := os.ReadFile(out.Name())
			t.Fatalf("the store ended: %v: %s (%v)", err, b, rerr)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("the store does not answer on %s", s.Addr)
	return nil
}

// URL is the store's endpoint.
func (s *S3) URL() string { return s.scheme + "://" + s.Addr }

// CPU is the processor time of the store so far.
func (s *S3) CPU() time.Duration {
	s.t.Helper()
	return s.used.look(s.t, s.pid)
}

// Bucket makes a bucket; a locking one keeps versions, too.
func (s *S3) Bucket(name string, locks bool) {
	s.t.Helper()
	args := []string{"create-bucket", "--owner", s.AccessKey, "--bucket", name}
	if locks {
		args = append(args, "--object-lock-enabled-for-bucket")
	}
	s.admin(args...)
}

// User makes credentials that may do nothing before a bucket's policy says so.
func (s *S3) User(accessKey, secretKey string) {
	s.t.Helper()
	s.admin("create-user", "--access", accessKey, "--secret", secretKey, "--role", "user")
}

// Configure puts a setting of a bucket, such as its policy, as its owner: what the SDK would send, signed as AWS describes it (Signature Version 4).
func (s *S3) Configure(bucket, setting, body string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, s.URL()+"/"+bucket+"?"+setting+"=", strings.NewReader(body))
	must(s.t, err)
	hash := sha256.Sum256([]byte(body))
	sum := md5.Sum([]byte(body))
	at := clock.System().UTC().Format("20060102T150405Z")
	scope := at[:8] + "/" + S3Region + "/s3/aws4_request"
	const signed = "host;x-amz-content-sha256;x-amz-date"
	request := sha256.Sum256(fmt.Appendf(nil, "PUT\n/%s\n%s=\nhost:%s\nx-amz-content-sha256:%x\nx-amz-date:%s\n\n%s\n%[4]x", bucket, setting, s.Addr, hash, at, signed))
	key := []byte("AWS4" + s.SecretKey)
	for _, part := range append(strings.Split(scope, "/"), fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", at, scope, request)) {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	r.Header.Set("X-Amz-Date", at)
	r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(hash[:]))
	r.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%x", s.AccessKey, scope, signed, key))
	answer, err := http.DefaultClient.Do(r)
	must(s.t, err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	must(s.t, err)
	if answer.StatusCode/100 != 2 {
		s.t.Fatalf("put the %s of bucket %s: %s: %s", setting, bucket, answer.Status, said)
	}
}

func (s *S3) admin(args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), S3Program, append([]string{"admin", "--allow-insecure", "--endpoint-url", s.URL(), "--region", S3Region}, args...)...)
	cmd.Env = append(os.Environ(), "ADMIN_ACCESS_KEY_ID="+s.AccessKey, "ADMIN_SECRET_ACCESS_KEY="+s.SecretKey)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v: %s", args[0], err, bytes.TrimSpace(out))
	}
}
