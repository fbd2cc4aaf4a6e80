package bundle

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
	"lifeboat/target"
)

const vault = crypto.Role("drill-vault")

// guest is a drill host of a house, with its journal.
type guest struct {
	*house
	seed     []byte
	key      string
	cert     string
	chain    *journal.Chain
	last     string    // report
	happened time.Time // as its next drill says; zero: when its report was issued
}

// guest lets the key of a drill host count.
func (h *house) guest() *guest {
	h.t.Helper()
	g := &guest{house: h, seed: bytes.Repeat([]byte{9}, 32)}
	g.key = must(crypto.VerifierKey(h.root.Repository, vault, g.seed))(h.t)
	by := must(crypto.NewSigner(h.root.Repository, crypto.Root, h.root.Seed))(h.t)
	g.cert = must(crypto.SignCertificate(by, crypto.Certificate{Repository: h.root.Repository, Role: vault, Key: g.key, From: h.chain.Len() + 1, Epoch: h.host.EpochRecipient}))(h.t)
	g.chain = must(journal.DrillChain(h.root.Repository, h.host.RootKey, g.cert))(h.t)
	h.add(journal.Record{Type: journal.Certify, Certify: &journal.CertifyBody{Certificate: g.cert}})
	return g
}

// drill makes one there, and enters it; change alters its report before it is signed, by the host or with this seed.
func (g *guest) drill(change func(*evidence.Report), seed []byte) {
	g.t.Helper()
	g.number++
	r, body := g.report(drilled{source: "crm", result: evidence.Fail, by: "robot@vault"})
	r.Signer.Key, r.Signer.Certificate, r.Log.Previous = g.key, g.cert, g.last
	signer := must(crypto.NewSigner(g.root.Repository, vault, g.seed))(g.t)
	r.Log.Checkpoint = string(must(note.Sign(&note.Note{Text: must(checkpointOf(g.house.chain, g.house.chain.Len()))(g.t)}, signer))(g.t))
	if change != nil {
		change(r)
	}
	envelope := must(evidence.Sign(r, seed))(g.t)
	body.Report = evidence.Digest(envelope)
	g.texts[body.Report], g.last = envelope, body.Report
	at := r.Issued
	if !g.happened.IsZero() {
		at = g.happened
	}
	line := must(json.Marshal(journal.Record{Format: 1, Repository: g.root.Repository, Seq: g.chain.Len() + 1, Prev: g.chain.Head(), Time: r.Issued, By: "robot@vault", Happened: &at, Type: journal.Drill, Drill: body,
		Objects: []target.Object{{Name: "documents/" + digest(envelope), Size: 1}}}))(g.t)
	raw := must(note.Sign(&note.Note{Text: string(line) + "\n"}, signer))(g.t)
	if err := g.chain.Append(raw); err != nil {
		g.t.Fatal(err)
	}
	g.add(journal.Entering(vault, g.chain.Entries()[g.chain.Len()-1]))
}

// TestBundleOfDrillHost verifies drills that another host made, beside the writer's own of the same source.
func TestBundleOfDrillHost(t *testing.T) {
	h := year(t)
	g := h.guest()
	g.drill(nil, g.seed)
	h.drill(drilled{})
	g.drill(nil, g.seed)
	h.now = h.now.Add(time.Hour)
	r := check(t, h.bundle(), Options{Trust: h.fingerprint()})
	if r.Verdict != Verified && r.Verdict != Incomplete {
		t.Errorf("%s: %+v", r.Verdict, r.Problems)
	}
	hosts := map[string]int{}
	for _, p := range r.Reports {
		if hosts[p.Host]++; !p.Verified {
			t.Errorf("report %s of %s does not verify", p.ID, p.Host)
		}
	}
	if hosts[string(vault)] != 2 || hosts["writer"] < 2 {
		t.Errorf("the reports are of %v", hosts)
	}
	for what, forge := range map[string]struct {
		kind  Kind
		drill func(*house, *guest)
	}{
		"the writer signs for the drill host": {ReportForged, func(h *house, g *guest) {
			g.drill(func(r *evidence.Report) {
				r.Signer.Key, r.Signer.Certificate, r.Log.Checkpoint = must(crypto.VerifierKey(h.root.Repository, crypto.Writer, h.seed))(t), h.cert, string(h.checkpoint())
			}, h.seed)
		}},
		"the drill before is the writer's": {ReportPrevious, func(h *house, g *guest) {
			g.drill(func(r *evidence.Report) { r.Log.Previous = h.last["crm"] }, g.seed)
		}},
		"without a checkpoint": {ReportLog, func(_ *house, g *guest) {
			g.drill(func(r *evidence.Report) { r.Log.Checkpoint = "" }, g.seed)
		}},
	} {
		h := year(t)
		g := h.guest()
		forge.drill(h, g)
		if r := check(t, h.bundle(), Options{Trust: h.fingerprint()}); r.Verdict != Forged || !r.Has(forge.kind) {
			t.Errorf("%s: %s %+v", what, r.Verdict, r.Problems)
		}
	}
}

// TestBundlePeriod lets a drill host say that a failed drill happened long ago: what the writer recorded in the period belongs to it.
func TestBundlePeriod(t *testing.T) {
	h := year(t)
	g := h.guest()
	since := h.now
	h.now = h.now.Add(time.Hour)
	g.happened = time.Date(2020, 6, 1, 0, 0, 0, 0, time.UTC)
	g.drill(nil, g.seed)
	h.now = h.now.Add(time.Hour)
	in := h.input()
	in.Since = since
	r := check(t, pack(t, in), Options{Trust: h.fingerprint()})
	if i := slices.IndexFunc(r.Reports, func(p ReportResult) bool { return p.Host == string(vault) }); i < 0 || r.Counts.Drills.Fail == 0 {
		t.Errorf("the failed drill is not in the bundle: %+v", r.Counts)
	}
}
