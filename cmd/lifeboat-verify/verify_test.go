package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/bundle"
	"lifeboat/crypto"
	"lifeboat/evidence"
	"lifeboat/journal"
)

// house is a repository with one drill, and files as an auditor has them.
type house struct {
	t           testing.TB
	signer      note.Signer
	chain       *journal.Chain
	dir         string
	envelope    []byte
	fingerprint string
	now         time.Time
	repository  crypto.ID
}

func newHouse(t testing.TB) *house {
	t.Helper()
	root, host, _, err := crypto.Generate()
	check(t, err)
	h := &house{t: t, chain: &journal.Chain{}, dir: t.TempDir(), now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC), repository: root.Repository}
	h.signer, err = crypto.NewSigner(root.Repository, crypto.Writer, host.SigningSeed)
	check(t, err)
	key, err := crypto.VerifierKey(root.Repository, crypto.Writer, host.SigningSeed)
	check(t, err)
	by, err := crypto.NewSigner(root.Repository, crypto.Root, root.Seed)
	check(t, err)
	cert, err := crypto.SignCertificate(by, crypto.Certificate{Repository: root.Repository, Role: crypto.Writer, Key: key, From: 1, Epoch: host.EpochRecipient})
	check(t, err)
	h.fingerprint, err = crypto.Fingerprint(host.RootKey)
	check(t, err)
	h.add(journal.Record{Type: journal.Init, Init: &journal.InitBody{Root: host.RootKey, Certificate: cert}})
	r := &evidence.Report{Schema: evidence.Schema, ID: "d-1", Issued: h.now, Result: evidence.Pass, Environment: evidence.Environment{Repository: root.Repository.String(), Fingerprint: h.fingerprint},
		Policy: evidence.Policy{Name: "gold", Source: "crm"}, Selection: evidence.Selection{Mode: "full"}, Trigger: evidence.Trigger{Kind: "manual", By: "ann@ops"},
		RTO: evidence.Objective{Target: 600_000, Actual: 192_200, Verdict: evidence.Pass}, Signer: evidence.Signer{Key: key, Root: host.RootKey, Certificate: cert}}
	sum, err := h.chain.Root(1)
	check(t, err)
	r.Log = evidence.Log{Journal: crypto.KeyName(root.Repository, crypto.Writer), Records: 1, Root: sum.String(), Checkpoint: string(h.checkpoint())}
	h.envelope, err = evidence.Sign(r, host.SigningSeed)
	check(t, err)
	h.add(journal.Record{Type: journal.Drill, By: "ann@ops", Drill: &journal.DrillBody{Source: "s", Policy: "p", Mode: "full", Result: "pass", RTO: 192_200, Began: h.now.Add(-time.Hour), Report: evidence.Digest(h.envelope)}})
	return h
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) add(r journal.Record) {
	h.t.Helper()
	h.now = h.now.Add(time.Second)
	r.Format, r.Repository, r.Seq, r.Prev, r.Time = 1, h.repository, h.chain.Len()+1, h.chain.Head(), h.now
	line, err := json.Marshal(&r)
	check(h.t, err)
	raw, err := note.Sign(&note.Note{Text: string(line) + "\n"}, h.signer)
	check(h.t, err)
	check(h.t, h.chain.Append(raw))
}

func (h *house) checkpoint() []byte {
	h.t.Helper()
	sum, err := h.chain.Root(h.chain.Len())
	check(h.t, err)
	b, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", crypto.KeyName(h.repository, crypto.Writer), h.chain.Len(), sum)}, h.signer)
	check(h.t, err)
	return b
}

func (h *house) sign(text string) ([]byte, error) { return note.Sign(&note.Note{Text: text}, h.signer) }

// file writes one for the program to read.
func (h *house) file(name string, b []byte) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	check(h.t, os.WriteFile(path, b, 0o600))
	return path
}

func (h *house) bundle(name string) string {
	h.t.Helper()
	var b bytes.Buffer
	check(h.t, bundle.Write(&b, bundle.Input{Chain: h.chain, Checkpoint: h.checkpoint(), Made: h.now, By: "test", Sign: h.sign, Report: func(journal.Entry) ([]byte, error) { return h.envelope, nil }}))
	return h.file(name, b.Bytes())
}

