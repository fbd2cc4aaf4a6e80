package repository

import (
	"bytes"
	"testing"
	"time"

	"lifeboat/journal"
)

// FuzzNoted reads entries: what is taken can be written again, and is nothing but what may be noted.
func FuzzNoted(f *testing.F) {
	at := time.Unix(1e9, 0).UTC()
	b, err := Noted{Record: journal.Record{Type: journal.Denied, By: "a@b", Happened: &at, Denied: &journal.DeniedBody{At: "socket"}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(notedMagic + "\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseNoted(b)
		if err != nil {
			return
		}
		again, err := n.encode()
		if err != nil {
			t.Fatal(err)
		}
		if m, err := parseNoted(again); err != nil || !bytes.Equal(m.Document, n.Document) {
			t.Fatalf("it does not come back: %v", err)
		}
		if r := n.record(); r.Objects != nil || r.Indexes != nil || r.Snapshot != nil || r.Drop != nil || r.Takeover != nil {
			t.Fatalf("%+v", r)
		}
	})
}
