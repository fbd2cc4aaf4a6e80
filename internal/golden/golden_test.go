// Package golden keeps a small repository of every released format, and makes sure that each of them opens and restores
// for ever. Until format 1 is released its repository may be made anew, with
//
//	go test ./internal/golden -update
//
// After the release never again: a change that makes this test fail is then a change that loses people's backups.
package golden

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target/local"
)

var update = flag.Bool("update", false, "make the repository of the present format anew; never after its release")

// present is the format that -update writes.
const present = "v1"

// expected is what stands beside a repository: what it must give back.
type expected struct {
	Fingerprint string                       `json:"fingerprint"`
	Sources     []string                     `json:"sources"`
	Snapshots   map[string]map[string]string `json:"snapshots"` // by ID: SHA-256 of each file, by quoted name
	Dropped     []string                     `json:"dropped"`
}

const (
	repositoryDir = "repository"
	identityFile  = "identity.txt"
	expectedFile  = "expected.json"
	sourceName    = "ship"
)

func TestGolden(t *testing.T) {
	if *update {
		generate(t, filepath.Join("testdata", present))
	}
	entries, err := os.ReadDir("testdata")
	if err != nil || len(entries) == 0 {
		t.Fatalf("no golden repositories: %v", err)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) { check(t, filepath.Join("testdata", e.Name())) })
	}
}

