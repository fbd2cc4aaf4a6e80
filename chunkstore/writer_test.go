package chunkstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"lifeboat/crypto"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// keyring is what the host and the epoch of one repository hold.
type keyring struct {
	host  *crypto.HostKeys
	epoch age.Identity
}

// keys are shared by all tests: making them is slow, and no test changes them.
var keys = sync.OnceValues(func() (keyring, error) {
	_, host, epoch, err := crypto.Generate()
	if err != nil {
		return keyring{}, err
	}
	h, err := host.Keys()
	if err != nil {
		return keyring{}, err
	}
	id, _, err := epoch.Open()
	return keyring{h, id}, err
})

func ring(t testing.TB) keyring {
	t.Helper()
	k, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newTarget(t testing.TB) (*local.Target, string) {
	t.Helper()
	dir := t.TempDir()
	tg, err := local.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tg.Close() })
	return tg, dir
}

func newWriter(t testing.TB, ctx context.Context, tg target.Target) *Writer { //nolint:revive // a test's t comes first
	t.Helper()
	w, err := NewWriter(ctx, tg, ring(t).host, crypto.Fast)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// stored is a chunk that was added, and where.
type stored struct {
	class Class
	loc   Loc
	data  []byte
}

func add(t testing.TB, w *Writer, class Class, data []byte) stored {
	t.Helper()
	loc, err := w.Add(class, data)
	if err != nil {
		t.Fatal(err)
	}
	if loc.Len != len(data) || [12]byte(loc.Frame[:12]) != w.Run() {
		t.Fatalf("%d bytes are at %+v", len(data), loc)
	}
	return stored{class, loc, data}
}

func finish(t testing.TB, w *Writer) []Pack {
	t.Helper()
	packs, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return packs
}

// noLeak fails if goroutines that f started are still there when it is done.
func noLeak(t *testing.T, f func()) {
	t.Helper()
	before := runtime.NumGoroutine()
	f()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
}

// TestRoundTrip writes more than two packs of content, and trees, and reads everything back from many goroutines.
func TestRoundTrip(t *testing.T) {
	tg, _ := newTarget(t)
	r := rand.New(rand.NewPCG(1, 1))
	var all []stored
	var packs []Pack
	noLeak(t, func() {
		w := newWriter(t, t.Context(), tg)
		for total := 0; total < 36<<20; {
			class, n := Sealed, 1+r.IntN(64<<10)
			switch r.IntN(20) {
			case 0:
				class, n = Host, 1+r.IntN(300<<10)
			case 1:
				n = 1 + r.IntN(crypto.MaxFrame)
			}
			all = append(all, add(t, w, class, noise(r.Uint64(), n)))
			total += n
		}
		all = append(all, add(t, w, Sealed, make([]byte, crypto.MaxFrame)), add(t, w, Host, []byte{1}), add(t, w, Sealed, noise(1, frameTarget)))
		packs = finish(t, w)
		var size, added int64
		for _, p := range packs {
			size += p.Size
		}
		for _, s := range all {
			added += int64(len(s.data))
		}
		if w.Stored() != size || w.Added() != added {
			t.Errorf("stored %d of %d, added %d of %d", w.Stored(), size, w.Added(), added)
		}
	})
	checkPacks(t, tg, packs, all)
	b, err := EncodeIndex(packs)
	if err != nil {
		t.Fatal(err)
	}
	o, err := StoreDigest(t.Context(), tg, "index/", b)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := Digest(o.Name)
	index, err := LoadIndex(t.Context(), tg, []string{digest})
	if err != nil {
		t.Fatal(err)
	}
	rebuilt, err := RebuildIndex(t.Context(), tg)
	if err != nil || !slices.Equal(rebuilt.frames, sameOrder(index, rebuilt)) {
		t.Errorf("the index that was made anew from the packs differs: %v", err)
	}
	reader := NewReader(tg, index, ring(t).epoch)
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error { return readAll(t.Context(), reader, all, i) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	checkHost(t, NewReader(tg, index, ring(t).host.Index), all)
}

// checkPacks looks at the bytes of the packs.
func checkPacks(t *testing.T, tg target.Target, packs []Pack, all []stored) {
	t.Helper()
	classOf := map[crypto.ID]Class{}
	for _, s := range all {
		classOf[s.loc.Frame] = s.class
	}
	if len(packs) < 3 {
		t.Errorf("only %d packs", len(packs))
	}
	frames := map[crypto.ID]bool{}
	for _, p := range packs {
		b, err := ReadDigest(t.Context(), tg, PackName(p.Digest), maxPack)
		if err != nil || int64(len(b)) != p.Size || !strings.HasPrefix(string(b), packMagic) {
			t.Fatalf("pack %s: %d bytes, %v", p.Digest, len(b), err)
		}
		end := int64(len(packMagic))
		for _, f := range p.Frames {
			if f.Off != end || f.Len > crypto.MaxSealed || frames[f.ID] || classOf[f.ID] != classOf[p.Frames[0].ID] {
				t.Errorf("pack %s: frame %+v after %d", p.Digest, f, end)
			}
			if !bytes.HasPrefix(b[f.Off:], []byte("age-encryption.org/v1\n")) {
				t.Errorf("pack %s: no age file at %d", p.Digest, f.Off)
			}
			end += int64(f.Len)
			frames[f.ID] = true
		}
		if got, err := readFooter(t.Context(), tg, PackName(p.Digest), p.Size); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("the footer of pack %s: %v, error %v", p.Digest, got, err)
		}
		if end += int64(len(footer(p.Frames))); end != p.Size {
			t.Errorf("pack %s: frames end at %d of %d", p.Digest, end, p.Size)
		}
	}
	if len(frames) != len(classOf) {
		t.Errorf("%d frames in packs, %d were filled", len(frames), len(classOf))
	}
}

// readAll reads all chunks, each goroutine in an order of its own.
func readAll(ctx context.Context, r *Reader, all []stored, seed int) error {
	near := rand.New(rand.NewPCG(uint64(seed), 3)).IntN(len(all))
	for i := range 60 {
		s := all[(near+i)%len(all)]
		b, err := r.Chunk(ctx, s.loc, nil)
		if err != nil || !bytes.Equal(b, s.data) {
			return fmt.Errorf("chunk at %+v: %d bytes of %d: %w", s.loc, len(b), len(s.data), err)
		}
	}
	return nil
}

// checkHost reads as the backup host can: trees, and nothing else.
func checkHost(t *testing.T, r *Reader, all []stored) {
	t.Helper()
	sealed := 0
	for _, s := range all {
		if s.class == Sealed {
			if sealed++; sealed > 10 {
				continue
			}
		}
		b, err := r.Chunk(t.Context(), s.loc, nil)
		if s.class == Host && (err != nil || !bytes.Equal(b, s.data)) {
			t.Fatalf("host frame: %v", err)
		}
		if s.class == Sealed && (b != nil || !errors.Is(err, crypto.ErrDamaged)) {
			t.Fatalf("the host read content: %d bytes, %v", len(b), err)
		}
	}
}

func TestEmptyRun(t *testing.T) {
	tg, dir := newTarget(t)
	if packs := finish(t, newWriter(t, t.Context(), tg)); len(packs) != 0 {
		t.Errorf("%d packs of nothing", len(packs))
	}
	if _, err := os.Stat(filepath.Join(dir, "packs")); err == nil {
		t.Error("something was stored")
	}
}

func TestTooLargeChunk(t *testing.T) {
	tg, _ := newTarget(t)
	noLeak(t, func() {
		w := newWriter(t, t.Context(), tg)
		if _, err := w.Add(Sealed, make([]byte, crypto.MaxFrame+1)); err != nil {
			w.Abort()
			return
		}
		if _, err := w.Finish(); err == nil {
			t.Error("stored")
		}
	})
}

// fill adds n MiB of content until something fails, then ends the run.
func fill(w *Writer, n int) error {
	chunk := noise(7, 1<<20)
	for i := range n {
		binary.BigEndian.PutUint32(chunk, uint32(i))
		if _, err := w.Add(Sealed, chunk); err != nil {
			w.Abort()
			return err
		}
	}
	_, err := w.Finish()
	return err
}

// TestPutFails ends the run with the error of the store, wherever in the run it comes.
func TestPutFails(t *testing.T) {
	for name, fault := range map[string]faulty.Fault{"disk full": faulty.Full(1000), "refused": faulty.Fail(syscall.ENOSPC)} {
		for _, n := range []int{1, 20, 100} {
			t.Run(fmt.Sprintf("%s, %d MiB", name, n), func(t *testing.T) {
				tg, _ := newTarget(t)
				f := faulty.New(tg)
				f.Random(1, faulty.Chance{Method: faulty.Put, P: 1, Draw: faulty.Same(fault)})
				noLeak(t, func() {
					w := newWriter(t, t.Context(), f)
					if err := fill(w, n); !errors.Is(err, syscall.ENOSPC) {
						t.Errorf("error %v, want ENOSPC", err)
					}
					if n == 100 && w.Added() > 99<<20 {
						t.Error("the run went on although nothing could be stored")
					}
				})
			})
		}
	}
}

func TestPutCrashes(t *testing.T) {
	tg, _ := newTarget(t)
	for n := range 4 {
		f := faulty.New(tg)
		f.CrashAfter(n)
		noLeak(t, func() {
			err := fill(newWriter(t, t.Context(), f), 36) // three packs
			if n < 3 && !errors.Is(err, faulty.ErrCrashed) || n == 3 && err != nil {
				t.Errorf("crash after %d packs: %v", n, err)
			}
		})
	}
}

func TestAbort(t *testing.T) {
	for _, n := range []int{0, 1, 5, 20, 60} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			tg, _ := newTarget(t)
			noLeak(t, func() {
				w := newWriter(t, t.Context(), tg)
				for i := range n {
					add(t, w, Class(i%2), noise(uint64(i), 1<<20))
				}
				w.Abort()
			})
		})
	}
}

