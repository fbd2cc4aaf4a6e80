package journal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/target"
)

// house is a repository's keys and what signs for it, with a clock that the test sets.
type house struct {
	t      testing.TB
	root   crypto.RootSecret
	host   crypto.HostSecrets
	signer note.Signer
	now    time.Time
}

func newHouse(t testing.TB) *house {
	t.Helper()
	root, host, _, err := crypto.Generate()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, root: root, host: host, now: time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)}
	h.signer = h.sign(crypto.Writer, host.SigningSeed)
	return h
}

func (h *house) sign(role crypto.Role, seed []byte) note.Signer {
	h.t.Helper()
	s, err := crypto.NewSigner(h.root.Repository, role, seed)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// clock goes on by a second per look.
func (h *house) clock() clock.Clock {
	return func() time.Time {
		h.now = h.now.Add(time.Second)
		return h.now
	}
}

// certificate is the root's word for the key of a seed.
func (h *house) certificate(role crypto.Role, seed []byte, from uint64) string {
	h.t.Helper()
	vkey, err := crypto.VerifierKey(h.root.Repository, role, seed)
	if err != nil {
		h.t.Fatal(err)
	}
	c, err := crypto.SignCertificate(h.sign(crypto.Root, h.root.Seed), crypto.Certificate{Repository: h.root.Repository, Role: role, Key: vkey, From: from, Epoch: h.host.EpochRecipient})
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *house) initRecord() Record {
	return Record{Type: Init, Init: &InitBody{Root: h.host.RootKey, Certificate: h.certificate(crypto.Writer, h.host.SigningSeed, 1)}}
}

// raw makes the next record after c as Writer does; change is applied before it is signed.
func (h *house) raw(c *Chain, r Record, change func(*Record)) []byte {
	h.t.Helper()
	w := NewWriter("", h.root.Repository, h.signer, c, h.clock(), "tester@house")
	w.complete(&r)
	if change != nil {
		change(&r)
	}
	b, err := sign(&r, h.signer)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// chain makes n records: init, then snapshots and drops.
func (h *house) chain(n int) *Chain {
	h.t.Helper()
	c := &Chain{}
	for i := range n {
		r := h.initRecord()
		switch {
		case i > 0 && i%3 == 0:
			r = Record{Type: Drop, Drop: &DropBody{Seq: uint64(i)}}
		case i > 0:
			r = snapshotRecord(i)
		}
		if err := c.Append(h.raw(c, r, nil)); err != nil {
			h.t.Fatal(err)
		}
	}
	return c
}

func snapshotRecord(i int) Record {
	digest := fmt.Sprintf("%064x", i)
	return Record{Type: Snapshot, Objects: []target.Object{{Name: "packs/" + digest[:2] + "/" + digest, Size: 5}}, Indexes: []string{digest},
		Snapshot: &SnapshotBody{Source: "0123456789abcdef", Kind: "full", Root: Ref{ID: crypto.ID{1}, Frame: crypto.ID{2}, Len: 9}, Size: int64(i)}}
}

func refused(t *testing.T, c *Chain, what string, raw []byte) {
	t.Helper()
	before, head := c.Len(), c.Head()
	if err := c.Append(raw); !errors.Is(err, ErrBroken) {
		t.Errorf("%s: error %v, want ErrBroken", what, err)
	}
	if c.Len() != before || c.Head() != head {
		t.Fatalf("%s: the chain was changed", what)
	}
}

func TestChain(t *testing.T) {
	h := newHouse(t)
	c := h.chain(6)
	if c.Len() != 6 || c.Repository() != h.root.Repository || c.RootKey() != h.host.RootKey || !c.Time().Equal(h.now) || c.Head() != Hash(c.Entries()[5].Raw) {
		t.Errorf("the chain says %d %s %s %s", c.Len(), c.Repository(), c.RootKey(), c.Time())
	}
	var seqs []uint64
	for _, e := range c.Snapshots() {
		seqs = append(seqs, e.Seq)
	}
	if fmt.Sprint(seqs) != "[2 5 6]" { // record 4 drops 3
		t.Errorf("snapshots %v", seqs)
	}
	if x := c.Indexes(); len(x) != 1 || x[0] != fmt.Sprintf("%064x", 5) {
		t.Errorf("indexes %v", x)
	}
	var empty Chain
	if empty.Head() != "" || !empty.Time().IsZero() || empty.Indexes() != nil || empty.Snapshots() != nil {
		t.Error("the empty chain says something")
	}
}

// TestChainEveryByte changes, removes and adds every byte of every record.
func TestChainEveryByte(t *testing.T) {
	h := newHouse(t)
	all := h.chain(4).Entries()
	for i, e := range all {
		c := &Chain{}
		for _, before := range all[:i] {
			if err := c.Append(before.Raw); err != nil {
				t.Fatal(err)
			}
		}
		for at := range e.Raw {
			for bit := range 8 {
				if bit == at%8 || at > len(e.Raw)-12 { // the end of the signature has bits that do not count
					b := bytes.Clone(e.Raw)
					b[at] ^= 1 << bit
					refused(t, c, fmt.Sprintf("record %d, byte %d, bit %d", i+1, at, bit), b)
				}
			}
			refused(t, c, fmt.Sprintf("record %d, cut to %d", i+1, at), e.Raw[:at])
			if at%9 != 0 && at < len(e.Raw)-12 {
				continue
			}
			refused(t, c, fmt.Sprintf("record %d without byte %d", i+1, at), append(bytes.Clone(e.Raw[:at]), e.Raw[at+1:]...))
			refused(t, c, fmt.Sprintf("record %d with a byte more at %d", i+1, at), append(append(bytes.Clone(e.Raw[:at]), ' '), e.Raw[at:]...))
		}
	}
}

// TestChainSignatures gives the newest record other bytes around its text, which its signature does not cover.
func TestChainSignatures(t *testing.T) {
	h := newHouse(t)
	c := h.chain(2)
	raw := h.raw(c, snapshotRecord(1), nil)
	at := bytes.LastIndex(raw, []byte("\n\n")) + 2
	text, line := raw[:at], raw[at:]
	other, err := note.Sign(&note.Note{Text: string(text[:at-1])}, h.sign(crypto.Writer, make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	refused(t, c, "the signature twice", join(raw, line))
	refused(t, c, "a second signature", join(raw, other[at:]))
	refused(t, c, "a second signature before", join(text, other[at:], line))
	refused(t, c, "signed by another key", other)
	refused(t, c, "signed by the root", resign(t, text, h.sign(crypto.Root, h.root.Seed)))
	refused(t, c, "without a signature", text)
	refused(t, c, "another algorithm's spelling", bytes.Replace(raw, []byte("/writer "), []byte("/writer  "), 1))
	spaced := bytes.Replace(text[:at-1], []byte(`{"format"`), []byte(`{ "format"`), 1)
	if err := c.Append(resign(t, spaced, h.signer)); err != nil { // what is signed may be spelled as its writer likes
		t.Error(err)
	}
}

func resign(t *testing.T, text []byte, s note.Signer) []byte {
	t.Helper()
	b, err := note.Sign(&note.Note{Text: strings.TrimRight(string(text), "\n") + "\n"}, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestChainOrder(t *testing.T) {
	h := newHouse(t)
	all := h.chain(5).Entries()
	c := &Chain{}
	for i, e := range all {
		for j, other := range all {
			if i != j {
				refused(t, c, fmt.Sprintf("record %d in the place of %d", j+1, i+1), other.Raw)
			}
		}
		if err := c.Append(e.Raw); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, c, "the last again", all[4].Raw)
}

func TestChainContent(t *testing.T) {
	h, foreign := newHouse(t), newHouse(t)
	c := h.chain(3)
	body := snapshotRecord(1)
	for what, change := range map[string]func(*Record){
		"a number too high":           func(r *Record) { r.Seq++ },
		"a number too low":            func(r *Record) { r.Seq-- },
		"another predecessor":         func(r *Record) { r.Prev = Hash(nil) },
		"no predecessor":              func(r *Record) { r.Prev = "" },
		"another repository":          func(r *Record) { r.Repository[0] ^= 1 },
		"another format":              func(r *Record) { r.Format = 2 },
		"no format":                   func(r *Record) { r.Format = 0 },
		"time going back":             func(r *Record) { r.Time = c.Time().Add(-time.Nanosecond) },
		"no time":                     func(r *Record) { r.Time = time.Time{} },
		"a snapshot without details":  func(r *Record) { r.Snapshot = nil },
		"a drop without details":      func(r *Record) { r.Type = Drop },
		"a drop of what is to come":   func(r *Record) { r.Type, r.Drop = Drop, &DropBody{Seq: r.Seq} },
		"a condemn without details":   func(r *Record) { r.Type = Condemn },
		"a sweep without details":     func(r *Record) { r.Type = Sweep },
		"a take-over without details": func(r *Record) { r.Type = Takeover },
		"a take-over without a word":  func(r *Record) { r.Type, r.Takeover = Takeover, &TakeoverBody{} },
		"a foreign root's certificate": func(r *Record) {
			r.Type, r.Takeover = Takeover, &TakeoverBody{foreign.certificate(crypto.Writer, h.host.SigningSeed, 4)}
		},
	} {
		refused(t, c, what, h.raw(c, body, change))
	}
	fc := foreign.chain(3)
	refused(t, c, "a foreign repository's record", foreign.raw(fc, body, nil))
	refused(t, c, "the same, made to fit", foreign.raw(c, body, func(r *Record) { r.Repository = h.root.Repository }))
	if err := c.Append(h.raw(c, body, func(r *Record) { r.Time = c.Time() })); err != nil {
		t.Errorf("the same time as before: %v", err)
	}
	if err := c.Append(h.raw(c, Record{Type: "note"}, nil)); err != nil {
		t.Errorf("a type of a later version: %v", err)
	}
}

func TestChainFounding(t *testing.T) {
	h, foreign := newHouse(t), newHouse(t)
	c := &Chain{}
	for what, r := range map[string]Record{
		"a snapshot":                  snapshotRecord(1),
		"no details":                  {Type: Init},
		"a certificate for later":     {Type: Init, Init: &InitBody{Root: h.host.RootKey, Certificate: h.certificate(crypto.Writer, h.host.SigningSeed, 2)}},
		"a certificate for a root":    {Type: Init, Init: &InitBody{Root: h.host.RootKey, Certificate: h.certificate(crypto.Root, h.host.SigningSeed, 1)}},
		"a certificate for another":   {Type: Init, Init: &InitBody{Root: h.host.RootKey, Certificate: h.certificate(crypto.Writer, foreign.host.SigningSeed, 1)}},
		"a foreign root":              {Type: Init, Init: &InitBody{Root: foreign.host.RootKey, Certificate: h.initRecord().Init.Certificate}},
		"a foreign root, certificate": {Type: Init, Init: &InitBody{Root: foreign.host.RootKey, Certificate: foreign.initRecord().Init.Certificate}},
		"no root":                     {Type: Init, Init: &InitBody{Certificate: h.initRecord().Init.Certificate}},
	} {
		refused(t, c, what, h.raw(c, r, nil))
	}
	refused(t, c, "no repository", h.raw(c, h.initRecord(), func(r *Record) { r.Repository = crypto.ID{} }))
	refused(t, c, "number 0", h.raw(c, h.initRecord(), func(r *Record) { r.Seq = 0 }))
	refused(t, c, "a predecessor", h.raw(c, h.initRecord(), func(r *Record) { r.Prev = Hash(nil) }))
	for what, b := range map[string]string{"nothing": "", "a word": "x", "JSON": "{}\n", "half a note": "{}\n\n", "not JSON": "x\n\n— a AAAAAAAA\n"} {
		refused(t, c, what, []byte(b))
	}
}

func TestClockRecord(t *testing.T) {
	h := newHouse(t)
	c := h.chain(3)
	h.now = h.now.Add(-1000 * time.Hour)
	e := h.raw(c, snapshotRecord(1), nil)
	if err := c.Append(e); err != nil {
		t.Fatal(err)
	}
	if r := c.Entries()[3]; !r.Time.Equal(c.Entries()[2].Time) || r.HostClock == nil || !r.HostClock.Equal(h.now) {
		t.Errorf("with the clock behind: time %s, host clock %v", r.Time, r.HostClock)
	}
	if err := c.Append(h.raw(c, Record{Type: Clock, Clock: &ClockBody{Was: c.Time()}}, nil)); err != nil {
		t.Fatal(err)
	}
	if r := c.Entries()[4]; !r.Time.Equal(h.now) || r.HostClock != nil {
		t.Errorf("clock: time %s, host clock %v", r.Time, r.HostClock)
	}
	refused(t, c, "back once more", h.raw(c, snapshotRecord(2), func(r *Record) { r.Time = r.Time.Add(-time.Hour) }))
	if err := c.Append(h.raw(c, snapshotRecord(2), nil)); err != nil || c.Entries()[5].HostClock != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestTakeover(t *testing.T) {
	h := newHouse(t)
	c := h.chain(3)
	seed := bytes.Repeat([]byte{5}, 32)
	old := h.signer
	takeover := func(role crypto.Role, from uint64) Record {
		return Record{Type: Takeover, Takeover: &TakeoverBody{h.certificate(role, seed, from)}}
	}
	refused(t, c, "signed by the old key", h.raw(c, takeover(crypto.Writer, 4), nil))
	h.signer = h.sign(crypto.Writer, seed)
	refused(t, c, "the new key before its certificate", h.raw(c, snapshotRecord(1), nil))
	refused(t, c, "from too early", h.raw(c, takeover(crypto.Writer, 3), nil))
	refused(t, c, "from too late", h.raw(c, takeover(crypto.Writer, 5), nil))
	refused(t, c, "for another role", h.raw(c, takeover(crypto.Root, 4), nil))
	if err := c.Append(h.raw(c, takeover(crypto.Writer, 4), nil)); err != nil {
		t.Fatal(err)
	}
	refused(t, c, "the same certificate again", h.raw(c, takeover(crypto.Writer, 4), nil))
	fresh := h.signer
	h.signer = old
	refused(t, c, "the old key after it", h.raw(c, snapshotRecord(1), nil))
	h.signer = fresh
	if err := c.Append(h.raw(c, snapshotRecord(1), nil)); err != nil {
		t.Errorf("the new key after it: %v", err)
	}
	for seq, signer := range map[uint64]note.Signer{3: old, 4: fresh, 5: fresh, 99: fresh} { // what was captured before it stays genuine
		if key, err := c.WriterAfter(seq); err != nil || key.KeyHash() != signer.KeyHash() {
			t.Errorf("another key is the writer's after record %d: %v", seq, err)
		}
	}
}