// check opens a golden repository with its identity and restores every snapshot.
func check(t *testing.T, dir string) {
	var want expected
	if err := json.Unmarshal(read(t, filepath.Join(dir, expectedFile)), &want); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	if got, err := r.Fingerprint(); err != nil || got != want.Fingerprint {
		t.Errorf("fingerprint %s, want %s (%v)", got, want.Fingerprint, err)
	}
	all, err := r.Snapshots(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range all {
		id := restore.FormatID(s.Seq)
		seen[id] = true
		if !slices.Contains(want.Sources, s.Name) {
			t.Errorf("%s is of source %q", id, s.Name)
		}
		if got := restored(t, r, s); !maps.Equal(got, want.Snapshots[id]) {
			t.Errorf("%s restores %v, want %v", id, got, want.Snapshots[id])
		}
	}
	if len(seen) != len(want.Snapshots) {
		t.Errorf("snapshots %v, want %v", seen, slices.Sorted(maps.Keys(want.Snapshots)))
	}
	for _, id := range want.Dropped {
		if seen[id] {
			t.Errorf("%s was dropped and is still there", id)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t *testing.T, dir string) *repository.Reader {
	t.Helper()
	tg, err := local.Open(filepath.Join(dir, repositoryDir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tg.Close() })
	r, err := repository.Open(t.Context(), tg)
	if err != nil || r.Broken != nil {
		t.Fatal(errors.Join(err, r.Broken))
	}
	identities, err := crypto.ParseIdentities(read(t, filepath.Join(dir, identityFile)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range identities { // each of them alone
		if err := r.Unlock(t.Context(), identities[i:i+1]); err != nil {
			t.Fatalf("identity %d: %v", i+1, err)
		}
	}
	return r
}

// restored restores a snapshot and returns the SHA-256 of each of its files.
func restored(t *testing.T, r *repository.Reader, s repository.Snapshot) map[string]string {
	t.Helper()
	tree, err := r.Tree(t.Context(), s.Root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	sink, err := restore.NewDirectory(dir, tree.Root.Size)
	if err != nil {
		t.Fatal(err)
	}
	_, err = restore.Run(t.Context(), restore.Job{Tree: tree, Frames: r.Frames, IDs: r.IDs, Sink: sink, SpillDir: sink.Work()})
	if err := errors.Join(err, sink.Close()); err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			sums[strconv.Quote(name)] = sha256Of(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// generate makes a golden repository: a full snapshot, two increments, and a drop of the first increment. The content is
// the same each time, the keys are not.
func generate(t *testing.T, dir string) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	tg, err := local.Create(filepath.Join(dir, repositoryDir))
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Close()
	now := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	clock := func() time.Time { now = now.Add(time.Minute); return now }
	config := repository.Config{StateDir: t.TempDir(), Copies: []*repository.Copy{{Name: "golden", Target: tg}}, Now: clock, By: "golden@lifeboat"}
	h, err := repository.Init(t.Context(), config, recipients(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	want := expected{Sources: []string{sourceName}, Snapshots: map[string]map[string]string{}}
	var seqs []uint64
	for step := range 3 {
		v := content(step)
		done, err := h.Backup(t.Context(), repository.Backup{Name: sourceName, Engine: "sqlite", Source: v, Reason: fmt.Sprintf("step %d", step)})
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]string{}
		for name, b := range v {
			sums[strconv.Quote(name)] = sha256Of(b)
		}
		want.Snapshots[restore.FormatID(done.Seq)] = sums
		seqs = append(seqs, done.Seq)
	}
	if err := errors.Join(h.Forget(t.Context(), seqs[1], "to have a drop"), h.Close()); err != nil {
		t.Fatal(err)
	}
	dropped := restore.FormatID(seqs[1])
	delete(want.Snapshots, dropped)
	want.Dropped = []string{dropped}
	if want.Fingerprint, err = open(t, dir).Fingerprint(); err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(want, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, expectedFile), append(b, '\n'))
	small(t, dir)
}

// recipients makes a key of each class and keeps the identities beside the repository.
func recipients(t *testing.T, dir string) []crypto.Recipient {
	t.Helper()
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	text := "# Test keys, published with the source code. They open the golden repository beside this file and protect nothing.\n" + pq.String() + "\n" + classic.String() + "\n"
	write(t, filepath.Join(dir, identityFile), []byte(text))
	out, err := crypto.ParseRecipients([]string{pq.Recipient().String(), classic.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// small makes sure that what is committed stays small.
func small(t *testing.T, dir string) {
	t.Helper()
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil || size > 100<<10 {
		t.Errorf("the golden repository has %d bytes (%v)", size, err)
	}
}

// The page file has a group of pages that changes in part, so that extents of every kind occur, and a zero page.
const (
	pageSize = 1024
	pages    = 150
)

// memory is a source in memory: the content of each file.
type memory map[string][]byte

// content is the source at a step: pages change, and lines are added.
func content(step int) memory {
	db := make([]byte, pages*pageSize+step*pageSize)
	for p := range len(db) / pageSize {
		if p == 70 {
			continue // a page of zeros
		}
		version := 0
		if p%29 == 3 {
			version = step
		}
		fill(db[p*pageSize:(p+1)*pageSize], p, version)
	}
	copy(db, "SQLite format 3\x00")
	var log bytes.Buffer
	for i := range 400 + 100*step {
		fmt.Fprintf(&log, "%06d the ship is sinking, line %d of the log\n", i, i*i)
	}
	return memory{"ship.db": db, "log/odd name %\xff.txt": log.Bytes(), "empty": {}}
}

// fill writes a page that compresses about as well as a database's.
func fill(page []byte, number, version int) {
	r := rand.New(rand.NewPCG(uint64(number), uint64(version)))
	copy(page, strings.Repeat(fmt.Sprintf("page %d version %d. ", number, version), pageSize))
	for range 40 {
		page[r.IntN(len(page))] = byte(r.Uint32())
	}
}

// Open implements snapshot.Source.
func (m memory) Open(context.Context, *snapshot.Prior) (snapshot.View, error) { return m, nil }

// Items implements snapshot.View.
func (m memory) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			i := snapshot.Item{Name: name, Kind: snapshot.Stream, Size: int64(len(m[name])), Mode: 0o640, ModTime: time.Unix(1_800_000_000, 0), Body: bytes.NewReader(m[name])}
			if strings.HasSuffix(name, ".db") {
				i.Kind, i.PageSize = snapshot.Pages, pageSize
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

// Summary implements snapshot.View.
func (m memory) Summary() (snapshot.Summary, error) {
	at := snapshot.Pos{Line: 1, Offset: uint64(len(m["ship.db"]))}
	return snapshot.Summary{From: at, To: at}, nil
}

// Size implements snapshot.View.
func (m memory) Size() int64 { return 0 }

// Close implements snapshot.View.
func (m memory) Close() error { return nil }
