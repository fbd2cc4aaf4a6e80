package doc_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
)

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
	victim, err := crypto.ParseIdentities(read(t, h.identity))
	if err != nil {
		t.Fatal(err)
	}
	hybrid, ok := victim[0].(*age.HybridIdentity)
	if !ok {
		t.Fatalf("identity of type %T", victim[0])
	}
	to, err := crypto.ParseRecipient(hybrid.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := crypto.SealTo([]crypto.Recipient{to}, []byte(line(map[string]any{"identity": epoch.String()})))
	if err != nil {
		t.Fatal(err)
	}
	store("keys/epoch-1.1-pq-", keys[crypto.PQ])
	sealer, err := crypto.NewSealer(epoch.Recipient())
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