// TestHanging ends runs whose store never answers: by Abort, and by the caller's context.
func TestHanging(t *testing.T) {
	hang := faulty.Chance{Method: faulty.Put, P: 1, Draw: faulty.Same(faulty.Hang())}
	tg, _ := newTarget(t)
	noLeak(t, func() {
		f := faulty.New(tg)
		f.Random(1, hang)
		w := newWriter(t, t.Context(), f)
		for i := range 40 {
			add(t, w, Sealed, noise(uint64(i), 1<<20))
		}
		w.Abort()
	})
	noLeak(t, func() {
		f := faulty.New(tg)
		f.Random(1, hang)
		ctx, cancel := context.WithCancel(t.Context())
		w := newWriter(t, ctx, f)
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := fill(w, 200); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want Canceled", err)
		}
	})
	noLeak(t, func() {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWriter(t, ctx, tg)
		add(t, w, Sealed, []byte("x"))
		cancel()
		if packs, err := w.Finish(); err == nil {
			t.Errorf("a cancelled run made %d packs", len(packs))
		}
	})
}

// TestLyingStore stores what was not written; the digest in the name shows it.
func TestLyingStore(t *testing.T) {
	tg, _ := newTarget(t)
	f := faulty.New(tg)
	f.Queue(faulty.Put, faulty.Flip(99))
	w := newWriter(t, t.Context(), f)
	s := add(t, w, Sealed, noise(1, 1000))
	packs := finish(t, w)
	if _, err := ReadDigest(t.Context(), tg, PackName(packs[0].Digest), maxPack); !errors.Is(err, crypto.ErrDamaged) {
		t.Errorf("ReadDigest: %v", err)
	}
	for seed := range uint64(30) {
		f.Queue(faulty.Get, faulty.Garble(seed))
		if b, err := NewReader(f, NewIndex(packs), ring(t).epoch).Chunk(t.Context(), s.loc, nil); !errors.Is(err, crypto.ErrDamaged) && !errors.Is(err, crypto.ErrIdentity) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// sameOrder gives the frames of x as they are numbered in the order of packs of like.
func sameOrder(x, like *Index) []place {
	number := map[string]uint32{}
	for i, p := range like.packs {
		number[p.Digest] = uint32(i)
	}
	out := slices.Clone(x.frames)
	for i := range out {
		out[i].pack = number[x.packs[out[i].pack].Digest]
	}
	return out
}
