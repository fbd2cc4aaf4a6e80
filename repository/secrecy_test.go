package repository_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/repository"
	"lifeboat/snapshot"
	"lifeboat/target/local"
)

// TestHostCannotReadItsBackups takes all that the backup host holds and tries it on all that stands on the targets.
func TestHostCannotReadItsBackups(t *testing.T) {
	s := newSecrecy(t)
	for _, dir := range s.copies {
		c := s.open(t, dir)
		host := opener(t, s.hostIdentities(t)...)
		epoch := opener(t, c.epochs...)
		fileKeys := s.hostFileKeys(t)
		count := map[string]int{}
		for id, sealed := range c.frames {
			raw, err := epoch.Open(nil, sealed)
			if err != nil {
				t.Fatalf("frame %s does not open with the epoch's identity: %v", id, err)
			}
			content := string(raw)
			_, err = host.Open(nil, sealed)
			switch {
			case c.trees[id] && c.content[id] || !c.trees[id] && !c.content[id]:
				t.Errorf("frame %s: of a tree: %t, content: %t", id, c.trees[id], c.content[id])
			case c.trees[id] && err != nil:
				t.Errorf("frame %s holds trees and the host cannot read it: %v", id, err)
			case c.trees[id] && strings.Contains(content, marker):
				t.Errorf("frame %s holds trees, and content among them", id)
			case c.content[id] && !errors.Is(err, crypto.ErrIdentity):
				t.Errorf("frame %s holds content and opens with what the host has (%v)", id, err)
			}
			for _, k := range fileKeys {
				if _, err := age.Decrypt(bytes.NewReader(sealed), age.NewInjectedFileKeyIdentity(k)); err == nil {
					t.Errorf("frame %s: its file key is a part of the host's secrets", id)
				}
			}
			for what, needle := range map[string]string{"marker": marker, "source": sourceName, "file": fileName, "note": noteName} {
				if strings.Contains(content, needle) {
					count[what]++
				}
			}
		}
		// The control: what was looked for is really there.
		if len(c.trees) < 3 || len(c.content) < 3 || count["marker"] == 0 || count["source"] == 0 || count["file"] == 0 || count["note"] == 0 {
			t.Errorf("%d frames of trees, %d of content; found %v: this test proves nothing", len(c.trees), len(c.content), count)
		}
	}
}

// TestHostCannotOpenKeyFiles does the same with the key files, which only the recipients open.
func TestHostCannotOpenKeyFiles(t *testing.T) {
	s := newSecrecy(t)
	for _, dir := range s.copies {
		c := s.open(t, dir)
		host := append(s.hostIdentities(t), c.epochs...)
		for name, sealed := range c.keys {
			if _, err := crypto.OpenSealed(sealed, host); !errors.Is(err, crypto.ErrIdentity) {
				t.Errorf("%s opens with what the host has, or with the epoch: %v", name, err)
			}
			for class, id := range map[string]age.Identity{"-pq-": s.master, "-classic-": s.classic} {
				if _, err := crypto.OpenSealed(sealed, []age.Identity{id}); (err == nil) != strings.Contains(name, class) {
					t.Errorf("%s: opens with the identity for %s: %v", name, class, err)
				}
			}
		}
		if len(c.keys) != 14 { // root, host and epoch; after the rotation again, and the new epoch
			t.Errorf("%d key files, not one per secret and class", len(c.keys))
		}
	}
}

