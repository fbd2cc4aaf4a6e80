package restore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"filippo.io/age"
	"github.com/restic/chunker"

	"lifeboat/catalog"
	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target/local"
)

// TestModel changes a source in memory at random, takes snapshots of it, plays with the state directory in between, and
// compares every snapshot byte for byte with what the source was. To look for more: go test -run TestModel -args -seeds 500.
var (
	seeds = flag.Uint64("seeds", 6, "how many seeds TestModel runs")
	from  = flag.Uint64("from", 1, "the first of them")
)

func TestModel(t *testing.T) {
	deltas, kept := 0, int64(0)
	for seed := *from; seed < *from+*seeds; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := newModel(t, seed)
			for m.run = range 10 {
				m.mutate()
				m.round()
				m.meddle()
				switch m.rand.IntN(6) {
				case 0:
					m.abort()
				case 1:
					m.snapshot(true)
				default:
					m.snapshot(false)
				}
			}
			for i := range m.taken {
				m.compare(i)
			}
			m.reuse()
			deltas += m.deltas
			kept += m.spared
		})
	}
	if deltas == 0 {
		t.Error("no view told only a difference")
	}
	if kept == 0 {
		t.Error("no content was taken over because its state was the same")
	}
}

// TestModelChanged holds what a snapshot says has changed against a comparison of the source's states, page by page and chunk by chunk.
func TestModelChanged(t *testing.T) {
	deltas, some := 0, 0
	for seed := *from; seed < *from+*seeds; seed++ {
		m := newModel(t, seed)
		for m.run = range 12 {
			m.mutate()
			m.round()
			s := m.snapshot(m.run%4 == 3)
			var want int64
			for name, f := range m.files {
				if m.run > 0 {
					want += m.differs(name, m.taken[m.run-1].files[name], f)
				}
			}
			if s.Changed != want {
				t.Errorf("seed %d, run %d: %d bytes changed, want %d of %d", seed, m.run, s.Changed, want, s.Size)
			}
			if want > 0 && want < s.Size {
				some++
			}
		}
		deltas += m.deltas
	}
	if deltas == 0 || some < 20 {
		t.Errorf("%d files told only a difference, %d snapshots changed in part", deltas, some)
	}
}

// differs compares two states of a file, of the latter of which some pages may have been told to be cut off in between.
func (m *model) differs(name string, old, now file) (n int64) {
	if now.kind != snapshot.Pages {
		had := map[string]bool{}
		for _, c := range m.chunks(old) {
			had[string(c)] = true
		}
		for _, c := range m.chunks(now) {
			if !had[string(c)] {
				n += int64(len(c))
			}
		}
		return n
	}
	if old.kind != now.kind || old.page != now.page {
		old.data = nil
	}
	keep, cut := m.kept[name]
	for at := 0; at < len(now.data); at += now.page {
		page, before := now.data[at:min(at+now.page, len(now.data))], old.data[min(at, len(old.data)):min(at+now.page, len(old.data))]
		if at >= len(old.data) {
			before = make([]byte, len(page))
		}
		if !bytes.Equal(page, before) || cut && at < len(old.data) && int64(at/now.page) >= keep {
			n += int64(len(page))
		}
	}
	return n
}

// chunks cuts the content of a stream.
func (m *model) chunks(f file) (all [][]byte) {
	if f.kind != snapshot.Stream {
		return nil
	}
	c := chunker.New(bytes.NewReader(f.data), m.pol, chunker.WithBoundaries(64<<10, 1<<20), chunker.WithAverageBits(18))
	for {
		chunk, err := c.Next(nil)
		if errors.Is(err, io.EOF) {
			return all
		}
		all = append(all, must(chunk.Data, err))
	}
}

// file is one file of the source in memory.
type file struct {
	kind snapshot.Kind
	page int
	data []byte
	mode fs.FileMode
	time time.Time
}

