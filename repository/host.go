package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"lifeboat/catalog"
	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/internal/clock"
	"lifeboat/internal/secretfile"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/target"
)

// ErrLocked is wrapped where another process works with the state directory.
var ErrLocked = errors.New("another lifeboat works with this state directory")

// ErrNotInitialised is wrapped where a state directory holds no repository.
var ErrNotInitialised = errors.New("not initialised")

// Files of the state directory.
const (
	secretsFile = "secrets.json"
	lockFile    = "lock"
	catalogFile = "catalog.db"
	mapsDir     = "pagemaps"
)

// Copy is one target of a repository, and how far its copy is.
type Copy struct {
	Name   string
	Target target.Target
	// Position is how many records stand there; Err why that is unknown.
	Position uint64
	Err      error
	// Damaged is how many objects the last full check found damaged there, where they were not healed since.
	Damaged int
	// Emptied is set where the marker stood and none of the records that had been stored there.
	Emptied bool
	// Weak has a sentence for each thing that init found missing there.
	Weak []string
}

// Config is what a host needs to know.
type Config struct {
	StateDir string
	Copies   []*Copy
	Now      clock.Clock
	By       string // user and host, for the journal
	From     string // address or terminal of who acts, for the journal; empty where it is not known
	// Memory, which may be nil, spares verifying the journal again.
	Memory *Memory
	// Warn, which may be nil, is told what went wrong beside what was asked for.
	Warn func(error)
	// Progress, which may be nil, is told how far a copy is that follows, in bytes; from several goroutines.
	Progress func(target string, done, total int64)
}

// Host is a repository as its only writer sees it. It holds the lock of the state directory until Close.
type Host struct {
	Config
	// Unentered says of drill hosts why not all that they did was entered; Enter sets it.
	Unentered map[crypto.Role]error

	secrets *crypto.HostSecrets
	stored  []byte // secrets, as they were read
	keys    *crypto.HostKeys
	writer  *journal.Writer
	catalog *catalog.Catalog
	lock    *os.File
	telling sync.Mutex
	tallies map[string]*tally // of copies that follow
}

