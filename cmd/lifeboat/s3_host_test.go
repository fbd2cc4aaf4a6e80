package main

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lifeboat/config"
	"lifeboat/internal/testenv"
	"lifeboat/target"
)

// TestS3Host names the bucket in the host of a store that wants it so. No resolver knows that host, so the program reaches it through a proxy.
func TestS3Host(t *testing.T) {
	store := testenv.StartS3(t, "--virtual-domain", "s3.internal")
	store.Bucket("backup", false)
	to, err := url.Parse(store.URL())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	hosts := map[string]int{}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		hosts[r.Host]++
		mu.Unlock()
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	x := newFixture(t, "disk")
	x.real = true
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "")
	t.Setenv("AWS_ACCESS_KEY_ID", store.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", store.SecretKey)
	x.configure("lifeboat.yaml", "cloud-state", "  cloud: {type: s3, bucket: backup, prefix: a/b, endpoint: \"http://s3.internal\", path_style: false}\n")
	x.want(0, "init", "--identity", x.path("key"))
	x.want(0, "backup", "crm")
	want := x.database()
	x.want(0, "check", "--identity", x.path("key"), "--read-data=100%")
	out := x.path("out")
	x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", out, "--from", "s3://backup/a/b?endpoint=http://s3.internal&path_style=false")
	if got, err := os.ReadFile(out + "/crm.db"); err != nil || string(got) != string(want) {
		t.Errorf("another database comes back, %v", err)
	}
	mu.Lock()
	asked := maps.Clone(hosts)
	mu.Unlock()
	if len(asked) != 1 || asked["backup.s3.internal"] == 0 {
		t.Errorf("these hosts were asked: %v", asked)
	}
	if s := x.run("snapshots", "--from", "s3://other/a/b?endpoint=http://s3.internal&path_style=false"); s.code != 1 || !strings.Contains(s.err, "NoSuchBucket") {
		t.Error(s)
	}
}

// TestSecretKeyFile uses a secret of its own file, and refuses one that others can read.
func TestSecretKeyFile(t *testing.T) {
	store := testenv.StartS3(t)
	store.Bucket("files", false)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(store.SecretKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Target{Name: "cloud", Type: config.S3, Bucket: "files", Endpoint: store.URL(), Region: testenv.S3Region, AccessKey: store.AccessKey, SecretKeyFile: file}
	to, err := openS3(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Store(t.Context(), to, "a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openS3(t.Context(), c, nil); err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), "target cloud: the secret_key_file "+file+" can be read by others (mode 0644)") {
		t.Errorf("a secret that others can read: %v", err)
	}
}
