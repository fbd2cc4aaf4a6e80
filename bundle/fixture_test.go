package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

// start is a Sunday.
var start = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

const week = 7 * day

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// house is a repository: its keys, its journal, and what the journal names.
type house struct {
	t      testing.TB
	root   crypto.RootSecret
	host   crypto.HostSecrets
	seed   []byte // of the writer's key
	cert   string
	now    time.Time
	chain  *journal.Chain
	texts  map[string][]byte // by digest
	last   map[string]string // report by source
	number int               // of drills
}

func newHouse(t testing.TB) *house {
	t.Helper()
	root, host, _, err := crypto.Generate()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, root: root, host: host, now: start, chain: &journal.Chain{}, texts: map[string][]byte{}, last: map[string]string{}}
	h.seed, h.cert = host.SigningSeed, h.certificate(root, host.SigningSeed, 1)
	h.add(journal.Record{Type: journal.Init, Init: &journal.InitBody{Root: host.RootKey, Certificate: h.cert}})
	return h
}

// copy is the same repository at the same time, which goes on without the other.
func (h *house) copy() *house {
	out := *h
	out.chain, out.texts, out.last = h.chain.Clone(), map[string][]byte{}, map[string]string{}
	for k, v := range h.texts {
		out.texts[k] = v
	}
	for k, v := range h.last {
		out.last[k] = v
	}
	return &out
}

func (h *house) certificate(root crypto.RootSecret, seed []byte, from uint64) string {
	h.t.Helper()
	key := must(crypto.VerifierKey(root.Repository, crypto.Writer, seed))(h.t)
	by := must(crypto.NewSigner(root.Repository, crypto.Root, root.Seed))(h.t)
	return must(crypto.SignCertificate(by, crypto.Certificate{Repository: root.Repository, Role: crypto.Writer, Key: key, From: from, Epoch: h.host.EpochRecipient}))(h.t)
}

func (h *house) signer() note.Signer {
	return must(crypto.NewSigner(h.root.Repository, crypto.Writer, h.seed))(h.t)
}

// raw is the next record, signed.
func (h *house) raw(r journal.Record) []byte {
	h.t.Helper()
	h.now = h.now.Add(time.Second)
	r.Format, r.Repository, r.Seq, r.Prev, r.Time = 1, h.root.Repository, h.chain.Len()+1, h.chain.Head(), h.now
	if r.By == "" {
		r.By = "lifeboat@backup"
	}
	line := must(json.Marshal(&r))(h.t)
	return must(note.Sign(&note.Note{Text: string(line) + "\n"}, h.signer()))(h.t)
}

func (h *house) add(r journal.Record) uint64 {
	h.t.Helper()
	if err := h.chain.Append(h.raw(r)); err != nil {
		h.t.Fatal(err)
	}
	return h.chain.Len()
}

func (h *house) snapshot(source string) uint64 {
	return h.add(journal.Record{Type: journal.Snapshot, Snapshot: &journal.SnapshotBody{Source: opaque(source), Kind: "full", Root: journal.Ref{ID: crypto.ID{1}, Frame: crypto.ID{2}, Len: 9}, Size: 1 << 30}})
}

func opaque(s string) string { return digest([]byte("opaque " + s))[:16] }

func (h *house) policy(name, cron, zone string) {
	text := fmt.Appendf(nil, `{"format":1,"name":%q,"schedule":{"timezone":%q},"drill":{"schedule":%q}}`, name, zone, cron)
	h.texts[digest(text)] = text
	h.add(journal.Record{Type: journal.Policy, Policy: &journal.PolicyBody{Policy: opaque(name), Digest: digest(text)}})
}

// drilled is what a drill comes to; change alters its report and record before they are signed.
type drilled struct {
	source string // crm
	due    *time.Time
	missed []time.Time
	result evidence.Verdict // pass
	by     string
	change func(*evidence.Report, *journal.DrillBody)
}

// drill makes one, and returns its record and the digest of its report.
func (h *house) drill(d drilled) (uint64, string) {
	h.t.Helper()
	if d.source == "" {
		d.source = "crm"
	}
	if d.result == "" {
		d.result = evidence.Pass
	}
	if d.by == "" {
		d.by = "lifeboat@backup"
	}
	h.number++
	r, body := h.report(d)
	if d.change != nil {
		d.change(r, body)
	}
	envelope := must(evidence.Sign(r, h.seed))(h.t)
	body.Report = evidence.Digest(envelope)
	h.texts[body.Report], h.last[d.source] = envelope, body.Report
	at := r.Issued
	return h.add(journal.Record{Type: journal.Drill, By: d.by, Happened: &at, Drill: body}), body.Report
}

