package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lifeboat/evidence"
	"lifeboat/journal"
)

// refusal is the error of what is not even a bundle.
func refusal(t *testing.T, b []byte) string {
	t.Helper()
	_, err := Verify(bytes.NewReader(b), int64(len(b)), Options{})
	if !errors.Is(err, ErrNoBundle) {
		t.Fatalf("error %v, want ErrNoBundle", err)
	}
	return err.Error()
}

func TestNoBundle(t *testing.T) {
	good := newHouse(t).bundle()
	empty := bundleOf(t, nil)
	for what, b := range map[string][]byte{"nothing": nil, "text": []byte(strings.Repeat("x", 100)), "empty": empty, "cut": good[:len(good)-1], "more": append(bytes.Clone(good), 0), "before": append([]byte{0}, good...)} {
		if got := refusal(t, b); !strings.Contains(got, "no evidence bundle") {
			t.Errorf("%s: %s", what, got)
		}
	}
	all := files(t, good)
	all[fileManifest] = bytes.Replace(all[fileManifest], []byte(`"format": 1`), []byte(`"format": 2`), 1)
	if got := refusal(t, bundleOf(t, all)); !strings.Contains(got, "format 2") {
		t.Error(got)
	}
}

// TestBombs are small files that would fill a memory.
func TestBombs(t *testing.T) {
	all := files(t, newHouse(t).bundle())
	all[fileJournal] = make([]byte, 8<<20)
	if got := refusal(t, bundleOf(t, all)); !strings.Contains(got, "fill a memory") {
		t.Error(got)
	}
	all[fileJournal], all[reportFile(digest(nil))] = nil, make([]byte, 8<<20+1)
	if got := refusal(t, bundleOf(t, all)); !strings.Contains(got, "unpacks to") {
		t.Error(got)
	}
	if got := refusal(t, many(t, maxFiles+1, 5)); !strings.Contains(got, "50001 files") {
		t.Error(got)
	}
	if got := refusal(t, many(t, 40_000, 200)); !strings.Contains(got, "list of its files") {
		t.Error(got)
	}
	// A size that the file does not have, in the list and behind the file.
	b := newHouse(t).bundle()
	for _, at := range []int{bytes.Index(b, []byte("PK\x07\x08")) + 12, bytes.Index(b, []byte("PK\x01\x02")) + 24} {
		binary.LittleEndian.PutUint32(b[at:], 1000)
	}
	if r := check(t, b, Options{}); !r.Has(Malformed) {
		t.Errorf("%+v", r.Problems)
	}
}

// many is a zip file of many empty files.
func many(t *testing.T, n, name int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range n {
		if _, err := z.CreateRaw(&zip.FileHeader{Name: fmt.Sprintf("%0*d", name, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestMissingParts leaves out each file in turn: nothing panics, and none is verified.
func TestMissingParts(t *testing.T) {
	good := files(t, year(t).bundle())
	for name := range good {
		if name == fileManifest {
			continue
		}
		all := map[string][]byte{}
		for n, b := range good {
			if n != name {
				all[n] = b
			}
		}
		if r := check(t, bundleOf(t, all), Options{}); r.Verdict != Forged {
			t.Errorf("without %s: %s", name, r.Verdict)
		}
	}
}

// TestEveryRecordByte damages the journal here and there.
func TestEveryRecordByte(t *testing.T) {
	h := newHouse(t)
	h.snapshot("crm")
	h.drill(drilled{})
	good := files(t, h.bundle())
	for at := 0; at < len(good[fileJournal]); at += 29 {
		b := bytes.Clone(good[fileJournal])
		b[at] ^= 1
		all := map[string][]byte{}
		for n, c := range good {
			all[n] = c
		}
		all[fileJournal] = b
		if r := check(t, bundleOf(t, all), Options{}); r.Verdict != Forged || !r.Has(BadJournal) {
			t.Fatalf("byte %d: %s %+v", at, r.Verdict, r.Problems)
		}
	}
}

func FuzzVerify(f *testing.F) {
	h := year(f)
	good := h.bundle()
	f.Add(good)
	f.Add(newHouse(f).bundle())
	f.Add(bundleOf(f, map[string][]byte{fileManifest: files(f, good)[fileManifest], fileJournal: []byte("1 2\nab")}))
	o := Options{Trust: h.fingerprint(), Checkpoints: [][]byte{h.checkpoint()}}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Verify(bytes.NewReader(b), int64(len(b)), o)
		if err == nil && r.Verdict == Verified && r.Head != h.chain.Head() {
			t.Errorf("something else was verified: %+v", r)
		}
	})
}

// FuzzParts changes one file of a good bundle.
func FuzzParts(f *testing.F) {
	h := year(f)
	good := files(f, h.bundle())
	for _, name := range []string{fileJournal, fileManifest, fileAudit, fileCheckpoint, h.reports()[0]} {
		f.Add(name, good[name])
	}
	o := Options{Trust: h.fingerprint(), Checkpoints: [][]byte{h.checkpoint()}}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		all := map[string][]byte{}
		for n, c := range good {
			all[n] = c
		}
		all[name] = b
		packed := bundleOf(t, all)
		r, err := Verify(bytes.NewReader(packed), int64(len(packed)), o)
		if err != nil || r.Verdict != Verified || bytes.Equal(b, good[name]) {
			return
		}
		if name != fileReadme && name != fileControls && name != fileAudit {
			t.Errorf("%s was changed, and verified", name)
		}
	})
}

// large is a repository with n records and some drills in it.
func large(t testing.TB, n, drills int) *house {
	h := newHouse(t)
	for i := 1; i < n; i++ {
		switch {
		case i%(n/drills) == 0:
			h.now = h.now.Add(time.Hour)
			h.drill(drilled{change: tables})
		case i%3 == 0:
			h.add(journal.Record{Type: journal.Log, Log: &journal.LogBody{Source: opaque("crm"), From: "0/1", To: "0/2"}})
		default:
			h.snapshot("crm")
		}
	}
	return h
}

// tables makes a report as large as those of real databases are.
func tables(r *evidence.Report, _ *journal.DrillBody) {
	r.Controls = evidence.Controls()
	for i := range 8 {
		c := evidence.Check{ID: fmt.Sprintf("assertion:%d", i), Kind: "assertion", Severity: evidence.Critical, Verdict: evidence.Pass, Observed: "no faults", Start: r.Issued, End: r.Issued}
		for j := range 20 {
			c.Tables = append(c.Tables, evidence.Table{Name: fmt.Sprintf("public.table_%d", j), Rows: int64(i * j), Digest: digest([]byte{byte(i), byte(j)})})
		}
		r.Checks = append(r.Checks, c)
	}
}

// BenchmarkVerify verifies 10,000 records and 500 reports.
func BenchmarkVerify(b *testing.B) {
	h := large(b, 10_000, 500)
	packed := h.bundle()
	b.ReportMetric(float64(len(packed))/(1<<20), "MiB")
	for b.Loop() {
		if r := check(b, packed, Options{Trust: h.fingerprint()}); r.Verdict != Verified || len(r.Reports) < 499 {
			b.Fatalf("%s, %d reports: %+v", r.Verdict, len(r.Reports), r.Problems[:min(3, len(r.Problems))])
		}
	}
}