// model is a source, a repository of it without a journal, and what each snapshot must give back.
type model struct {
	t     *testing.T
	rand  *rand.Rand
	run   int
	files map[string]file
	name  int

	target   *local.Target
	maps     string
	keys     *crypto.HostKeys
	epoch    age.Identity
	pol      chunker.Pol
	packs    []chunkstore.Pack
	catalog  *catalog.Catalog
	taken    []taken
	holdless float64 // the share of frames that are taken for lost
	lost     lost    // in the last run
	fresh    func(frame crypto.ID) bool
	whole    bool  // files of pages have whole pages only
	deltas   int   // files of which only a difference was sent
	sent     int64 // bytes of content in the last run
	kept     map[string]int64
	spared   int64 // bytes of content that were not asked for, because a state said that they did not change
}

// lost says which frames a run takes for lost. They are not, so older snapshots still restore; but no new one may need them.
type lost struct {
	share float64
	salt  byte
}

func (l lost) has(frame crypto.ID) bool { return float64(frame[3]^frame[15]^l.salt) < l.share*256 }

// known offers what the catalog knows and the repository holds, as repository.Host does.
type known struct {
	*catalog.Catalog
	holds func(crypto.ID) bool
}

// Lookup implements snapshot.Known.
func (k known) Lookup(ids []crypto.ID, places []chunkstore.Loc) error {
	err := k.Catalog.Lookup(ids, places)
	for i := range places {
		if places[i].Len > 0 && !k.holds(places[i].Frame) {
			places[i] = chunkstore.Loc{}
		}
	}
	return err
}

type taken struct {
	root  journal.Ref
	files map[string]file
}

func newModel(t *testing.T, seed uint64) *model {
	t.Helper()
	_, host, epoch, err := crypto.Generate()
	if err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, rand: rand.New(rand.NewPCG(seed, 5)), files: map[string]file{}, maps: t.TempDir(), pol: host.Polynomial, whole: seed%2 == 0}
	m.keys = must(host.Keys())
	id, _, err := epoch.Open()
	if err != nil {
		t.Fatal(err)
	}
	m.epoch = id
	m.target = must(local.Create(t.TempDir()))
	t.Cleanup(func() { _ = m.target.Close() })
	m.catalog = catalog.New(filepath.Join(t.TempDir(), "catalog.db"), m.keys.IDs)
	for range 2 + m.rand.IntN(4) {
		m.create()
	}
	if seed%5 == 1 { // nothing at first
		clear(m.files)
	}
	if seed%5 == 0 { // one file of several extents nodes
		m.files["m-large"] = file{kind: snapshot.Pages, page: 4096, data: m.bytes(17 << 20), mode: 0o600}
	}
	return m
}

// must is for what only a broken test environment fails.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// bytes are n bytes, some of them zeros or repeated, so that chunks are found again.
func (m *model) bytes(n int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; {
		part := b[at:min(n, at+1+m.rand.IntN(1+n/2))]
		switch m.rand.IntN(4) {
		case 0: // zeros
		case 1:
			pattern := byte(m.rand.Uint32())
			for i := range part {
				part[i] = pattern + byte(i>>9)
			}
		default:
			_, _ = rand.NewChaCha8([32]byte{byte(m.rand.Uint32()), byte(m.rand.Uint32())}).Read(part) // never fails
		}
		at += len(part)
	}
	return b
}

func (m *model) size() int {
	switch m.rand.IntN(8) {
	case 0:
		return 0
	case 1:
		return m.rand.IntN(600)
	case 2:
		return 64 << 10 * (1 + m.rand.IntN(8))
	case 3:
		return 1<<20 + m.rand.IntN(1<<20)
	}
	return m.rand.IntN(600 << 10)
}

func (m *model) create() {
	m.name++
	names := []string{"f%d", "dir/%d.db", "dir/sub/%d", "dir.d/%d", "ü%d", "a\xff\x01%%%d", "%d"}
	name := fmt.Sprintf(names[m.rand.IntN(len(names))], m.name)
	f := file{kind: snapshot.Pages, page: 512 << m.rand.IntN(8), data: m.bytes(m.size()), mode: fs.FileMode(m.rand.IntN(0o1000)) | 0o400, time: time.Unix(m.rand.Int64N(1<<31), 0)}
	if m.rand.IntN(3) == 0 {
		f.kind, f.page = snapshot.Stream, 0
	}
	if m.rand.IntN(8) == 0 {
		names := []string{"hollow/%d", "dir", "dir/sub", "dir.d"}
		if name = names[m.rand.IntN(len(names))]; strings.Contains(name, "%") {
			name = fmt.Sprintf(name, m.name)
		}
		f = file{kind: snapshot.Dir, mode: f.mode | 0o700, time: f.time}
	}
	m.files[name] = f
}