func (h *house) report(d drilled) (*evidence.Report, *journal.DrillBody) {
	h.t.Helper()
	c := h.chain
	seq := uint64(0)
	for _, e := range c.Snapshots() {
		if e.Snapshot.Source == opaque(d.source) {
			seq = e.Seq
		}
	}
	body := &journal.DrillBody{Source: opaque(d.source), Policy: opaque("gold"), Result: string(d.result), Mode: "full", Due: d.due, Missed: d.missed, Began: h.now, Snapshot: seq, RTO: 192_200, RPO: 2_400, Size: 1 << 30}
	r := &evidence.Report{Schema: evidence.Schema, ID: fmt.Sprintf("d-%d", h.number), Issued: h.now.Add(5 * time.Minute), Result: d.result,
		Policy: evidence.Policy{Name: "gold", Source: d.source, Due: d.due, Missed: append([]time.Time{}, d.missed...)}, Selection: evidence.Selection{Mode: "full"},
		Backup: evidence.Backup{Size: 1 << 30}, Trigger: evidence.Trigger{Kind: "scheduled", By: d.by},
		Timeline: []evidence.Phase{{Name: evidence.PhasePlan, Start: h.now, End: h.now.Add(time.Second)}},
		RTO:      evidence.Objective{Target: 600_000, Actual: 192_200, Verdict: evidence.Pass}, RPO: evidence.Objective{Target: 60_000, Actual: 2_400, Verdict: evidence.Pass}}
	if d.due == nil {
		r.Trigger.Kind = manual
	}
	if seq > 0 {
		r.Backup.Record = journal.Hash(c.Entries()[seq-1].Raw)
	}
	for _, e := range c.Entries() {
		if e.Policy != nil {
			r.Policy.Digest, r.Policy.Text = e.Policy.Digest, string(h.texts[e.Policy.Digest])
		}
	}
	h.sign(r)
	r.Log.Previous = h.last[d.source]
	return r, body
}

// sign fills in who signs a report, and where the log stands.
func (h *house) sign(r *evidence.Report) {
	h.t.Helper()
	r.Environment = evidence.Environment{Name: "production", Repository: h.root.Repository.String(), Fingerprint: h.fingerprint()}
	r.Signer = evidence.Signer{Key: must(crypto.VerifierKey(h.root.Repository, crypto.Writer, h.seed))(h.t), Root: h.host.RootKey, Certificate: h.cert}
	root := must(h.chain.Root(h.chain.Len()))(h.t)
	r.Log.Journal, r.Log.Records, r.Log.Root = crypto.KeyName(h.root.Repository, crypto.Writer), h.chain.Len(), root.String()
	r.Log.Checkpoint = string(h.checkpoint())
}

func (h *house) checkpoint() []byte {
	h.t.Helper()
	return must(note.Sign(&note.Note{Text: must(checkpointOf(h.chain, h.chain.Len()))(h.t)}, h.signer()))(h.t)
}

func (h *house) signText(text string) ([]byte, error) {
	return note.Sign(&note.Note{Text: text}, h.signer())
}

func (h *house) fingerprint() string { return must(crypto.Fingerprint(h.host.RootKey))(h.t) }

func (h *house) takeover(root crypto.RootSecret) []byte {
	h.t.Helper()
	_, fresh, _, err := crypto.Generate()
	if err != nil {
		h.t.Fatal(err)
	}
	h.seed, h.cert = fresh.SigningSeed, h.certificate(root, fresh.SigningSeed, h.chain.Len()+1)
	return h.raw(journal.Record{Type: journal.Takeover, Takeover: &journal.TakeoverBody{Certificate: h.cert}})
}

func (h *house) input() Input {
	get := func(e journal.Entry) ([]byte, error) {
		d, _ := e.Document()
		if b := h.texts[d]; b != nil {
			return b, nil
		}
		return nil, fmt.Errorf("no copy has it: %w", fs.ErrNotExist)
	}
	return Input{Chain: h.chain, Checkpoint: h.checkpoint(), Made: h.now.Add(time.Hour), By: "auditor@backup", Sign: h.signText, Report: get, Policy: get}
}

func (h *house) bundle() []byte { return pack(h.t, h.input()) }

func pack(t testing.TB, in Input) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, in); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// year is a repository with some weeks of drills: one that failed, one that was missed, one by hand that was reviewed, and a new writer.
func year(t testing.TB) *house {
	h := newHouse(t)
	h.policy("gold", "0 4 * * 0", "UTC")
	h.snapshot("crm")
	var missed []time.Time
	for i := range 6 {
		due := start.Add(time.Duration(i)*week + 2*time.Hour)
		h.now = due.Add(time.Minute)
		h.snapshot("crm")
		switch i {
		case 2:
			missed = append(missed, due)
			continue
		case 3:
			h.drill(drilled{due: &due, missed: missed, result: evidence.Fail})
		default:
			h.drill(drilled{due: &due})
		}
	}
	if err := h.chain.Append(h.takeover(h.root)); err != nil {
		t.Fatal(err)
	}
	_, report := h.drill(drilled{by: "ann@ops"})
	h.add(journal.Record{Type: journal.Review, By: "bob@audit", Reason: "read, and in order", Review: &journal.ReviewBody{Report: report, As: "Bob"}})
	return h
}

// check verifies a bundle.
func check(t testing.TB, b []byte, o Options) *Result {
	t.Helper()
	r, err := Verify(bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files unpacks a bundle, and bundleOf packs what was changed in it.
func files(t testing.TB, b []byte) map[string][]byte {
	t.Helper()
	z := must(zip.NewReader(bytes.NewReader(b), int64(len(b))))(t)
	out := map[string][]byte{}
	for _, f := range z.File {
		r := must(f.Open())(t)
		out[f.Name] = must(io.ReadAll(r))(t)
	}
	return out
}

func bundleOf(t testing.TB, all map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		must(must(z.Create(strings.TrimPrefix(name, "again:")))(t).Write(all[name]))(t)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
