package repository_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/target"
)

// edits change parts of what a forge makes, by the name of the part, before it is sealed, named by its digest or signed.
type edits map[string]func(string) string

// forge makes a snapshot from nothing but doc/format.md and the keys of a host: it can lie wherever the host could.
type forge struct {
	t       *testing.T
	dir     string // of the copy
	secrets *crypto.HostSecrets
	keys    *crypto.HostKeys
	hasher  *crypto.Hasher
	signer  note.Signer
	chain   *journal.Chain
	edits   edits
	done    map[string]bool
}

func newForge(t *testing.T, state string) *forge {
	t.Helper()
	f := &forge{t: t}
	var err error
	if f.secrets, err = crypto.ParseHostSecrets(fileOf(t, state, "secrets.json")); err == nil {
		f.keys, err = f.secrets.Keys()
	}
	if err == nil {
		f.signer, err = crypto.NewSigner(f.secrets.Repository, crypto.Writer, f.secrets.SigningSeed)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.hasher = f.keys.IDs.NewHasher()
	return f
}

// at makes the forge work on a copy.
func (f *forge) at(t *testing.T, dir string, r *repository.Reader, e edits) *forge {
	g := *f
	g.t, g.dir, g.chain, g.edits, g.done = t, dir, r.Chain, e, map[string]bool{}
	return &g
}

// part is what becomes of a part; an edit that changes nothing is a mistake of the test.
func (f *forge) part(name, text string) string {
	f.t.Helper()
	edit, ok := f.edits[name]
	if !ok {
		return text
	}
	out := edit(text)
	if out == text {
		f.t.Fatalf("%s is not changed: %.300q", name, text)
	}
	f.done[name] = true
	return out
}

func (f *forge) write(name string, body []byte) target.Object {
	f.t.Helper()
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return target.Object{Name: name, Size: int64(len(body))}
}

// forged is what the forged snapshot holds.
func forged() cargo {
	db, text := make([]byte, 8192), make([]byte, 4000)
	for i := range db {
		db[i] = byte(i>>4 + i)
	}
	copy(text, strings.Repeat("All hands on deck. ", 200)[:3000])
	return cargo{"a.db": db, "b.txt": text}
}

// snapshot adds a record with a snapshot of two files: one pack, one index object.
func (f *forge) snapshot() {
	f.t.Helper()
	c := forged()
	raw := append(bytes.Clone(c["a.db"]), c["b.txt"][:3000]...)
	content, trees := crypto.ID{0: 0xc, 15: 1}, crypto.ID{0: 0xe, 15: 1}
	var nodes []byte
	node := func(part, text string) string {
		b := []byte(f.part(part, text))
		ref, err := json.Marshal(journal.Ref{ID: f.hasher.Tree(b), Frame: trees, Off: len(nodes), Len: len(b)})
		if err != nil {
			f.t.Fatal(err)
		}
		nodes = append(nodes, b...)
		return string(ref)
	}
	a := node("extents", fmt.Sprintf("lifeboat extents 1\nf %s\nd 0 0 8192 %s\n", content, f.hasher.PageChunk(512, raw[:8192])))
	b := node("extents b", fmt.Sprintf("lifeboat extents 1\nf %s\nd 0 8192 3000 %s\nz 1000\n", content, f.hasher.Stream(raw[8192:])))
	files := node("files", `{"name":"a.db","kind":"pages","page":512,"size":8192,"mode":"600","mtime":"2026-11-22T00:00:00Z","extents":[{"bytes":8192,"ref":`+a+"}]}\n"+
		`{"name":"b.txt","kind":"stream","size":4000,"mode":"600","mtime":"2026-11-22T00:00:00Z","extents":[{"bytes":4000,"ref":`+b+"}]}\n")
	root := node("root", `{"lifeboat":"tree","format":1,"source":"`+vesselSource+`","engine":"test","size":12192,"files":[{"first":"a.db","ref":`+files+`}]}`)

	pack := "lifeboat pack 1\n"
	lines := ""
	for _, frame := range []struct {
		id  crypto.ID
		raw string
		to  []age.Recipient
	}{{content, f.part("frame", f.compress(string(raw))), f.keys.Sealed}, {trees, f.compress(string(nodes)), f.keys.Host}} {
		sealed := f.seal(frame.raw, frame.to)
		lines += fmt.Sprintf("%s %d %d\n", frame.id, len(pack), len(sealed))
		pack += sealed
	}
	lines = f.part("lines", lines)
	pack += fmt.Sprintf("%slifeboat frames %010d\n", lines, len(lines))
	digest := sum(pack)
	index := f.part("index", fmt.Sprintf("lifeboat index 1\npack %s %d\n%s", digest, len(pack), lines))
	stored := f.part("index object", f.compress(index))
	r := journal.Record{Type: journal.Snapshot, Objects: []target.Object{f.write(chunkstore.PackName(digest), []byte(pack)), f.write(chunkstore.IndexName(sum(stored)), []byte(stored))}}
	r.Indexes = append(append(r.Indexes, f.chain.Indexes()...), sum(stored))
	r.Snapshot = &journal.SnapshotBody{Source: f.hasher.Source(vesselSource), Kind: "full", Size: 12192, Read: 12192, Taken: f.chain.Time()}
	if err := json.Unmarshal([]byte(root), &r.Snapshot.Root); err != nil {
		f.t.Fatal(err)
	}
	f.record(r, "record")
}

// fill adds records that say nothing up to the end of a bundle, and the bundle.
func (f *forge) fill() {
	f.t.Helper()
	for f.chain.Len() < 256 {
		f.record(journal.Record{Type: "note"}, "")
	}
	var b strings.Builder
	for _, e := range f.chain.Entries() {
		fmt.Fprintf(&b, "%d %d\n%s", e.Seq, len(e.Raw), e.Raw)
	}
	root, err := f.chain.Root(256)
	if err != nil {
		f.t.Fatal(err)
	}
	signed := f.sign(fmt.Sprintf("%s\n256\n%s\n", f.signer.Name(), base64.StdEncoding.EncodeToString(root[:])))
	fmt.Fprintf(&b, "checkpoint %d\n%s", len(signed), signed)
	f.write("journal/writer/bundle-000000000256", []byte(f.part("bundle", b.String())))
}

// record signs r as the next record; the chain takes it in if it is honest.
func (f *forge) record(r journal.Record, part string) {
	f.t.Helper()
	r.Format, r.Repository, r.Seq, r.Prev, r.Time = 1, f.secrets.Repository, f.chain.Len()+1, f.chain.Head(), f.chain.Time()
	line, err := json.Marshal(r)
	if err != nil {
		f.t.Fatal(err)
	}
	raw := f.sign(f.part(part, string(line)) + "\n")
	f.write(journal.Name(r.Seq), raw)
	if err := f.chain.Append(raw); err != nil && !f.done[part] {
		f.t.Fatal(err)
	}
}

func (f *forge) sign(text string) []byte {
	f.t.Helper()
	b, err := note.Sign(&note.Note{Text: text}, f.signer)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *forge) compress(s string) string {
	f.t.Helper()
	enc, err := encoder()
	if err != nil {
		f.t.Fatal(err)
	}
	return string(enc.EncodeAll([]byte(s), nil))
}

var encoder = sync.OnceValues(func() (*zstd.Encoder, error) { return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)) })

func (f *forge) seal(plain string, to []age.Recipient) string {
	f.t.Helper()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to...)
	if err == nil {
		_, err = io.WriteString(w, plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return b.String()
}

func sum(s string) string {
	d := sha256.Sum256([]byte(s))
	return hex.EncodeToString(d[:])
}
