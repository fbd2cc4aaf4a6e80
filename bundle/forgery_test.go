package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

func reviewRecord(by, as, report string) journal.Record {
	return journal.Record{Type: journal.Review, By: by, Review: &journal.ReviewBody{Report: report, As: as}}
}

// reports are the names of the reports in its bundle, in the order of the drills.
func (h *house) reports() (names []string) {
	for _, e := range h.chain.Entries() {
		if e.Drill != nil {
			names = append(names, reportFile(e.Drill.Report))
		}
	}
	return names
}

// resigned is a report that was signed again: by another key, or with something else in it.
func resigned(t *testing.T, envelope, seed []byte, change func(*evidence.Report)) []byte {
	t.Helper()
	r := must(evidence.Open(envelope, ""))(t).Report
	change(r)
	return must(evidence.Sign(r, seed))(t)
}

// again makes the journal anew with the same keys, up to n records, without those that skip, and lets change alter others.
func (h *house) again(n uint64, skip func(journal.Entry) bool, change func(*journal.Record)) *house {
	out := h.copy()
	out.seed, out.cert, out.chain = h.host.SigningSeed, h.certificate(h.root, h.host.SigningSeed, 1), &journal.Chain{}
	for _, e := range h.chain.Entries()[:n] {
		if skip != nil && skip(e) {
			continue
		}
		r := e.Record
		if change != nil {
			change(&r)
		}
		out.now = e.Time
		out.add(r)
	}
	return out
}