// pick is any file's name; there is always one.
func (m *model) pick() string {
	if len(m.files) == 0 {
		m.create()
	}
	names := slices.Sorted(maps.Keys(m.files))
	return names[m.rand.IntN(len(names))]
}

func (m *model) mutate() {
	for range max(0, m.rand.IntN(14)-2) {
		name := m.pick()
		f := m.files[name]
		if f.kind == snapshot.Dir {
			delete(m.files, name)
			continue
		}
		f.data = slices.Clone(f.data)
		n := len(f.data)
		at := m.rand.IntN(n + 1)
		switch m.rand.IntN(17) {
		case 0:
			m.create()
			continue
		case 1:
			delete(m.files, name)
			continue
		case 2: // rename: to another place in the order
			delete(m.files, name)
			m.name++
			name = fmt.Sprintf("%c-renamed-%d", 'a'+rune(m.rand.IntN(26)), m.name)
		case 3:
			f.data = append(f.data, m.bytes(m.rand.IntN(200<<10))...)
		case 4:
			f.data = f.data[:at]
		case 5: // insert, which shifts pages and not streams
			f.data = slices.Insert(f.data, at, m.bytes(m.rand.IntN(5000))...)
		case 6: // zero pages
			clear(f.data[at:min(n, at+m.rand.IntN(100<<10))])
		case 7: // another kind or page size
			f.kind, f.page = snapshot.Pages, 512<<m.rand.IntN(8)
		case 8:
			f.data = append(f.data, make([]byte, m.rand.IntN(200<<10))...)
		case 9: // what another file holds
			f.data = slices.Clone(m.files[m.pick()].data)
		case 10, 11, 12: // back to what a snapshot holds, wholly or in part
			if len(m.taken) > 0 {
				old := m.taken[m.rand.IntN(len(m.taken))].files[name].data
				end := m.rand.IntN(len(old) + 1)
				begin := m.rand.IntN(end + 1)
				if m.rand.IntN(2) == 0 {
					f.data = slices.Clone(old)
				} else if begin < n {
					copy(f.data[begin:], old[begin:end])
				}
			}
		default: // single pages, as a database does
			for range 1 + m.rand.IntN(20) {
				if n > 0 {
					f.data[m.rand.IntN(n)] ^= byte(1 + m.rand.IntN(255))
				}
			}
		}
		m.files[name] = f
	}
}

// round cuts what is no whole page, where the source has none.
func (m *model) round() {
	for name, f := range m.files {
		if m.whole && f.kind == snapshot.Pages {
			f.data = f.data[:len(f.data)-len(f.data)%f.page]
			m.files[name] = f
		}
	}
}

