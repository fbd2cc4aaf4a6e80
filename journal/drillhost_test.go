package journal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/target"
)

const vault = crypto.Role("drill-vault")

// guest is a drill host, with its journal.
type guest struct {
	*house
	seed   []byte
	signer note.Signer
	chain  *Chain
}

// guest is a new drill host, and the writer's record number seq that lets its key count.
func (h *house) guest(seq uint64) (*guest, Record) {
	h.t.Helper()
	g := &guest{house: h, seed: bytes.Repeat([]byte{7}, 32)}
	g.signer = h.sign(vault, g.seed)
	cert := h.certificate(vault, g.seed, seq)
	var err error
	if g.chain, err = DrillChain(h.root.Repository, h.host.RootKey, cert); err != nil {
		h.t.Fatal(err)
	}
	return g, Record{Type: Certify, Certify: &CertifyBody{cert}}
}

// sealed makes the drill host's next record.
func (g *guest) sealed(r Record) []byte {
	g.t.Helper()
	w := NewWriter("", g.root.Repository, g.signer, g.chain, g.clock(), "robot@vault")
	w.complete(&r)
	raw, err := sign(&r, g.signer)
	if err != nil {
		g.t.Fatal(err)
	}
	return raw
}

func (g *guest) add(r Record) Entry {
	g.t.Helper()
	if err := g.chain.Append(g.sealed(r)); err != nil {
		g.t.Fatal(err)
	}
	return g.chain.Entries()[g.chain.Len()-1]
}

func aDrill(report string) Record {
	return Record{Type: Drill, Note: strings.Repeat("a", 32), Drill: &DrillBody{Report: strings.Repeat(report, 64), Result: "fail", Began: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		Objects: []target.Object{{Name: "documents/" + strings.Repeat("0", 64), Size: 9}}}
}

func (h *house) revocation(key string, seq uint64) Record {
	h.t.Helper()
	text, err := crypto.SignRevocation(h.sign(crypto.Root, h.root.Seed), crypto.Certificate{Repository: h.root.Repository, Role: vault, Key: key, From: seq})
	if err != nil {
		h.t.Fatal(err)
	}
	return Record{Type: Revoke, Revoke: &RevokeBody{text}}
}

// TestDrillHost follows a drill host from its certificate to its revocation: what it recorded is in the writer's journal, word for word and without a hole.
func TestDrillHost(t *testing.T) {
	h := newHouse(t)
	c := &Chain{}
	add := func(r Record) error { return c.Append(h.raw(c, r, nil)) }
	must := func(r Record) {
		t.Helper()
		if err := add(r); err != nil {
			t.Fatal(err)
		}
	}
	must(h.initRecord())
	g, certify := h.guest(2)
	first := g.add(aDrill("1"))
	if err := add(Entering(vault, first)); !errors.Is(err, ErrBroken) {
		t.Errorf("entered before the certificate: %v", err)
	}
	must(certify)
	must(Entering(vault, first))
	if e := c.Entries()[2]; e.By != "robot@vault" || !e.Happened.Equal(first.Time) || e.Drill.Result != "fail" {
		t.Errorf("entered %+v", e)
	}
	second, third := g.add(aDrill("2")), g.add(aDrill("3"))
	if err := add(Entering(vault, third)); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "record 2") {
		t.Errorf("a drill was left out: %v", err)
	}
	embellished := Entering(vault, second)
	embellished.Drill = &DrillBody{Report: second.Drill.Report, Result: "pass"}
	if err := add(embellished); err == nil || !strings.Contains(err.Error(), "does not say") {
		t.Errorf("the writer changed a result: %v", err)
	}
	must(Entering(vault, second))
	must(Entering(vault, third))
	if err := add(Entering(vault, third)); err == nil {
		t.Error("a record was entered twice")
	}
	known := c.DrillHost(vault)
	if known.Chain.Len() != 3 || known.Chain.Head() != g.chain.Head() || c.DrillHost("drill-other") != nil {
		t.Errorf("known: %+v", known)
	}
	must(h.revocation(known.Key, c.Len()+1))
	if err := add(Entering(vault, g.add(aDrill("4")))); err == nil || !strings.Contains(err.Error(), "not certified") {
		t.Errorf("entered after the revocation: %v", err)
	}
	if _, again := h.guest(c.Len() + 1); add(again) == nil {
		t.Error("a name came back")
	}
	if known.Revoked != 0 || c.DrillHost(vault).Revoked == 0 {
		t.Error("what was known before has changed, or it was not revoked")
	}
	again, err := ParseChain(func() (raws [][]byte) {
		for _, e := range c.Entries() {
			raws = append(raws, e.Raw)
		}
		return raws
	}())
	if err != nil || again.DrillHost(vault).Chain.Len() != 3 {
		t.Errorf("read again: %v", err)
	}
}