// TestForgeries forges a good bundle in many ways. Each is found, for what it is.
func TestForgeries(t *testing.T) {
	h := year(t)
	good := h.bundle()
	kept := [][]byte{must(cloneUntil(h, 5))(t).checkpoint(), must(cloneUntil(h, 12))(t).checkpoint()}
	old := must(cloneUntil(h, 9))(t)
	cases := map[string]struct {
		kind  Kind
		forge func(all map[string][]byte) []byte
	}{
		"byte of a report": {ReportAltered, func(all map[string][]byte) []byte {
			name := h.reports()[1]
			all[name] = bytes.Replace(all[name], []byte(`"sig":"`), []byte(`"sig":"A`), 1)
			return bundleOf(t, all)
		}},
		"report left out": {ReportLeftOut, func(all map[string][]byte) []byte {
			delete(all, h.reports()[0])
			return bundleOf(t, all)
		}},
		"reports exchanged": {ReportSwapped, func(all map[string][]byte) []byte {
			n := h.reports()
			all[n[0]], all[n[1]] = all[n[1]], all[n[0]]
			return bundleOf(t, all)
		}},
		"report of another key": {ReportForged, func(all map[string][]byte) []byte {
			name, seed := h.reports()[0], bytes.Repeat([]byte{7}, 32)
			all[name] = resigned(t, all[name], seed, func(r *evidence.Report) {
				r.Result, r.Signer.Key = evidence.Pass, must(crypto.VerifierKey(h.root.Repository, crypto.Writer, seed))(t)
			})
			return bundleOf(t, all)
		}},
		"report of another root": {ReportForged, func(all map[string][]byte) []byte {
			name, other := h.reports()[0], newHouse(t)
			all[name] = resigned(t, all[name], other.seed, other.sign)
			return bundleOf(t, all)
		}},
		"report signed again by the host": {ReportAltered, func(all map[string][]byte) []byte {
			name := h.reports()[0]
			all[name] = resigned(t, all[name], h.host.SigningSeed, func(r *evidence.Report) { r.RTO.Actual = 1 })
			return bundleOf(t, all)
		}},
		"report that no record names": {ReportExtra, func(all map[string][]byte) []byte {
			b := resigned(t, all[h.reports()[0]], h.host.SigningSeed, func(r *evidence.Report) { r.ID = "made-up" })
			all[reportFile(digest(b))] = b
			return bundleOf(t, all)
		}},
		"journal cut, old checkpoint": {Truncated, func(all map[string][]byte) []byte {
			all[fileJournal] = records(old.chain)
			return bundleOf(t, all)
		}},
		"journal cut, checkpoint of the same key": {Truncated, func(all map[string][]byte) []byte {
			all[fileJournal], all[fileCheckpoint] = records(old.chain), kept[1]
			return bundleOf(t, all)
		}},
		"journal cut, new checkpoint": {RolledBack, func(map[string][]byte) []byte { return old.bundle() }},
		"set back, and gone on": {Forked, func(map[string][]byte) []byte {
			o := old.copy()
			for range 8 {
				o.snapshot("crm")
			}
			return o.bundle()
		}},
		"another history": {Forked, func(map[string][]byte) []byte {
			return h.again(7, nil, func(r *journal.Record) { r.Reason = "better" }).bundle()
		}},
		"failed drill removed": {BadJournal, func(all map[string][]byte) []byte {
			var b bytes.Buffer
			for _, e := range h.chain.Entries() {
				if e.Drill == nil || e.Drill.Result != "fail" {
					fmt.Fprintf(&b, "%d %d\n%s", e.Seq, len(e.Raw), e.Raw)
				}
			}
			all[fileJournal] = b.Bytes()
			return bundleOf(t, all)
		}},
		"record altered": {BadJournal, func(all map[string][]byte) []byte {
			all[fileJournal] = bytes.Replace(all[fileJournal], []byte(`"result":"fail"`), []byte(`"result":"pass"`), 1)
			return bundleOf(t, all)
		}},
		"policy altered": {PolicyAltered, func(all map[string][]byte) []byte {
			for name := range all {
				if strings.HasPrefix(name, dirPolicies) {
					all[name] = bytes.Replace(all[name], []byte("* * 0"), []byte("1 1 0"), 1)
				}
			}
			return bundleOf(t, all)
		}},
		"policy left out": {PolicyLeftOut, func(all map[string][]byte) []byte {
			maps.DeleteFunc(all, func(name string, _ []byte) bool { return strings.HasPrefix(name, dirPolicies) })
			return bundleOf(t, all)
		}},
		"another root": {Origin, func(map[string][]byte) []byte { return year(t).bundle() }},
		"certificate of another root": {BadJournal, func(all map[string][]byte) []byte {
			o, other := h.copy(), newHouse(t)
			other.root.Repository = h.root.Repository
			raw := o.takeover(other.root)
			all[fileJournal] = append(all[fileJournal], fmt.Appendf(nil, "%d %d\n%s", h.chain.Len()+1, len(raw), raw)...)
			return bundleOf(t, all)
		}},
		"row of the extract": {BadAudit, func(all map[string][]byte) []byte {
			all[fileAudit] = bytes.Replace(all[fileAudit], []byte(`"result": "fail"`), []byte(`"result": "pass"`), 1)
			return bundleOf(t, all)
		}},
		"row of the extract left out": {BadAudit, func(all map[string][]byte) []byte {
			var a Audit
			if err := json.Unmarshal(all[fileAudit], &a); err != nil {
				t.Fatal(err)
			}
			a.Rows = slices.Delete(a.Rows, 3, 4)
			all[fileAudit] = must(indented(a))(t)
			return bundleOf(t, all)
		}},
		"proof of the extract": {BadAudit, func(all map[string][]byte) []byte {
			var a Audit
			if err := json.Unmarshal(all[fileAudit], &a); err != nil {
				t.Fatal(err)
			}
			a.Rows[2].Proof[0][0] ^= 1
			all[fileAudit] = must(indented(a))(t)
			return bundleOf(t, all)
		}},
		"manifest": {BadManifest, func(all map[string][]byte) []byte {
			all[fileManifest] = bytes.Replace(all[fileManifest], []byte(`"fail": 1`), []byte(`"fail": 0`), 1)
			return bundleOf(t, all)
		}},
		"period stretched": {BadSignature, func(all map[string][]byte) []byte {
			return changed(t, all, func(m *Manifest) { m.Until, m.Made = m.Until.Add(week), m.Made.Add(week) })
		}},
		"period shortened": {BadSignature, func(all map[string][]byte) []byte {
			return changed(t, all, func(m *Manifest) { m.Until = h.chain.Time() })
		}},
		"period begins later": {BadSignature, func(all map[string][]byte) []byte {
			return changed(t, all, func(m *Manifest) { m.Since = start.Add(4 * week) })
		}},
		"made by another": {BadSignature, func(all map[string][]byte) []byte {
			return changed(t, all, func(m *Manifest) { m.By = "auditor" })
		}},
		"manifest without a signature": {BadSignature, func(all map[string][]byte) []byte {
			delete(all, fileSignature)
			return bundleOf(t, all)
		}},
		"manifest of another key": {BadSignature, func(all map[string][]byte) []byte {
			all[fileSignature] = must(old.signText(signedText(h.chain, all[fileManifest])))(t)
			return bundleOf(t, all)
		}},
		"signature of something else": {BadSignature, func(all map[string][]byte) []byte {
			all[fileSignature] = all[fileCheckpoint]
			return bundleOf(t, all)
		}},
		"period beyond the making": {BadManifest, func(all map[string][]byte) []byte {
			b := changed(t, all, func(m *Manifest) { m.Until = m.Made.Add(week) })
			all[fileSignature] = must(h.signText(signedText(h.chain, all[fileManifest])))(t)
			if r := check(t, bundleOf(t, all), Options{}); r.Has(BadSignature) || !r.Period.Until.Equal(r.Made) {
				t.Errorf("signed by the host: %+v", r.Problems)
			}
			return b
		}},
		"keys": {BadKeys, func(all map[string][]byte) []byte {
			all[fileKeys] = append(all[fileKeys], "root mine\n"...)
			return bundleOf(t, all)
		}},
		"checkpoint of another key": {BadCheckpoint, func(all map[string][]byte) []byte {
			all[fileCheckpoint] = newHouse(t).checkpoint()
			return bundleOf(t, all)
		}},
		"strange file": {ExtraFile, func(all map[string][]byte) []byte {
			all["../../etc/cron.d/x"], all["reports/../x.json"], all["/etc/passwd"], all["reports/"] = nil, nil, nil, nil
			return bundleOf(t, all)
		}},
		"file twice": {Malformed, func(all map[string][]byte) []byte {
			name := h.reports()[0]
			all["again:"+name] = all[name]
			return bundleOf(t, all)
		}},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			r := check(t, c.forge(files(t, good)), Options{Trust: h.fingerprint(), Checkpoints: kept})
			if r.Verdict != Forged || !r.Has(c.kind) {
				t.Errorf("%s, want a problem %s: %+v", r.Verdict, c.kind, r.Problems)
			}
		})
	}
}