// meddle does to the page maps and usage files what crashes, restored backups of the state directory and people do.
func (m *model) meddle() {
	entries := must(os.ReadDir(m.maps))
	for range m.rand.IntN(4) {
		if len(entries) == 0 {
			return
		}
		one, two := filepath.Join(m.maps, entries[m.rand.IntN(len(entries))].Name()), filepath.Join(m.maps, entries[m.rand.IntN(len(entries))].Name())
		b, err := os.ReadFile(one)
		if err != nil || len(b) == 0 {
			continue
		}
		if n := len(m.taken); n > 0 && m.rand.IntN(2) == 0 { // the one that the next run looks for
			two = filepath.Join(m.maps, m.taken[n-1].root.ID.String()+filepath.Ext(one))
		}
		switch m.rand.IntN(7) {
		case 0:
			err = os.Remove(one)
		case 1:
			err = os.Truncate(one, int64(m.rand.IntN(len(b)+1)))
		case 2, 5: // another snapshot's
			err = os.WriteFile(two, b, 0o600)
		case 3:
			b[m.rand.IntN(len(b))] ^= 1 << m.rand.IntN(8)
			err = os.WriteFile(one, b, 0o600)
		case 4:
			err = os.WriteFile(one, append(b, b[m.rand.IntN(len(b)):]...), 0o600)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		entries = must(os.ReadDir(m.maps))
	}
	m.holdless = []float64{0, 0, 0.1, 0.4, 1}[m.rand.IntN(5)]
	if m.rand.IntN(8) == 0 {
		if err := m.catalog.Reset(); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *model) reader() *chunkstore.Reader {
	return chunkstore.NewReader(m.target, chunkstore.NewIndex(m.packs), m.epoch)
}

func (m *model) tree(r *chunkstore.Reader, root journal.Ref) *snapshot.Tree {
	m.t.Helper()
	t, err := snapshot.OpenTree(m.t.Context(), r, m.keys.IDs, root)
	if err != nil {
		m.t.Fatal(err)
	}
	return t
}

// take takes a snapshot as repository.Host does. The view breaks off after fail files where that is not negative.
func (m *model) take(full bool, fail int) (*snapshot.Taken, *chunkstore.Writer, error) {
	r := m.reader()
	m.lost = lost{share: m.holdless, salt: byte(m.rand.Uint32())}
	holds := func(frame crypto.ID) bool { return !m.lost.has(frame) && len(r.Index().Lookup(frame)) > 0 }
	var base *snapshot.Base
	v := &view{files: m.files, fail: fail, rand: m.rand}
	if n := len(m.taken); n > 0 {
		base = &snapshot.Base{Tree: m.tree(r, m.taken[n-1].root), Holds: holds}
		if !full && m.rand.IntN(2) == 0 {
			v.prior = m.taken[n-1].files
		}
	}
	for {
		w := must(chunkstore.NewWriter(m.t.Context(), m.target, m.keys, crypto.Fast))
		var all snapshot.View = v
		if v.sorted = m.rand.IntN(2) == 0; v.sorted {
			all = sorted{v}
		}
		s, err := snapshot.Take(m.t.Context(), snapshot.Job{Source: "model", Engine: "test", View: all, Chunks: w, IDs: m.keys.IDs,
			Polynomial: m.pol, Known: known{m.catalog, holds}, Base: base, Full: full, MapDir: m.maps})
		if v.prior == nil || m.holdless == 0 || !errors.Is(err, snapshot.ErrPrior) {
			m.deltas, m.sent, m.kept, m.spared = m.deltas+v.deltas, v.sent, v.kept, m.spared+v.spared
			return s, w, err
		}
		w.Abort()
		v = &view{files: m.files, fail: fail, rand: m.rand}
	}
}

var errView = errors.New("the source broke off")

// abort is a run that dies: in the middle, or after its last chunk, when its page map has a name already.
func (m *model) abort() {
	fail := m.rand.IntN(len(m.files) + 2)
	if fail > len(m.files) {
		fail = -1
	}
	_, w, err := m.take(false, fail)
	if fail >= 0 && !errors.Is(err, errView) || fail < 0 && err != nil {
		m.t.Fatal(err)
	}
	w.Abort()
}

func (m *model) snapshot(full bool) *snapshot.Taken {
	s, w, err := m.take(full, -1)
	if err != nil {
		m.t.Fatal(err)
	}
	packs, err := w.Finish()
	if err != nil {
		m.t.Fatal(err)
	}
	var size int64
	for _, f := range m.files {
		size += int64(len(f.data))
	}
	if s.Size != size || s.Read != m.sent {
		m.t.Fatalf("run %d: size %d, want %d; read %d, sent %d", m.run, s.Size, size, s.Read, m.sent)
	}
	run := w.Run()
	m.fresh = func(frame crypto.ID) bool { return [12]byte(frame[:12]) == run }
	m.packs = append(m.packs, packs...)
	m.taken = append(m.taken, taken{s.Root, maps.Clone(m.files)})
	fresh := m.learn()
	content := int64(0)
	for _, p := range packs {
		if slices.ContainsFunc(p.Frames, func(f chunkstore.Frame) bool { return fresh[f.ID] > 0 }) {
			content += p.Size
		}
	}
	var stored int64
	for _, n := range fresh {
		stored += n
	}
	if s.New != stored || w.Content() != content {
		m.t.Errorf("run %d: %d bytes of new content in %d, want %d in %d", m.run, s.New, w.Content(), stored, content)
	}
	m.compare(len(m.taken) - 1)
	return s
}

// needs fails the test if the last snapshot relies on a frame that was taken for lost.
func (m *model) needs(what string, frame crypto.ID) {
	m.t.Helper()
	if m.lost.has(frame) && !m.fresh(frame) {
		m.t.Errorf("run %d: %s relies on frame %s, which the repository does not hold", m.run, what, frame)
	}
}

// learn enters the chunks of the last snapshot into the catalog. It returns how many bytes of chunks its own frames of content have.
func (m *model) learn() map[crypto.ID]int64 {
	tree := m.tree(m.reader(), m.taken[len(m.taken)-1].root)
	m.needs("the root", tree.Ref.Frame)
	for _, f := range tree.Root.Files {
		m.needs("the list of files", f.Ref.Frame)
	}
	var chunks []catalog.Chunk
	seen, fresh := map[chunkstore.Loc]bool{}, map[crypto.ID]int64{}
	for f, err := range tree.Files(m.t.Context()) {
		if err != nil {
			m.t.Fatal(err)
		}
		var at int64
		for _, x := range f.Extents {
			m.needs("a list of extents", x.Ref.Frame)
			extents, err := tree.Extents(m.t.Context(), x)
			if err != nil {
				m.t.Fatal(err)
			}
			for _, e := range extents {
				if !e.IsZero() {
					m.needs("content", e.Chunk.Frame)
				}
				if !e.IsZero() && m.fresh(e.Chunk.Frame) && !seen[e.Chunk] {
					seen[e.Chunk] = true
					fresh[e.Chunk.Frame] += int64(e.Chunk.Len)
				}
				if f.Findable(e, at) {
					chunks = append(chunks, catalog.Chunk{ID: e.ID, Loc: e.Chunk})
				}
				at += e.Bytes
			}
		}
	}
	if err := m.catalog.AddChunks(chunks); err != nil {
		m.t.Fatal(err)
	}
	return fresh
}

// compare restores a snapshot and compares everything with what the source was.
func (m *model) compare(i int) {
	m.t.Helper()
	r := m.reader()
	tree := m.tree(r, m.taken[i].root)
	dir := filepath.Join(m.t.TempDir(), "restored")
	sink, err := restore.NewDirectory(dir, tree.Root.Size)
	if err != nil {
		m.t.Fatal(err)
	}
	plan, err := restore.Run(m.t.Context(), restore.Job{Tree: tree, Frames: r, IDs: m.keys.IDs, Sink: sink, SpillDir: sink.Work()})
	if err := errors.Join(err, sink.Close()); err != nil {
		m.t.Fatalf("restore snapshot %d after run %d: %v", i, m.run, err)
	}
	want := m.taken[i].files
	if plan.Files != len(want) {
		m.t.Errorf("snapshot %d: %d files, want %d", i, plan.Files, len(want))
	}
	if len(want) == 0 {
		return // Close removes an empty directory
	}
	m.holds(dir, i)
}

// holds compares everything in a directory with what the source was at a snapshot.
func (m *model) holds(dir string, i int) {
	m.t.Helper()
	want := m.taken[i].files
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := must(filepath.Rel(dir, path))
		f, ok := want[name]
		if err != nil || d.IsDir() && !ok {
			return err
		}
		found++
		if ok && d.IsDir() != (f.kind == snapshot.Dir) || !ok {
			return fmt.Errorf("%q was not in the source", name)
		}
		return same(path, f)
	})
	if err != nil || found != len(want) {
		m.t.Fatalf("snapshot %d after run %d: %d files of %d: %v", i, m.run, found, len(want), err)
	}
}