// TestNothingStandsInPlain searches every file of the state directory and of the targets, also in what it decompresses to.
func TestNothingStandsInPlain(t *testing.T) {
	s := newSecrecy(t)
	c := s.open(t, s.copies[0])
	everywhere := map[string][]byte{"the marker": []byte(marker)}
	maps.Copy(everywhere, c.secrets.offline)
	onTargets := map[string][]byte{"the name of the source": []byte(sourceName), "the name of a file": []byte(fileName), "the name of a stream": []byte("weber.txt")}
	maps.Copy(onTargets, everywhere)
	maps.Copy(onTargets, c.secrets.host)
	if len(c.secrets.offline) < 6 || len(c.secrets.host) < 8 {
		t.Fatalf("%d offline and %d host secrets were found: this test proves nothing", len(c.secrets.offline), len(c.secrets.host))
	}
	search(t, s.state, everywhere)
	for _, dir := range s.copies {
		search(t, dir, onTargets)
	}
	if err := os.Remove(filepath.Join(s.state, "catalog.db")); err != nil {
		t.Fatal(err) // the search must have seen it
	}
	if m, err := filepath.Glob(filepath.Join(s.state, "pagemaps", "*.map")); err != nil || len(m) == 0 {
		t.Fatalf("no page map was searched (%v)", err)
	}
}

func TestSearchFinds(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{[]byte("x" + marker), enc.EncodeAll([]byte(strings.Repeat("y"+marker, 9)), []byte("before"))} {
		if !found(t, b, []byte(marker)) {
			t.Errorf("not found in %.20q", b)
		}
	}
	if found(t, []byte("other"), []byte(marker)) {
		t.Error("found where it is not")
	}
}