// TestDrillHostForged tries what a drill host whose key is stolen, or a writer without the root, must not do.
func TestDrillHostForged(t *testing.T) {
	h := newHouse(t)
	c := &Chain{}
	if err := c.Append(h.raw(c, h.initRecord(), nil)); err != nil {
		t.Fatal(err)
	}
	thief := newHouse(t)
	thief.root.Repository = h.root.Repository
	key, err := crypto.VerifierKey(h.root.Repository, vault, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for what, cert := range map[string]string{
		"by another root":            thief.certificate(vault, bytes.Repeat([]byte{7}, 32), 2),
		"of another record":          h.certificate(vault, bytes.Repeat([]byte{7}, 32), 3),
		"of the writer":              h.certificate(crypto.Writer, bytes.Repeat([]byte{7}, 32), 2),
		"of a role that drills not":  h.certificate("reviewer", bytes.Repeat([]byte{7}, 32), 2),
		"for an epoch of nobody's":   strings.Replace(h.certificate(vault, bytes.Repeat([]byte{7}, 32), 2), "epoch age", "epoch bge", 1),
		"with something behind it\n": h.certificate(vault, bytes.Repeat([]byte{7}, 32), 2) + "more",
	} {
		if err := c.Append(h.raw(c, Record{Type: Certify, Certify: &CertifyBody{cert}}, nil)); !errors.Is(err, ErrBroken) {
			t.Errorf("certificate %s: %v", what, err)
		}
	}
	if err := c.Append(h.raw(c, h.revocation(key, 2), nil)); !errors.Is(err, ErrBroken) {
		t.Errorf("a revocation of nobody: %v", err)
	}
	g, certify := h.guest(2)
	if err := c.Append(h.raw(c, certify, nil)); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	east, early := time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)), time.Time{}
	strange := aDrill("1")
	strange.Drill.Missed = []time.Time{time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}
	for what, r := range map[string]Record{
		"a time with a zone":   {Type: Restore, Restore: &RestoreBody{}, Happened: &east},
		"a time of long ago":   {Type: Restore, Restore: &RestoreBody{}, Happened: &early},
		"a time far ahead":     strange,
		"a name of no people":  {Type: Restore, Restore: &RestoreBody{}, By: "robot\u202e@vault"},
		"a place of no people": {Type: Restore, Restore: &RestoreBody{}, By: "robot@vault", From: "\x1b[2J"},
		"a snapshot":           {Type: Snapshot, Snapshot: &SnapshotBody{}},
		"a snapshot behind it": {Type: Drill, Drill: aDrill("1").Drill, Objects: aDrill("1").Objects, Snapshot: &SnapshotBody{}},
		"a drop behind it":     {Type: Review, Review: &ReviewBody{Report: strings.Repeat("1", 64)}, Drop: &DropBody{Seq: 1}},
		"an index":             {Type: Drill, Drill: aDrill("1").Drill, Objects: aDrill("1").Objects, Indexes: []string{strings.Repeat("1", 64)}},
		"two documents":        {Type: Drill, Drill: aDrill("1").Drill, Objects: append(aDrill("1").Objects, aDrill("1").Objects...)},
		"no document":          {Type: Drill, Drill: aDrill("1").Drill},
		"a pack":               {Type: Drill, Drill: aDrill("1").Drill, Objects: []target.Object{{Name: "packs/" + strings.Repeat("0", 64), Size: 9}}},
		"an object":            {Type: Denied, Happened: &at, Denied: &DeniedBody{}, Objects: aDrill("1").Objects},
		"a clock":              {Type: Clock, Clock: &ClockBody{}},
		"a take-over":          {Type: Takeover, Takeover: &TakeoverBody{certify.Certify.Certificate}},
		"what another did":     {Type: Drill, Drill: aDrill("1").Drill, Objects: aDrill("1").Objects, Via: &ViaBody{vault, ""}},
	} {
		if err := g.chain.Clone().Append(g.sealed(r)); !errors.Is(err, ErrBroken) {
			t.Errorf("a drill host recorded %s: %v", what, err)
		}
	}
	line := strings.SplitN(string(g.sealed(aDrill("1"))), "\n", 2)[0]
	for what, text := range map[string]string{"with another member": strings.Replace(line, `{"format"`, `{"more":"`+strings.Repeat("<", 99)+`","format"`, 1), "twice": strings.Replace(line, `"result":"fail"`, `"result":"pass","result":"fail"`, 1)} {
		raw, err := note.Sign(&note.Note{Text: text + "\n"}, g.signer)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.chain.Clone().Append(raw); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "not spelled") {
			t.Errorf("a record that is spelled in another way, %s: %v", what, err)
		}
	}
	// A record of the writer's own cannot be passed off as a drill host's, nor the other way round.
	if err := g.chain.Clone().Append(h.raw(g.chain, aDrill("1"), nil)); !errors.Is(err, ErrBroken) {
		t.Errorf("the writer's key signed for the drill host: %v", err)
	}
	if err := c.Append(g.sealed(aDrill("1"))); !errors.Is(err, ErrBroken) {
		t.Errorf("the drill host's key signed for the writer: %v", err)
	}
	if _, err := DrillChain(h.root.Repository, h.host.RootKey, h.certificate(crypto.Writer, g.seed, 2)); err == nil {
		t.Error("a drill host has the writer's certificate")
	}
	if err := c.Append(h.raw(c, Record{Type: Clock, Clock: &ClockBody{}, Via: &ViaBody{vault, "x"}}, nil)); !errors.Is(err, ErrBroken) {
		t.Errorf("a clock by way of a drill host: %v", err)
	}
}