func same(path string, f file) error {
	b, err := os.ReadFile(path)
	if err != nil && f.kind != snapshot.Dir {
		return err
	}
	if !bytes.Equal(b, f.data) {
		at := 0
		for at < min(len(b), len(f.data)) && b[at] == f.data[at] {
			at++
		}
		return fmt.Errorf("%q (%s, page %d): %d bytes of %d, the first that differs is %d", path, f.kind, f.page, len(b), len(f.data), at)
	}
	info, err := os.Stat(path)
	if err == nil && (info.Mode().Perm() != f.mode || !f.time.IsZero() && !info.ModTime().Equal(f.time)) {
		err = fmt.Errorf("%q: mode %v of %s, want %v of %s", path, info.Mode(), info.ModTime(), f.mode, f.time)
	}
	return err
}

// view is the state of the model, read in pieces of any size.
type view struct {
	files map[string]file
	fail  int
	rand  *rand.Rand
	prior map[string]file // of which some files only tell the difference

	sorted bool
	deltas int
	sent   int64
	kept   map[string]int64 // pages of each prior file of which only the difference was sent
	spared int64
}

// sorted is a view that says that its items come in order.
type sorted struct{ *view }

// Sorted implements snapshot.Sorted.
func (sorted) Sorted() {}

// Items implements snapshot.View.
func (v *view) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		names := slices.Sorted(maps.Keys(v.files))
		if !v.sorted && v.rand.IntN(2) == 0 {
			v.rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		}
		for i, name := range names {
			if i == v.fail {
				break
			}
			f := v.files[name]
			size := int64(len(f.data))
			if f.kind == snapshot.Stream && v.rand.IntN(2) == 0 {
				size = -1
			}
			item := snapshot.Item{Name: name, Kind: f.kind, PageSize: f.page, Size: size, Mode: f.mode, ModTime: f.time, Body: &pieces{strings.NewReader(string(f.data)), v.rand.Uint64()}}
			if old, ok := v.prior[name]; ok && v.rand.IntN(3) > 0 {
				v.difference(&item, old, f)
			}
			if f.kind == snapshot.Stream {
				item.State = fmt.Sprintf("%x", sha256.Sum256(f.data))
				if v.rand.IntN(4) == 0 { // what does not count, before what does
					void := item
					void.State, void.Body = "", io.MultiReader(strings.NewReader(string(f.data[:v.rand.IntN(len(f.data)+1)])), iotest.ErrReader(fmt.Errorf("changed: %w", snapshot.ErrVoid)))
					if !yield(void, nil) {
						return
					}
				}
			}
			body := &counted{Reader: item.Body}
			if item.Body = body; !yield(item, nil) {
				return
			}
			if v.sent += body.n; f.kind == snapshot.Stream {
				v.spared += int64(len(f.data)) - body.n
			}
		}
		if v.fail >= 0 {
			yield(snapshot.Item{}, errView)
		}
	}
}

