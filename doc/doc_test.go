// Package doc_test proves that what stands in this folder is true: the script of format.md restores without Lifeboat.
package doc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/internal/crm"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/snapshot"
	"lifeboat/source/sqlite"
	"lifeboat/target/local"
)

// hand is a repository on one local target, and what a person has who restores it by hand.
type hand struct {
	host     *repository.Host
	copy     string // directory
	identity string // file
	path     string // $PATH with age in front
	dir      string
}

func newHand(t *testing.T, class crypto.Class) *hand {
	t.Helper()
	h := &hand{dir: t.TempDir()}
	h.copy, h.identity = filepath.Join(h.dir, "copy"), filepath.Join(h.dir, "identity")
	tools := filepath.Join(h.dir, "tools")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(tools, "age"), "filippo.io/age/cmd/age").CombinedOutput(); err != nil {
		t.Fatalf("build age: %v\n%s", err, out)
	}
	h.path = tools + ":" + os.Getenv("PATH")
	secret, public := generate(t, class)
	if err := os.WriteFile(h.identity, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, other := generate(t, crypto.PQ)
	recipients, err := crypto.ParseRecipients([]string{other, public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	to, err := local.Create(h.copy)
	if err != nil {
		t.Fatal(err)
	}
	c := repository.Config{StateDir: filepath.Join(h.dir, "state"), Copies: []*repository.Copy{{Name: "disk", Target: to}}, Now: clock.System, By: "test@host"}
	if h.host, err = repository.Init(t.Context(), c, recipients); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.host.Close(), to.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func generate(t *testing.T, class crypto.Class) (secret, public string) {
	t.Helper()
	if class == crypto.Classic {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		return id.String(), id.Recipient().String()
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id.String(), id.Recipient().String()
}

func (h *hand) backup(t *testing.T, name string, s snapshot.Source) *repository.Done {
	t.Helper()
	d, err := h.host.Backup(t.Context(), repository.Backup{Name: name, Engine: "test", Source: s})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Warnings) > 0 {
		t.Fatalf("warnings: %q", d.Warnings)
	}
	return d
}

// restore runs the script in a new directory, in which it may leave nothing but files of the snapshot.
func (h *hand) restore(t *testing.T, args ...string) (dir, output string, err error) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "out put")
	script := exec.CommandContext(t.Context(), "bash", append([]string{"restore-by-hand.sh", h.copy, h.identity, dir}, args...)...)
	script.Env = append(os.Environ(), "PATH="+h.path)
	out, err := script.CombinedOutput()
	if left, gerr := filepath.Glob(filepath.Join(dir, ".by-hand*")); gerr != nil || len(left) > 0 {
		t.Errorf("the script left %q (%v)", left, gerr)
	}
	return dir, string(out), err
}

func (h *hand) mustRestore(t *testing.T, args ...string) string {
	t.Helper()
	dir, out, err := h.restore(t, args...)
	if err != nil {
		t.Fatalf("restore by hand %q: %v\n%s", args, err, out)
	}
	return dir
}

func TestRestoreByHandDatabase(t *testing.T) {
	h := newHand(t, crypto.PQ)
	path := filepath.Join(h.dir, "crm.db")
	if err := crm.Generate(t.Context(), path, crm.Options{Seed: 1, Bytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var states [][]byte
	var records []string
	for range 3 {
		d := h.backup(t, "crm", sqlite.New(path, sqlite.Options{}))
		states, records = append(states, read(t, path)), append(records, strconv.FormatUint(d.Seq, 10))
		churn(t, path, rng)
	}
	if bytes.Equal(states[0], states[1]) || bytes.Equal(states[1], states[2]) {
		t.Fatal("the increments changed nothing")
	}
	same(t, filepath.Join(h.mustRestore(t), "crm.db"), states[2])
	same(t, filepath.Join(h.mustRestore(t, records[0]), "crm.db"), states[0])
	same(t, filepath.Join(h.mustRestore(t, records[1]), "crm.db"), states[1])

	seq, err := strconv.ParseUint(records[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.host.Forget(t.Context(), seq, ""); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{records[0], "1", "99", "x"} {
		if _, out, err := h.restore(t, wrong); err == nil || !strings.Contains(out, "no such snapshot") {
			t.Errorf("record %s: %v\n%s", wrong, err, out)
		}
	}
	same(t, filepath.Join(h.mustRestore(t), "crm.db"), states[2])
	if err := os.WriteFile(h.identity, read(t, filepath.Join(h.dir, "state", "secrets.json")), 0o600); err != nil {
		t.Fatal(err)
	}
	if dir, out, err := h.restore(t); err == nil {
		t.Errorf("the host's secrets restored %s:\n%s", dir, out)
	}
}

// churn changes rows and closes the database, so that all of it stands in the one file.
func churn(t *testing.T, path string, rng *rand.Rand) {
	t.Helper()
	db, err := crm.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(crm.Churn(t.Context(), db, rng, 60), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreByHandFiles has every kind of extent, several nodes of files, and names that are hard to handle.
func TestRestoreByHandFiles(t *testing.T) {
	h := newHand(t, crypto.Classic)
	rng := rand.New(rand.NewPCG(2, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	heap := append(random(17<<20), make([]byte, 300<<10)...)
	clear(heap[5<<20 : 6<<20])
	s := source{
		{"base/heap", snapshot.Pages, heap},
		{"dump.sql", snapshot.Stream, append(random(1<<20), random(1<<20)...)},
		{"empty", snapshot.Stream, nil},
		{"hollow/dir", snapshot.Dir, nil},
		{"odd/ -rf *", snapshot.Stream, []byte("a")},
		{"odd/%41\\x41\\n%", snapshot.Stream, []byte("b")},
		{"odd/a\nb\t\x7f\x01\n", snapshot.Stream, []byte("c")},
		{"odd/...", snapshot.Stream, []byte("d")},
		{"odd/\xff\xfe<&>'\"$(false)`é\u2028", snapshot.Stream, []byte("e")},
		{"short", snapshot.Pages, random(8192*3 + 100)},
		{"odd/link", snapshot.Link, []byte("../../no%41\n\xfe -rf\t$(false)")},
		{"root", snapshot.Link, []byte("/")},
	}
	for i := range 256 {
		s = append(s, file{"many/" + strconv.Itoa(1000+i), snapshot.Stream, []byte(strconv.Itoa(i))})
	}
	h.backup(t, "files", s)
	for i := range 40 { // single pages, also two in one group, and a page that becomes zeros
		off := i * 300 << 10 / 8192 * 8192
		copy(heap[off:], random(8192))
		clear(heap[off+3*8192 : off+4*8192])
	}
	h.backup(t, "files", s)
	dir := h.mustRestore(t)
	for _, f := range s {
		if f.kind == snapshot.Dir {
			if info, err := os.Stat(filepath.Join(dir, f.name)); err != nil || !info.IsDir() || info.Mode().Perm() != 0o640 {
				t.Errorf("%s is no directory as it was: %v %v", f.name, info, err)
			}
			continue
		}
		if f.kind == snapshot.Link {
			if where, err := os.Readlink(filepath.Join(dir, f.name)); err != nil || where != string(f.body) {
				t.Errorf("%q leads to %q: %v", f.name, where, err)
			}
			continue
		}
		same(t, filepath.Join(dir, f.name), f.body)
		info, err := os.Stat(filepath.Join(dir, f.name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o640 || !info.ModTime().Equal(modTime) {
			t.Errorf("%q: mode %v, time %v", f.name, info.Mode(), info.ModTime())
		}
	}
	count := 0
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			count++
		}
		return err
	})
	if err != nil || count != len(s)-1 { // one is a directory
		t.Errorf("%d files of %d (%v)", count, len(s), err)
	}
}

var modTime = time.Date(2026, 11, 20, 14, 3, 22, 500_000_000, time.UTC)

type file struct {
	name string
	kind snapshot.Kind
	body []byte
}

// source yields its files in order of name.
type source []file

func (s source) Open(context.Context, *snapshot.Prior) (snapshot.View, error) { return s, nil }
func (s source) Summary() (snapshot.Summary, error)                           { return snapshot.Summary{}, nil }
func (s source) Size() int64                                                  { return 0 }
func (s source) Close() error                                                 { return nil }

func (s source) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		for _, f := range slices.SortedFunc(slices.Values(s), func(a, b file) int { return strings.Compare(a.name, b.name) }) {
			item := snapshot.Item{Name: f.name, Kind: f.kind, Size: int64(len(f.body)), Mode: 0o640, ModTime: modTime, Body: io.Reader(bytes.NewReader(f.body))}
			switch f.kind {
			case snapshot.Pages:
				item.PageSize = 8192
			case snapshot.Link:
				item.Size, item.Link = 0, string(f.body)
			}
			if !yield(item, nil) {
				return
			}
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

func same(t *testing.T, path string, want []byte) {
	t.Helper()
	if got := read(t, path); !bytes.Equal(got, want) {
		t.Fatalf("%q: %d bytes were restored, and they are not the %d that were backed up", path, len(got), len(want))
	}
}

// forgery is a repository that somebody made who has no key but the victim's recipient; the script trusts it.
type forgery struct {
	name    string // of the one file
	mode    string
	extents string
	frame   string // of the tree's root
	off     any
	index   string // a line behind the others
}

const forgedFrame = "00112233445566778899aabbccddeeff"

var honest = forgery{name: "a", mode: "644", extents: "lifeboat extents 1\nf " + forgedFrame + "\nz 3\n", frame: forgedFrame, off: 0}

// write makes the repository at h.copy, in the place of the one that is there.
func (f forgery) write(t *testing.T, h *hand) {
	t.Helper()
	if err := os.RemoveAll(h.copy); err != nil {
		t.Fatal(err)
	}
	line := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	store := func(prefix string, body []byte) string {
		sum := sha256.Sum256(body)
		digest := hex.EncodeToString(sum[:])
		if prefix == "packs/" {
			prefix += digest[:2] + "/"
		}
		h.put(t, prefix+digest, body)
		return digest
	}
	id, err := crypto.ParseID(forgedFrame)
	if err != nil {
		t.Fatal(err)
	}
	ref := func(before, node string) any {
		return map[string]any{"frame": forgedFrame, "off": len(before), "len": len(node)}
	}
	files := line(map[string]any{"name": f.name, "kind": "stream", "size": 3, "mode": f.mode, "mtime": modTime, "extents": []any{map[string]any{"bytes": 3, "ref": ref("", f.extents)}}})
	root := line(map[string]any{"lifeboat": "tree", "format": 1, "files": []any{map[string]any{"first": f.name, "ref": ref(f.extents, files)}}})

	epoch, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	victim, err := crypto.ParseIdentities(read(t, h.identity), nil)
	if err != nil {
		t.Fatal(err)
	}
	hybrid, ok := victim[0].(*age.HybridIdentity)
	if !ok {
		t.Fatalf("identity of type %T", victim[0])
	}
	to, err := crypto.ParseRecipient(hybrid.Recipient().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := crypto.SealTo([]crypto.Recipient{to}, []byte(line(map[string]any{"identity": epoch.String()})))
	if err != nil {
		t.Fatal(err)
	}
	store("keys/epoch-1.1-pq-", keys[crypto.PQ])
	sealer, err := crypto.NewSealer(crypto.Fast, epoch.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	pack, err := sealer.Seal([]byte("lifeboat pack 1\n"), []byte(f.extents+files+root))
	if err != nil {
		t.Fatal(err)
	}
	p := chunkstore.Pack{Digest: store("packs/", pack), Size: int64(len(pack)), Frames: []chunkstore.Frame{{ID: id, Off: 16, Len: len(pack) - 16}}}
	index, err := chunkstore.EncodeIndex([]chunkstore.Pack{p})
	if err != nil {
		t.Fatal(err)
	}
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	indexes := []string{store("index/", index), store("index/", zip.EncodeAll([]byte("lifeboat index 1\n"+f.index), nil))}
	h.put(t, "lifeboat.json", []byte(`{"lifeboat":"repository","format":1}`+"\n"))
	h.put(t, journal.Name(1), []byte(line(map[string]any{"seq": 1, "type": "snapshot", "indexes": indexes,
		"snapshot": map[string]any{"root": map[string]any{"frame": f.frame, "off": f.offset(len(f.extents) + len(files)), "len": len(root)}}})+"\n— nobody AAAA\n"))
}

// offset is where the root is, unless the forgery says otherwise.
func (f forgery) offset(root int) any {
	if f.off == 0 {
		return root
	}
	return f.off
}

func (h *hand) put(t *testing.T, name string, body []byte) {
	t.Helper()
	path := filepath.Join(h.copy, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreByHandHostile gives the script what would lead it out of the directory, or run commands.
func TestRestoreByHandHostile(t *testing.T) {
	h := newHand(t, crypto.PQ)
	honest.write(t, h)
	same(t, filepath.Join(h.mustRestore(t), "a"), make([]byte, 3))

	pwned := filepath.Join(h.dir, "pwned")
	run := "a[$(touch " + pwned + ")0]"
	cases := map[string]func(*forgery){
		"mode":           func(f *forgery) { f.mode = "4755" },
		"mode text":      func(f *forgery) { f.mode = "u+s" },
		"short":          func(f *forgery) { f.extents = "lifeboat extents 1\nz 2\n" },
		"no extents":     func(f *forgery) { f.extents = "z 3\n" },
		"frame path":     func(f *forgery) { f.frame = "../../identity" },
		"frame command":  func(f *forgery) { f.frame = run },
		"offset command": func(f *forgery) { f.off = run },
		"offset sign":    func(f *forgery) { f.off = -1 },
		"extent command": func(f *forgery) { f.extents = "lifeboat extents 1\nf " + forgedFrame + "\nd 0 0 " + run + " 0\n" },
		"extent frame":   func(f *forgery) { f.extents = "lifeboat extents 1\nf ../" + forgedFrame + "\nd 0 0 3 0\n" },
		"zero command":   func(f *forgery) { f.extents = "lifeboat extents 1\nz " + run + "\n" },
		"index command": func(f *forgery) {
			f.index = "pack " + strings.Repeat("0", 64) + " 9\n" + forgedFrame + " " + strings.ReplaceAll(run, " ", "$IFS") + " 9\n"
		},
		"index path": func(f *forgery) { f.index = "pack ../../../identity 9\n" + forgedFrame + " 0 9\n"; f.frame = "00" },
	}
	for i, name := range []string{"../x", "/x", "a/../../x", "%2e%2e/x", "%2E./x", "a//b", "a/", "./a", "", ".", "..", "a/.", "x%00y", "x%", "x%4", "x%zz", "a\n../x", "%2Fx", "..%2Fx"} {
		cases[fmt.Sprintf("name %d %q", i, name)] = func(f *forgery) { f.name = name }
	}
	for what, change := range cases {
		f := honest
		change(&f)
		f.write(t, h)
		dir, out, err := h.restore(t)
		if err == nil {
			t.Errorf("%s: restored\n%s", what, out)
		}
		beside, gerr := os.ReadDir(filepath.Dir(dir))
		if gerr != nil || len(beside) != 1 {
			t.Errorf("%s: beside the directory stands more: %v (%v)", what, beside, gerr)
		}
		if _, err := os.Lstat(pwned); err == nil {
			t.Fatalf("%s: a command was run\n%s", what, out)
		}
	}
}