func TestVerify(t *testing.T) {
	h := newHouse(t)
	first := h.bundle("first.zip")
	kept := h.file("kept.txt", h.checkpoint())
	h.add(journal.Record{Type: journal.Restore, Restore: &journal.RestoreBody{Source: "s"}})
	second := h.bundle("second.zip")
	later := h.file("later.txt", h.checkpoint())
	report := h.file("report.json", h.envelope)
	altered := h.file("altered.json", bytes.Replace(h.envelope, []byte(`"sig":"`), []byte(`"sig":"A`), 1))
	text := h.file("text.txt", []byte("hello"))
	pages := filepath.Join(h.dir, "pages")
	trust := "--trust=" + h.fingerprint
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{first + " " + trust, exitVerified, "VERIFIED: "},
		{trust + " " + second + " --checkpoint " + kept + " --checkpoint " + first + " --checkpoint " + later, exitVerified, "3 that you kept, and the journal goes on from 3"},
		{trust + " " + first + " --checkpoint " + later, exitVerdict, "rolled-back: "},
		{trust + " " + first + " --checkpoint " + second, exitVerdict, "rolled-back: "},
		{first, exitVerdict, "ORIGIN UNVERIFIED: "},
		{first + " --trust 00000000-00000000-00000000-00000000", exitVerdict, "FORGED"},
		{first + " " + trust, exitVerified, "d-1 "},
		{first + " " + trust + " --pages " + pages + " --lang zh-CN", exitVerified, "1 pages are in"},
		{first + " " + trust + " --pages " + pages, exitUsage, "not empty"},
		{report + " " + trust, exitVerified, "RTO          192200 ms of 600000 ms: pass"},
		{report + " " + trust + " --pages " + pages + "2", exitVerified, "VERIFIED: "},
		{report, exitVerdict, "ORIGIN UNVERIFIED: "},
		{report + " --trust x", exitVerdict, "you trust"},
		{altered + " " + trust, exitVerdict, "not a genuine drill report"},
		{report + " " + trust + " --checkpoint " + kept, exitUsage, "checkpoints are for bundles"},
		{text, exitVerdict, "not a genuine drill report"},
		{"", exitUsage, "name one file"},
		{first + " " + second, exitUsage, "name one file"},
		{first + " --lang fr", exitUsage, "expected one of"},
		{first + " --nothing", exitUsage, "usage: "},
		{first + " " + trust + " --checkpoint " + h.dir, exitFailed, "is no file"},
		{filepath.Join(h.dir, "none"), exitFailed, "no such file"},
		{"--help", exitVerified, "Exit code 0"},
		{"--version", exitVerified, "lifeboat-verify "},
	} {
		var out, errw strings.Builder
		if code := run(strings.Fields(c.args), &out, &errw); code != c.code || !strings.Contains(out.String()+errw.String(), c.want) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.want, out.String(), errw.String())
		}
	}
	made, err := filepath.Glob(pages + "/*.html")
	check(t, err)
	if len(made) != 1 {
		t.Fatalf("pages: %q", made)
	}
	page, err := os.ReadFile(made[0])
	check(t, err)
	if !bytes.Contains(page, []byte(`lang="zh-CN"`)) {
		t.Errorf("%.300s", page)
	}
}

func TestJSON(t *testing.T) {
	h := newHouse(t)
	var out strings.Builder
	if code := run([]string{h.bundle("b.zip"), "--json", "--trust", h.fingerprint}, &out, os.Stderr); code != exitVerified {
		t.Errorf("exit code %d", code)
	}
	var r bundle.Result
	check(t, json.Unmarshal([]byte(out.String()), &r))
	if r.Verdict != bundle.Verified || !r.Trusted || len(r.Reports) != 1 || r.Reports[0].RTO.Actual != 192_200 || strings.Contains(out.String(), ": null,\n    \"reports") {
		t.Errorf("%s", out.String())
	}
	out.Reset()
	if code := run([]string{h.file("r.json", h.envelope), "--json"}, &out, os.Stderr); code != exitVerdict || !strings.Contains(out.String(), `"origin_verified": false`) {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

// TestSmall looks at what is linked: an auditor has to trust all of it.
func TestSmall(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	check(t, err)
	for p := range strings.Lines(string(out)) {
		p = strings.TrimSpace(p)
		for _, no := range []string{"github.com/aws", "github.com/jackc", "sqlite", "github.com/spf13", "net/http", "bbolt", "yaml", "lifeboat/repository", "lifeboat/chunkstore", "lifeboat/target/", "lifeboat/source"} {
			if strings.Contains(p, no) {
				t.Errorf("%s is linked", p)
			}
		}
	}
}