// difference makes an item tell only how the file differs from the prior snapshot's, with some pages that do not.
func (v *view) difference(item *snapshot.Item, old, f file) {
	if f.kind != snapshot.Pages || old.kind != f.kind || old.page != f.page || len(f.data)%f.page != 0 || len(old.data)%f.page != 0 {
		return
	}
	d := &snapshot.Delta{Keep: v.rand.Int64N(1 + 2*int64(len(old.data)/f.page))}
	if v.rand.IntN(3) > 0 {
		d.Keep = int64(len(old.data) / f.page)
	}
	var body []byte
	for at := 0; at < len(f.data); at += f.page {
		have := make([]byte, f.page)
		if at < len(old.data) && int64(at/f.page) < d.Keep {
			copy(have, old.data[at:])
		}
		if page := f.data[at : at+f.page]; !bytes.Equal(page, have) || v.rand.IntN(20) == 0 {
			d.Pages = append(d.Pages, int64(at/f.page))
			body = append(body, page...)
		}
	}
	if v.kept == nil {
		v.kept = map[string]int64{}
	}
	v.kept[item.Name] = d.Keep
	item.Delta, item.Body = d, &pieces{bytes.NewReader(body), v.rand.Uint64()}
	v.deltas++
}

// Summary implements snapshot.View.
func (v *view) Summary() (snapshot.Summary, error) { return snapshot.Summary{}, nil }

// Size implements snapshot.View.
func (v *view) Size() int64 { return 0 }

// Close implements snapshot.View.
func (v *view) Close() error { return nil }

// counted counts what was read.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

// pieces gives less than it is asked for.
type pieces struct {
	r    io.Reader
	seed uint64
}

func (p *pieces) Read(b []byte) (int, error) {
	p.seed = p.seed*6364136223846793005 + 1442695040888963407
	return p.r.Read(b[:min(uint64(len(b)), 1+p.seed>>33%200_000)])
}