// changed is a bundle whose manifest says something else.
func changed(t *testing.T, all map[string][]byte, change func(*Manifest)) []byte {
	t.Helper()
	var m Manifest
	if err := json.Unmarshal(all[fileManifest], &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	all[fileManifest] = must(indented(m))(t)
	return bundleOf(t, all)
}

// cloneUntil is a repository as it was when it had n records.
func cloneUntil(h *house, n int) (*house, error) {
	out := h.copy()
	out.chain = &journal.Chain{}
	out.seed, out.cert = h.host.SigningSeed, h.certificate(h.root, h.host.SigningSeed, 1)
	for _, e := range h.chain.Entries()[:n] {
		if err := out.chain.Append(e.Raw); err != nil {
			return nil, err
		}
		out.now = e.Time
	}
	return out, nil
}

// TestHostForges has the host itself forge: with the writer's key, so that every signature is right.
func TestHostForges(t *testing.T) {
	h := newHouse(t)
	h.snapshot("crm")
	h.drill(drilled{})
	failed, _ := h.drill(drilled{result: evidence.Fail})
	h.snapshot("crm")
	h.drill(drilled{})
	h.drill(drilled{})
	without := h.again(h.chain.Len(), func(e journal.Entry) bool { return e.Seq == failed }, nil)
	r := check(t, without.bundle(), Options{Trust: h.fingerprint()})
	if r.Verdict != Forged || !r.Has(Forked) || !r.Has(ReportPrevious) {
		t.Errorf("the record of a failed drill was removed: %+v", r.Problems)
	}
	for what, c := range map[string]struct {
		kind   Kind
		change func(*evidence.Report, *journal.DrillBody)
	}{
		"result":   {ReportRecord, func(_ *evidence.Report, b *journal.DrillBody) { b.Result = "fail" }},
		"rto":      {ReportRecord, func(r *evidence.Report, _ *journal.DrillBody) { r.RTO.Actual-- }},
		"rpo":      {ReportRecord, func(r *evidence.Report, _ *journal.DrillBody) { r.RPO.Actual-- }},
		"size":     {ReportRecord, func(r *evidence.Report, _ *journal.DrillBody) { r.Backup.Size-- }},
		"mode":     {ReportRecord, func(r *evidence.Report, _ *journal.DrillBody) { r.Selection.Mode = "tier1" }},
		"due":      {ReportRecord, func(r *evidence.Report, _ *journal.DrillBody) { r.Policy.Due = &start }},
		"began":    {ReportRecord, func(_ *evidence.Report, b *journal.DrillBody) { b.Began = b.Began.Add(week) }},
		"snapshot": {ReportRecord, func(_ *evidence.Report, b *journal.DrillBody) { b.Snapshot = 2 }},
		"source":   {ReportRecord, func(r *evidence.Report, _ *journal.DrillBody) { r.Policy.Source = "test" }},
		"policy":   {ReportRecord, func(r *evidence.Report, _ *journal.DrillBody) { r.Policy.Digest = digest(nil); r.Policy.Text = "x" }},
		"place":    {Forked, func(r *evidence.Report, _ *journal.DrillBody) { r.Log.Records--; r.Log.Checkpoint = "" }},
		"future":   {ReportLog, func(r *evidence.Report, _ *journal.DrillBody) { r.Log.Records += 2; r.Log.Checkpoint = "" }},
		"no place": {ReportLog, func(r *evidence.Report, _ *journal.DrillBody) { r.Log.Checkpoint = "" }},
		"log":      {ReportLog, func(r *evidence.Report, _ *journal.DrillBody) { r.Log.Journal = "another"; r.Log.Checkpoint = "" }},
		"previous": {ReportPrevious, func(r *evidence.Report, _ *journal.DrillBody) { r.Log.Previous = digest(nil) }},
	} {
		f := h.copy()
		f.drill(drilled{change: c.change})
		if r := check(t, f.bundle(), Options{Trust: h.fingerprint()}); r.Verdict != Forged || !r.Has(c.kind) || len(r.Problems) != 1 {
			t.Errorf("%s: %s, want one problem %s: %+v", what, r.Verdict, c.kind, r.Problems)
		}
	}
	// A key that was replaced signs a report of today.
	f := h.copy()
	stale, cert := f.seed, f.cert
	if err := f.chain.Append(f.takeover(f.root)); err != nil {
		t.Fatal(err)
	}
	fresh := *f
	f.seed, f.cert = stale, cert
	rep, body := f.report(drilled{})
	envelope := must(evidence.Sign(rep, f.seed))(t)
	body.Report = evidence.Digest(envelope)
	fresh.texts[body.Report] = envelope
	fresh.add(journal.Record{Type: journal.Drill, Drill: body, By: rep.Trigger.By})
	if r := check(t, fresh.bundle(), Options{}); !r.Has(ReportForged) {
		t.Errorf("a key that does not count any more: %+v", r.Problems)
	}
}
