package testenv

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
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

// Client speaks to the store with all rights.
func (s *S3) Client() *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: aws.String(s.URL()), Region: S3Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, "")})
}

// Policy sets what other users may do in a bucket.
func (s *S3) Policy(bucket, policy string) {
	s.t.Helper()
	_, err := s.Client().PutBucketPolicy(s.t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy})
	must(s.t, err)
}

// LockByDefault makes a bucket lock each new object for days.
func (s *S3) LockByDefault(bucket string, days int32) {
	s.t.Helper()
	_, err := s.Client().PutObjectLockConfiguration(s.t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: &bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Days: &days}}}})
	must(s.t, err)
}

func (s *S3) admin(args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), S3Program, append([]string{"admin", "--allow-insecure", "--endpoint-url", s.URL(), "--region", S3Region}, args...)...)
	cmd.Env = append(os.Environ(), "ADMIN_ACCESS_KEY_ID="+s.AccessKey, "ADMIN_SECRET_ACCESS_KEY="+s.SecretKey)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v: %s", args[0], err, bytes.TrimSpace(out))
	}
}
