package s3_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target/s3"
)

// TestTLS reaches a store with the certificate of a private authority, and refuses every other way with what to do.
func TestTLS(t *testing.T) {
	ours := testenv.NewAuthority(t)
	serve := func(until time.Time) *testenv.S3 {
		cert, key := ours.Issue(until)
		store := testenv.StartS3(t, "--cert", cert, "--key", key)
		store.Bucket("plain", false)
		return store
	}
	store, late := serve(time.Now().Add(time.Hour)), serve(time.Now().Add(-time.Hour))
	plain := start(t)
	with := func(ca string) s3.Config {
		c := settings(store, "plain")
		c.CAFile = ca
		return c
	}
	tg := open(t, with(ours.File))
	want := content(20 << 20)
	if err := tg.Put(t.Context(), "packs/a", body(want)); err != nil {
		t.Fatal(err)
	}
	wantObject(t, tg, "packs/a", want)

	named, expired, cleartext, secret := with(ours.File), with(ours.File), with(ours.File), with(ours.File)
	named.Endpoint = strings.Replace(named.Endpoint, "127.0.0.1", "localhost", 1)
	expired.Endpoint = late.URL()
	cleartext.Endpoint = "http://" + store.Addr
	secret.Endpoint = "https://" + plain.Addr
	for _, tt := range map[string]struct {
		c    s3.Config
		says string
	}{
		"no authority":      {with(""), "unknown authority: give the certificate of its authority as ca_file"},
		"another authority": {with(testenv.NewAuthority(t).File), ": ca_file does not have the certificate of its authority"},
		"another name":      {named, "the store's certificate is not for this name"},
		"expired":           {expired, "the store's certificate is over or has not begun"},
		"http for https":    {cleartext, "write https://"},
		"https for http":    {secret, "write http://"},
	} {
		_, err := read(t, open(t, tt.c), "packs/a")
		wantError(t, err, nil, "packs/a", tt.says)
	}

	wrong := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(wrong, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s3.Open(t.Context(), with(wrong))
	wantError(t, err, nil, wrong, "there is no certificate in it")
}