// search fails where one of needles stands in a file below dir.
func search(t *testing.T, dir string, needles map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for what, needle := range needles {
			if found(t, b, needle) {
				t.Errorf("%s holds %s", path, what)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// found looks for needle in b, and in whatever in b can be decompressed.
func found(t *testing.T, b, needle []byte) bool {
	t.Helper()
	if bytes.Contains(b, needle) {
		return true
	}
	for at := 0; ; at += len(zstdMagic) {
		n := bytes.Index(b[at:], zstdMagic)
		if n < 0 {
			return false
		}
		at += n
		r, err := zstd.NewReader(bytes.NewReader(b[at:]), zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		plain, _ := io.ReadAll(io.LimitReader(r, 64<<20)) // as far as it goes: most of it is no zstd
		r.Close()
		if bytes.Contains(plain, needle) {
			return true
		}
	}
}

// hostIdentities are all age identities in any file of the state directory.
func (s *secrecy) hostIdentities(t *testing.T) []age.Identity {
	t.Helper()
	var out []age.Identity
	for _, text := range regexp.MustCompile(`AGE-[A-Z0-9-]+`).FindAllString(s.stateBytes(t), -1) {
		ids, err := crypto.ParseIdentities([]byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ids...)
	}
	if len(out) == 0 {
		t.Fatal("the host has no identity: it should have that of the index")
	}
	return out
}

// hostFileKeys are the host's other secrets, cut to the size of age's file keys.
func (s *secrecy) hostFileKeys(t *testing.T) (out [][]byte) {
	t.Helper()
	for _, text := range regexp.MustCompile(`[A-Za-z0-9+/]{43}=`).FindAllString(s.stateBytes(t), -1) {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) - 15 {
			out = append(out, b[i:i+16])
		}
	}
	if len(out) == 0 {
		t.Fatal("the host has no secrets")
	}
	return out
}

func (s *secrecy) stateBytes(t *testing.T) string {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(s.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(append(all, b...), '\n')
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// opened is a copy as whoever holds the master identity sees it.
type opened struct {
	epochs         []age.Identity
	frames         map[crypto.ID][]byte
	trees, content map[crypto.ID]bool
	keys           map[string][]byte
	secrets        struct{ offline, host map[string][]byte } // what must not be found, by a name for it
}

func (s *secrecy) open(t *testing.T, dir string) *opened {
	t.Helper()
	to, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() }) // nothing depends on it any more
	r, err := repository.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unlock(t.Context(), []age.Identity{s.master}); err != nil {
		t.Fatal(err)
	}
	c := &opened{frames: map[crypto.ID][]byte{}, trees: map[crypto.ID]bool{}, content: map[crypto.ID]bool{}, keys: map[string][]byte{}}
	headers := 0
	for _, o := range r.Objects() {
		b, err := os.ReadFile(filepath.Join(dir, o.Name))
		if err != nil {
			t.Fatal(err)
		}
		headers += bytes.Count(b, []byte("age-encryption.org/v1\n"))
		if strings.HasPrefix(o.Name, "keys/") {
			c.keys[o.Name] = b
		}
	}
	for _, d := range r.Chain.Indexes() {
		c.index(t, r, dir, d)
	}
	for _, e := range r.Chain.Entries() { // dropped snapshots too
		if e.Snapshot == nil {
			continue
		}
		tree, err := r.Tree(t.Context(), e.Snapshot.Root)
		if err != nil {
			t.Fatal(err)
		}
		c.walk(t, tree)
	}
	if headers != len(c.frames)+len(c.keys) {
		t.Errorf("%d age files stand on the target, %d frames and %d keys are tested", headers, len(c.frames), len(c.keys))
	}
	c.learn(t, s)
	return c
}

// index cuts out the frames that an index object lists.
func (c *opened) index(t *testing.T, r *repository.Reader, dir, digest string) {
	t.Helper()
	packs, err := chunkstore.ReadIndex(t.Context(), r.Target, digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		b, err := os.ReadFile(filepath.Join(dir, chunkstore.PackName(p.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Frames {
			c.frames[f.ID] = b[f.Off : f.Off+int64(f.Len)]
		}
	}
}

// walk notes which frames hold trees and which content.
func (c *opened) walk(t *testing.T, tree *snapshot.Tree) {
	t.Helper()
	c.trees[tree.Ref.Frame] = true
	for ref, err := range tree.Refs(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		c.trees[ref.Frame] = true
	}
	for f, err := range tree.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range f.Extents {
			extents, err := tree.Extents(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range extents {
				if !e.IsZero() {
					c.content[e.Chunk.Frame] = true
				}
			}
		}
	}
}

// learn opens the key files and takes the secrets out, in every form that they could be found in.
func (c *opened) learn(t *testing.T, s *secrecy) {
	t.Helper()
	c.secrets.offline, c.secrets.host = map[string][]byte{}, map[string][]byte{}
	for name, sealed := range c.keys {
		b, err := crypto.OpenSealed(sealed, []age.Identity{s.master, s.classic})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(name, "/epoch-") {
			e, err := crypto.ParseEpochSecret(b)
			if err != nil {
				t.Fatal(err)
			}
			id, _, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			c.epochs = append(c.epochs, id)
		}
		into := c.secrets.offline
		if strings.Contains(name, "/host-") {
			into = c.secrets.host
		}
		for what, secret := range forms(t, b) {
			into[name+" "+what] = secret
		}
	}
	for what, id := range map[string]any{"master": s.master, "classic": s.classic} {
		c.secrets.offline[what] = fmt.Append(nil, id)
	}
	for _, known := range c.secrets.host { // the epochs' key files repeat the host's ID key
		maps.DeleteFunc(c.secrets.offline, func(_ string, secret []byte) bool { return bytes.Equal(secret, known) })
	}
}

// forms are the secrets of a key file, as text, raw and in hexadecimal.
func forms(t *testing.T, keyFile []byte) map[string][]byte {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(keyFile, &members); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, what := range []string{"seed", "id_key", "polynomial", "index_identity", "signing_seed", "identity"} {
		text, ok := members[what].(string)
		if !ok {
			continue
		}
		out[what] = []byte(text)
		if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) == 32 {
			out[what+", raw"], out[what+", in hex"] = raw, []byte(hex.EncodeToString(raw))
		}
	}
	return out
}

// TestCommandsTellNoSecrets runs the program, rightly and wrongly, and searches all that it says.
func TestCommandsTellNoSecrets(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "lifeboat")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "lifeboat/cmd/lifeboat").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var said bytes.Buffer
	run := func(want bool, args ...string) {
		c := exec.CommandContext(t.Context(), program, args...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if (err == nil) != want {
			t.Errorf("lifeboat %q: %v\n%s", args, err, out)
		}
		said.Write(out)
	}
	write := func(name string, body []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &secrecy{dir: dir, state: filepath.Join(dir, "state")}
	if err := s.database(t).Close(); err != nil {
		t.Fatal(err)
	}
	run(true, "keygen", "-o", "key")
	run(true, "keygen", "-o", "wrong")
	key := fileOf(t, dir, "key")
	recipient := regexp.MustCompile(`age1pq1\w+`).Find(key)
	config := "repository: crm\nstate_dir: state\nkeys: {recipients: [%s]}\nsources:\n  crm: {engine: sqlite, path: " + fileName + "}\ntargets:\n  disk: {type: local, path: disk}\n"
	write("lifeboat.yaml", fmt.Appendf(nil, config, recipient))
	write("bad.yaml", fmt.Appendf(nil, config, regexp.MustCompile(`AGE-SECRET\S+`).Find(key)))
	write("cut", key[:len(key)-9])
	write("mistyped", bytes.Replace(key, []byte("SECRET-KEY-PQ-1"), []byte("SECRET-KEY-PQ-1B"), 1))

	run(false, "-c", "bad.yaml", "init")
	run(true, "init", "--identity", "key")
	run(true, "backup", "crm")
	for _, args := range []string{"backup crm --full --json", "snapshots --json", "window", "status --json", "doctor crm", "check", "check --identity key --json",
		"audit log --json", "audit verify --json", "keys list --json", "restore crm --to out --identity key --start"} {
		run(true, strings.Fields(args)...)
	}
	for _, file := range []string{"wrong", "cut", "mistyped", "state/secrets.json", "disk/lifeboat.json"} {
		run(false, "restore", "crm", "--to", "no", "--identity", file)
		run(false, "init", "--take-over", "--identity", file)
	}
	host := fileOf(t, s.state, "secrets.json")
	for _, damage := range []string{string(host[:len(host)/2]), strings.Replace(string(host), "AGE-SECRET-KEY-PQ-1", "AGE-SECRET-KEY-PQ-1B", 1),
		strings.Replace(string(host), `"id_key":"`, `"id_key":"?`, 1), strings.Replace(string(host), `"polynomial":"`, `"polynomial":"z`, 1)} {
		write("state/secrets.json", []byte(damage))
		run(false, "backup", "crm")
		run(false, "snapshots")
	}
	write("state/secrets.json", host)
	secrets := forms(t, host)
	run(true, "init", "--take-over", "--identity", "key")
	for what, secret := range forms(t, fileOf(t, s.state, "secrets.json")) {
		secrets[what+" after the take-over"] = secret
	}
	secrets["master"] = regexp.MustCompile(`AGE-SECRET\S+`).Find(key)
	if said.Len() < 5000 || len(secrets) != 17 {
		t.Fatalf("%d bytes were said, %d secrets are known: this test proves nothing", said.Len(), len(secrets))
	}
	for what, secret := range secrets {
		const piece = 12 // bytes, of which none may be said
		for at := min(19, len(secret)-piece); at <= len(secret)-piece; at++ {
			if bytes.Contains(said.Bytes(), secret[at:at+piece]) {
				t.Fatalf("a part of %s was said:\n%s", what, said.Bytes())
			}
		}
	}
}

func fileOf(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func opener(t *testing.T, ids ...age.Identity) *crypto.Opener {
	t.Helper()
	o, err := crypto.NewOpener(ids...)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestReleasedUnrecorded records that a slot was removed while no target can be reached: an error says so.
func TestReleasedUnrecorded(t *testing.T) {
	c := newSecrecy(t).config(t)
	away := errors.New("the disk is not mounted")
	for _, copied := range c.Copies {
		copied.Err = away
	}
	if err := repository.Released(t.Context(), c, sourceName, "test"); !errors.Is(err, away) {
		t.Error(err)
	}
}
