package repository_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/snapshot"
	"lifeboat/target/local"
)

// lake is a file of pages as it is after some rounds of changes: each of the first regions rounds changes pages in a region of its
// own, so that most of the tree is shared, and each later round a few pages everywhere, so that none is.
type lake struct {
	groups, regions, round int
	from                   int64 // what was read already
}

// Of a page, and of a group in pages; how many pages of a group its region's round changes: few enough to be laid over it.
const (
	lakePage    = 512
	lakeGroup   = 128
	lakeChanged = 56
)

func (l *lake) size() int64 { return int64(l.groups) * lakeGroup * lakePage }

// version is the round that changed a page last.
func (l *lake) version(page int64) int {
	group, at := int(page/lakeGroup), int(page%lakeGroup)
	if at%2 == 1 && at < 2*lakeChanged {
		if r := 1 + group*l.regions/l.groups; r <= l.round {
			return r
		}
	}
	if r := l.regions + 1 + at/2; at%2 == 0 && group%32 == 0 && r <= l.round {
		return r
	}
	return 0
}

func (l *lake) Read(b []byte) (int, error) {
	b = b[:min(int64(len(b))/lakePage*lakePage, l.size()-l.from)]
	if len(b) == 0 {
		return 0, io.EOF
	}
	for at := 0; at < len(b); at += lakePage {
		page := (l.from + int64(at)) / lakePage
		clear(b[at:][:lakePage])
		binary.BigEndian.PutUint64(b[at:], uint64(page)+1)
		binary.BigEndian.PutUint64(b[at+8:], uint64(l.version(page)))
	}
	l.from += int64(len(b))
	return len(b), nil
}

func (l lake) Open(context.Context, *snapshot.Prior) (snapshot.View, error) { return &l, nil }
func (l *lake) Summary() (snapshot.Summary, error)                          { return snapshot.Summary{}, nil }
func (l *lake) Size() int64                                                 { return l.size() }
func (l *lake) Close() error                                                { return nil }

func (l *lake) Items(context.Context) iter.Seq2[snapshot.Item, error] {
	return func(yield func(snapshot.Item, error) bool) {
		yield(snapshot.Item{Name: "lake.db", Kind: snapshot.Pages, PageSize: lakePage, Size: l.size(), Mode: 0o600, ModTime: time.Unix(0, 0), Body: l}, nil)
	}
}

// scaled is a repository with many chunks, in a directory.
type scaled struct {
	dir    string
	master age.Identity
	chunks int
	seqs   []uint64 // its snapshots, by round
}

func newScaled(t *testing.T, groups, regions, rounds int) *scaled {
	t.Helper()
	master, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s := &scaled{dir: t.TempDir(), master: master}
	to, err := crypto.ParseRecipients([]string{master.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := repository.Init(t.Context(), scaledConfig(t, s.dir), to)
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		d, err := h.Backup(t.Context(), repository.Backup{Name: "lake", Engine: "test", Source: lake{groups: groups, regions: regions, round: round}})
		if err != nil {
			t.Fatal(err)
		}
		s.seqs = append(s.seqs, d.Seq)
	}
	s.chunks = groups + groups*lakeChanged*min(rounds-1, regions)/regions + (groups+31)/32*max(rounds-1-regions, 0)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func scaledConfig(t *testing.T, dir string) repository.Config {
	t.Helper()
	to, err := local.Create(filepath.Join(dir, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() }) // nothing depends on it any more
	return repository.Config{StateDir: filepath.Join(dir, "state"), Now: clock.System, By: "test@host", Copies: []*repository.Copy{{Name: "disk", Target: to}}}
}

// wants restores a snapshot, which must be the lake after this round.
func (s *scaled) wants(t *testing.T, groups, regions, round int) {
	t.Helper()
	to, err := local.Open(filepath.Join(s.dir, "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	r, err := repository.Open(t.Context(), to)
	if err == nil {
		err = r.Unlock(t.Context(), []age.Identity{s.master})
	}
	if err != nil {
		t.Fatal(err)
	}
	var root journal.Ref
	for _, e := range r.Chain.Snapshots() {
		if e.Seq == s.seqs[round] {
			root = e.Snapshot.Root
		}
	}
	got, err := restored(t, r, root)
	if err != nil {
		t.Fatalf("s%d: %v", s.seqs[round], err)
	}
	l := &lake{groups: groups, regions: regions, round: round}
	want := make([]byte, l.size())
	if _, err := io.ReadFull(l, want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got["lake.db"], want) {
		t.Errorf("s%d is not what was backed up in round %d", s.seqs[round], round)
	}
}

// collectIn is the variable that makes TestScale collect in a directory, as a process whose memory is counted.
const collectIn = "LIFEBOAT_COLLECT_IN"

// scaleMemory is what a collection may need, whatever the repository, in KiB.
const scaleMemory = 256 << 10

// TestScale collects the garbage of a repository with many chunks, a million with LIFEBOAT_SOAK=1, in a process of its own, and
// restores what is left.
func TestScale(t *testing.T) {
	if dir := os.Getenv(collectIn); dir != "" {
		h, err := repository.OpenHost(t.Context(), scaledConfig(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("collected %+v\n", c)
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		fmt.Println("peak", strings.TrimSpace(strings.TrimSuffix(strings.SplitN(peak, "\n", 2)[0], "kB")))
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	groups, regions, rounds := 512, 8, 11
	if os.Getenv("LIFEBOAT_SOAK") != "" {
		groups, regions, rounds = 18_432, 16, 21
	}
	s := newScaled(t, groups, regions, rounds)
	h, err := repository.OpenHost(t.Context(), scaledConfig(t, s.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, round := range []int{regions / 2, rounds - 2} {
		if err := h.Forget(t.Context(), s.seqs[round], "a test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScale$")
	cmd.Env = append(os.Environ(), collectIn+"="+s.dir)
	begun := clock.System()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "collected ") {
		t.Fatalf("collect: %v: %s", err, out)
	}
	took := clock.System().Sub(begun)
	var peak int64 // of the process that collected: what the system says of it when it ended counts this one's memory, too
	_, text, _ := strings.Cut(string(out), "\npeak ")
	if _, err := fmt.Sscan(text, &peak); err != nil || peak > scaleMemory {
		t.Errorf("collecting needed %d KiB of memory, %v", peak, err)
	}
	t.Logf("%d chunks: %s, %s of processor time, %d MiB\n%s", s.chunks, took, cmd.ProcessState.UserTime(), peak>>10, out)
	for _, round := range []int{0, regions, rounds - 1} {
		s.wants(t, groups, regions, round)
	}
}
