package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
)

// testEpoch is a key for these tests: what one process of a fuzz run signs must fit in all others.
const testEpoch = "AGE-SECRET-KEY-PQ-144VYAGVSFKCD0WMMWFY6S78XNH9JDMP3EJ6T0ZW4FY4555S0DFMQ3QY3LE"

// fixedHouse has the same keys each time.
func fixedHouse(f *testing.F) *house {
	f.Helper()
	id, err := age.ParseHybridIdentity(testEpoch)
	if err != nil {
		f.Fatal(err)
	}
	h := newHouse(f)
	h.root.Repository, h.root.Seed, h.host.SigningSeed = crypto.ID{1, 2, 3}, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	h.host.Repository, h.host.EpochRecipient = h.root.Repository, id.Recipient().String()
	if h.host.RootKey, err = crypto.VerifierKey(h.root.Repository, crypto.Root, h.root.Seed); err != nil {
		f.Fatal(err)
	}
	h.signer = h.sign(crypto.Writer, h.host.SigningSeed)
	return h
}

// FuzzAppend offers any bytes as the first and as a later record: only what was signed is taken.
func FuzzAppend(f *testing.F) {
	h := fixedHouse(f)
	c := h.chain(3)
	next := h.raw(c, snapshotRecord(1), nil)
	f.Add(next)
	for _, e := range c.Entries() {
		f.Add(e.Raw)
	}
	f.Add([]byte("{}\n\n— a AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, v := range []struct {
			before *Chain
			only   []byte
		}{{&Chain{}, c.Entries()[0].Raw}, {c, next}} {
			chain := *v.before
			chain.entries = chain.entries[:len(chain.entries):len(chain.entries)]
			if err := chain.Append(raw); err == nil && !bytes.Equal(raw, v.only) {
				t.Errorf("a forged record: %q", raw)
			} else if err != nil && !errors.Is(err, ErrBroken) {
				t.Errorf("an unknown error: %v", err)
			}
		}
	})
}

// FuzzSigned signs any text with the right key: whatever a writer says, reading it must be safe.
func FuzzSigned(f *testing.F) {
	h := fixedHouse(f)
	c := h.chain(3)
	for _, r := range []Record{snapshotRecord(1), {Type: Drop, Drop: &DropBody{Seq: 2}}, {Type: Clock, Clock: &ClockBody{}}, {Type: Condemn, Condemn: &PacksBody{Packs: []string{"ab"}}}, {Type: "log"}} {
		raw := h.raw(c, r, nil)
		f.Add(string(raw[:bytes.LastIndex(raw, []byte("\n\n"))]))
	}
	f.Add(`{"format":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := note.Sign(&note.Note{Text: strings.TrimRight(text, "\n") + "\n"}, h.signer)
		if err != nil {
			return
		}
		chain := *c
		chain.entries = chain.entries[:len(chain.entries):len(chain.entries)]
		if err := chain.Append(raw); err != nil {
			if !errors.Is(err, ErrBroken) || chain.Len() != c.Len() {
				t.Errorf("%d records, %v", chain.Len(), err)
			}
			return
		}
		e := chain.Entries()[c.Len()]
		if e.Seq != c.Len()+1 || e.Prev != c.Head() || e.Repository != c.Repository() || !bytes.Equal(e.Raw, raw) || e.Format != 1 {
			t.Errorf("record %+v was taken", e.Record)
		}
		for _, s := range chain.Snapshots() {
			_ = s.Snapshot.Root // a snapshot has details
		}
		_ = chain.Indexes()
		if _, err := json.Marshal(e.Record); err != nil {
			t.Errorf("it cannot be encoded again: %v", err)
		}
	})
}

// FuzzBundle offers any bytes as a bundle, and as the pieces of one.
func FuzzBundle(f *testing.F) {
	h := fixedHouse(f)
	c := h.chain(3)
	var b bytes.Buffer
	for _, e := range c.Entries() {
		raw := e.Raw
		b.WriteString("1 3\nabc")
		b.Write(raw)
	}
	f.Add(b.Bytes())
	f.Add([]byte("1 3\nabc"))
	f.Add([]byte("1 -3\nabc"))
	f.Add([]byte("1 99999999999999999999\nabc"))
	f.Add([]byte("checkpoint 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := (&Chain{}).appendBundle(b); !errors.Is(err, ErrBroken) {
			t.Errorf("a forged bundle: %v", err)
		}
		for rest, n := b, 0; n < 1000; n++ {
			body, next, err := cut(rest, "%d %d\n", 1)
			if err != nil {
				if !errors.Is(err, ErrBroken) {
					t.Errorf("an unknown error: %v", err)
				}
				return
			}
			if len(next) >= len(rest) || !bytes.HasSuffix(rest, next) || !bytes.HasSuffix(rest[:len(rest)-len(next)], body) {
				t.Fatalf("%q was cut into %q and %q", rest, body, next)
			}
			rest = next
		}
	})
}
