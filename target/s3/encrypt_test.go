package s3_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestEncryption asks stores to encrypt by themselves. One takes no notice, which Probe says; one refuses; one does it.
func TestEncryption(t *testing.T) {
	store := start(t)
	ignores := settings(store, "plain")
	ignores.SSE = "AES256"
	tg := open(t, ignores)
	if err := tg.Put(t.Context(), "packs/a", text("a")); err != nil {
		t.Fatal(err)
	}
	warned := func(missing []string, err error) bool {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return strings.Contains(strings.Join(missing, "\n"), "does not say that it encrypts as sse: AES256")
	}
	if !warned(tg.Probe(t.Context())) {
		t.Error("Probe does not say that the store does not encrypt")
	}
	if warned(open(t, settings(store, "plain")).Probe(t.Context())) {
		t.Error("Probe speaks of encryption that nobody asked for")
	}

	asked := 0
	does := between(t, store, "plain", func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Server-Side-Encryption") == "AES256" {
			asked++
			w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
		}
		return false
	}, nil)
	does.SSE = "AES256"
	tg = open(t, does)
	if warned(tg.Probe(t.Context())) {
		t.Error("Probe says that a store does not encrypt that does")
	}
	before := asked
	for name, size := range map[string]int{"packs/small": 100, "packs/large": 40 << 20} {
		want := content(size)
		if err := tg.Put(t.Context(), name, body(want)); err != nil {
			t.Fatal(err)
		}
		wantObject(t, tg, name, want)
	}
	if asked-before != 2 { // an object in parts is asked for as a whole
		t.Errorf("%d requests ask for encryption; want 2", asked-before)
	}

	refuses := between(t, store, "plain", func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Server-Side-Encryption") == "" {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, http.StatusNotImplemented, "NotImplemented", "Server side encryption specified but KMS is not configured")
		return true
	}, nil)
	refuses.SSE = "aws:kms"
	tg = open(t, refuses)
	_, err := tg.Probe(t.Context())
	wantError(t, err, nil, "KMS is not configured", "if the store does not encrypt with sse: aws:kms, take it out")
	wantError(t, tg.Put(t.Context(), "packs/b", text("b")), nil, "take it out; Lifeboat encrypts by itself anyway")
}