// OpenHost locks the state directory, finishes what a dead run left, and looks at every target. A target that cannot be
// reached is noted in its Copy; one with records that this host does not know is an error that wraps journal.ErrForeign.
func OpenHost(ctx context.Context, c Config) (_ *Host, err error) {
	if _, err := os.Stat(filepath.Join(c.StateDir, secretsFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, notInitialised(c.StateDir)
	}
	h := &Host{Config: c}
	if h.lock, err = lockState(c.StateDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if err := h.load(); err != nil {
		return nil, err
	}
	chain, err := h.chain(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.begin(chain); err != nil {
		return nil, err
	}
	if !h.writer.Certified() {
		return nil, notCertified(c.StateDir)
	}
	if err := h.writer.Recover(ctx, h.targets()); err != nil {
		if errors.Is(err, journal.ErrPending) {
			err = fmt.Errorf("%w\n%s", err, repairOrTakeOver)
		}
		return nil, err
	}
	if err := h.followEpoch(); err != nil {
		return nil, err
	}
	if err := h.look(ctx); err != nil {
		return nil, err
	}
	if err := h.mend(ctx); err != nil {
		return nil, err
	}
	if err := h.remember(chain); err != nil {
		return nil, err
	}
	return h, h.merge(ctx)
}

// mend stores the newest records again where no copy has them any more, but one still has everything that they name: they
// were lost, or somebody cut the journals back. The catalog has them.
func (h *Host) mend(ctx context.Context) error {
	for _, c := range h.Copies {
		if c.Err == nil && c.Position == h.Chain().Len() {
			return nil
		}
	}
	for _, c := range h.Copies {
		if c.Err != nil || c.Position == 0 {
			continue
		}
		if c.Err = h.mendCopy(ctx, c); c.Err == nil && c.Position == h.Chain().Len() {
			return nil
		}
	}
	return ctx.Err()
}

func (h *Host) mendCopy(ctx context.Context, c *Copy) error {
	fates, seen := fatesIn(h.Chain()), map[uint64]bool{}
	for _, e := range h.Chain().Entries()[c.Position:] {
		whole := true
		err := fates.needs(e, seen, func(o target.Object) error {
			ok, err := target.Has(ctx, c.Target, o)
			whole = whole && ok
			return err
		})
		if err != nil || !whole {
			return err
		}
		if err := h.writer.PutBundles(ctx, c.Target, e.Seq-1); err != nil {
			return err
		}
		if err := target.Store(ctx, c.Target, journal.Name(e.Seq), e.Raw); err != nil {
			return fmt.Errorf("store record %d again: %w", e.Seq, err)
		}
		c.Position = e.Seq
	}
	return nil
}

func notInitialised(dir string) error {
	if IsDrillHost(dir) {
		return fmt.Errorf("%w: %s is the state directory of a drill host, which only reads: do this on the backup host", restore.ErrRefused, dir)
	}
	return fmt.Errorf("state directory %s: %w: `lifeboat init` starts a new repository, `lifeboat init --take-over --identity FILE` adopts an existing one", dir, ErrNotInitialised)
}

func notCertified(dir string) error {
	return fmt.Errorf("state directory %s: %w: its key does not sign for the repository: a take-over did not end, or another host took over; `lifeboat init --take-over --identity FILE` makes this host the writer", dir, ErrNotInitialised)
}

func lockState(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid := make([]byte, 20)
		n, _ := f.Read(pid) // only for the message
		_ = f.Close()
		who := strings.TrimSpace(string(pid[:n]))
		return nil, fmt.Errorf("state directory %s: %w (process %s): wait for it and repeat", dir, ErrLocked, cmp.Or(who, "unknown"))
	}
	// The lock is held: no other run is writing a file, but for a daemon.
	if err := atomicfile.Clean(dir, func(name string) bool { return !slices.Contains(DaemonFiles, name) }); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_ = f.Truncate(0)                                           // the number is for people;
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // the lock is what counts
	return f, nil
}

// DaemonFiles are those files of the state directory that a daemon writes, without the lock of the state directory.
var DaemonFiles = []string{"daemon.json", "notify.json"}

// Close releases the lock.
func (h *Host) Close() error {
	if h.lock == nil {
		return nil
	}
	if h.writer != nil {
		h.Memory.remember(h.Chain())
	}
	return h.lock.Close()
}

// load reads the host's secrets.
func (h *Host) load() (err error) {
	path := filepath.Join(h.StateDir, secretsFile)
	b, err := secretfile.ReadAll(path, "host secrets")
	if err != nil {
		return err
	}
	if h.secrets, err = crypto.ParseHostSecrets(b); err != nil {
		return fmt.Errorf("%s: %w: bring the state back with `lifeboat init --take-over --identity FILE`", path, err)
	}
	h.stored = b
	h.keys, err = h.secrets.Keys()
	return err
}

func (h *Host) saveSecrets() error {
	b, err := json.Marshal(h.secrets)
	if err != nil {
		return fmt.Errorf("encode host secrets: %w", err)
	}
	return atomicfile.Write(filepath.Join(h.StateDir, secretsFile), append(b, '\n'), 0o600)
}

func (h *Host) targets() []target.Target {
	var out []target.Target
	for _, c := range h.Copies {
		if c.Err == nil {
			out = append(out, c.Target)
		}
	}
	return out
}

// begin makes the writer that continues chain.
func (h *Host) begin(chain *journal.Chain) error {
	signer, err := crypto.NewSigner(h.secrets.Repository, crypto.Writer, h.secrets.SigningSeed)
	if err != nil {
		return err
	}
	h.catalog = catalog.New(filepath.Join(h.StateDir, catalogFile), h.keys.IDs)
	h.writer = journal.NewWriter(h.StateDir, h.secrets.Repository, signer, chain, h.Now, h.By)
	h.writer.From = h.From
	return os.MkdirAll(filepath.Join(h.StateDir, mapsDir), 0o700)
}

// chain returns the journal up to the head of the state directory: from the catalog, or else from a target.
func (h *Host) chain(ctx context.Context) (*journal.Chain, error) {
	head, err := journal.ReadHead(h.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notInitialised(h.StateDir)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("state directory %s: %w: run lifeboat as its owner; where another user ran it meanwhile, give all of it back with chown -R", h.StateDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w: bring it back with `lifeboat init --take-over --identity FILE`", h.StateDir, err)
	}
	if c := h.Memory.recall(head); c != nil {
		return c, nil
	}
	cat := catalog.New(filepath.Join(h.StateDir, catalogFile), h.keys.IDs)
	if raws, err := cat.Records(); err == nil {
		if c := reach(raws, head); c != nil {
			return c, nil
		}
	}
	if err := cat.Reset(); err != nil {
		return nil, err
	}
	var errs []error
	foreign := false
	for _, copied := range h.Copies {
		if copied.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", copied.Name, copied.Err))
			continue
		}
		c := &journal.Chain{}
		if err := journal.Extend(ctx, copied.Target, c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", copied.Name, err))
		}
		var raws [][]byte
		for _, e := range c.Entries() {
			raws = append(raws, e.Raw)
		}
		if c := reach(raws, head); c != nil {
			return c, nil
		}
		foreign = foreign || c.Len() >= head.Seq
		errs = append(errs, fmt.Errorf("%s holds %d records", copied.Name, c.Len()))
	}
	if foreign {
		errs = append(errs, journal.ErrForeign)
	}
	return nil, fmt.Errorf("no target holds the journal up to record %d as this state directory knows it: %w", head.Seq, errors.Join(errs...))
}

// reach returns the chain of raws that ends in head, nil if they do not lead there.
func reach(raws [][]byte, head journal.Head) *journal.Chain {
	if uint64(len(raws)) < head.Seq {
		return nil
	}
	c := &journal.Chain{}
	for _, raw := range raws[:head.Seq] {
		if c.Append(raw) != nil {
			return nil
		}
	}
	if c.Head() != head.Hash {
		return nil
	}
	return c
}

// look finds out how far each copy is, of all at once: one that does not answer takes its time.
func (h *Host) look(ctx context.Context) error {
	var wait sync.WaitGroup
	for _, c := range h.Copies {
		if c.Err == nil {
			wait.Go(func() { c.Err = h.lookAt(ctx, c) })
		}
	}
	wait.Wait()
	for _, c := range h.Copies {
		if errors.Is(c.Err, journal.ErrForeign) {
			return fmt.Errorf("target %s: %w: another host writes to this repository, or this state directory is a copy or older than it: stop the other host; `lifeboat init --take-over --identity FILE` makes this host the writer", c.Name, c.Err)
		}
	}
	return ctx.Err()
}

func (h *Host) lookAt(ctx context.Context, c *Copy) error {
	c.Damaged = len(h.Damaged(c.Name))
	m, err := readMarker(ctx, c.Target)
	if err != nil {
		return err
	}
	if m.Repository != h.secrets.Repository {
		return foreignMarker(m, h.secrets.Repository)
	}
	c.Position, err = journal.Position(ctx, c.Target, h.writer.Chain())
	if errors.Is(err, journal.ErrBroken) {
		return fmt.Errorf("%w: %s", err, anew)
	}
	if err != nil {
		return err
	}
	c.Emptied = c.Position == 0
	return h.sound(ctx, c)
}

// remember adds to the catalog what it lacks of the journal. A catalog that cannot be used is made anew.
func (h *Host) remember(chain *journal.Chain) error {
	var err error
	for range 2 {
		var raws [][]byte
		raws, err = h.catalog.Records()
		if err == nil && uint64(len(raws)) <= chain.Len() {
			var more [][]byte
			for _, e := range chain.Entries()[len(raws):] {
				more = append(more, e.Raw)
			}
			if err = h.catalog.AddRecords(uint64(len(raws))+1, more); err == nil {
				return nil
			}
		}
		if errors.Is(err, unix.ENOSPC) {
			return err
		}
		if err := h.catalog.Reset(); err != nil {
			return err
		}
	}
	return err
}

// Chain is the journal as this host knows it.
func (h *Host) Chain() *journal.Chain { return h.writer.Chain() }

// Reader reads a copy with the host's own keys: trees, but no content.
func (h *Host) Reader(ctx context.Context, c *Copy) (*Reader, error) {
	r := &Reader{Target: c.Target, Chain: h.Chain(), names: map[string]Source{}}
	return r, r.unlock(ctx, h.keys.IDs, h.keys.Index)
}

// HostKeys reads the secrets of a state directory, for reading trees without its lock.
func HostKeys(dir string) (*crypto.HostKeys, error) {
	h := &Host{Config: Config{StateDir: dir}}
	if err := h.load(); err != nil {
		return nil, err
	}
	return h.keys, nil
}

// UnlockHost opens what the backup host can open: trees, but no content.
func (r *Reader) UnlockHost(ctx context.Context, keys *crypto.HostKeys) error {
	if keys.Root != r.Chain.RootKey() {
		return fmt.Errorf("%w: its root key is not the one that this host knows: the copy is of another repository, or forged", ErrNoRepository)
	}
	return r.unlock(ctx, keys.IDs, keys.Index)
}

// repairOrTakeOver is what to do where the only copy of what was written last does not answer.
const repairOrTakeOver = "either repair the target that holds it, or, if that is lost for good, `lifeboat init --take-over --identity FILE` goes on from what is left"

// primary is the first copy that holds the whole journal: what is new is written there first.
func (h *Host) primary() (*Copy, error) {
	var why []error
	behind := false
	for _, c := range h.Copies {
		if c.Err == nil && c.Position == h.Chain().Len() {
			return c, nil
		}
		err := c.Err
		if err == nil {
			err = fmt.Errorf("it holds %d of %d records", c.Position, h.Chain().Len())
			behind = true
		}
		why = append(why, fmt.Errorf("%s: %w", c.Name, err))
	}
	if behind {
		return nil, fmt.Errorf("no target holds what this host wrote last: %w\n%s", errors.Join(why...), repairOrTakeOver)
	}
	return nil, fmt.Errorf("no target can take a backup: %w", errors.Join(why...))
}

// commit appends a record on the primary copy.
func (h *Host) commit(ctx context.Context, c *Copy, r journal.Record) (journal.Entry, error) {
	return h.commitOn(ctx, c, c.Target, r)
}

// commitOn is commit by way of t, which leads to the copy.
func (h *Host) commitOn(ctx context.Context, c *Copy, t target.Target, r journal.Record) (journal.Entry, error) {
	e, err := h.writer.Commit(ctx, t, r)
	if err != nil {
		return e, err
	}
	c.Position = e.Seq
	return e, h.remember(h.Chain())
}
