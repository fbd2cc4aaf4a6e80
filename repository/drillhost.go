package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"filippo.io/age"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/internal/secretfile"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/target"
	"lifeboat/target/local"
)

// Files of the state directory of a drill host.
const (
	drillHostFile = "drill-host.json"
	ownDir        = "journal" // its journal, as a target
)

// belowOf is where the journal of a drill host stands on a target.
func belowOf(t target.Target, role crypto.Role) target.Target {
	return target.Below(t, "hosts/"+string(role)+"/")
}

// DrillHost is a host that reads and drills, and keeps a journal of what it did. It holds the lock of its state directory until Close.
type DrillHost struct {
	Config
	// Repository is what the copies hold; it is read and never written.
	Repository *Reader
	// Pushed says of each copy why the journal of this host could not be brought there; nil: it stands there.
	Pushed map[string]error

	secrets *crypto.DrillSecrets
	own     *local.Target
	writer  *journal.Writer
	lock    *os.File
}

// Enrol makes a state directory that of a new drill host of the repository that r reads, and returns the key that the root has to certify. Done again, it
// returns the same key.
func Enrol(stateDir string, r *Reader, name string) (key string, err error) {
	role, err := crypto.DrillRole(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(filepath.Join(stateDir, secretsFile)); !errors.Is(err, fs.ErrNotExist) {
		return "", errors.Join(fmt.Errorf("%w: %s is the state directory of a backup host: a drill host needs one of its own", restore.ErrRefused, stateDir), err)
	}
	s, err := drillSecrets(stateDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if r.Chain.DrillHost(role) != nil {
			return "", fmt.Errorf("%w: the repository knows another drill host %s: a name is never used again: choose another", restore.ErrRefused, name)
		}
		s = crypto.NewDrillSecrets(r.Chain.Repository(), role, r.Chain.RootKey())
		if err := makeState(stateDir); err != nil {
			return "", err
		}
		if err := saveDrillSecrets(stateDir, s); err != nil {
			return "", err
		}
	case err != nil:
		return "", err
	case s.Role != role || s.Repository != r.Chain.Repository() || s.RootKey != r.Chain.RootKey():
		return "", fmt.Errorf("%w: %s is the state directory of the drill host %s of repository %s: choose another", restore.ErrRefused, stateDir, s.Role, s.Repository)
	}
	return s.Key()
}

// IsDrillHost reports whether a state directory is that of a drill host.
func IsDrillHost(stateDir string) bool {
	_, err := os.Lstat(filepath.Join(stateDir, drillHostFile))
	return err == nil
}

// DrillRoot is the root key that a drill host knows; empty where it is none.
func DrillRoot(stateDir string) string {
	s, err := drillSecrets(stateDir)
	if err != nil {
		return ""
	}
	return s.RootKey
}

func drillSecrets(stateDir string) (*crypto.DrillSecrets, error) {
	path := filepath.Join(stateDir, drillHostFile)
	b, err := secretfile.ReadAll(path, "secrets of this drill host")
	if err != nil {
		return nil, err
	}
	s, err := crypto.ParseDrillSecrets(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: bring it back from elsewhere, or enrol this host anew under another name, with another state directory", path, err)
	}
	return s, nil
}

func saveDrillSecrets(stateDir string, s *crypto.DrillSecrets) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the secrets of this drill host: %w", err)
	}
	return atomicfile.Write(filepath.Join(stateDir, drillHostFile), append(b, '\n'), 0o600)
}

// OpenDrillHost opens the state directory of a drill host for which the root's certificate stands in the repository that r reads, records what was noted, and
// brings its journal to the copies that take it. Errors wrap ErrLocked, and restore.ErrRefused where the key does not count.
func OpenDrillHost(ctx context.Context, c Config, r *Reader) (_ *DrillHost, err error) {
	h := &DrillHost{Config: c, Repository: r, Pushed: map[string]error{}}
	if h.lock, err = lockState(c.StateDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.secrets, err = drillSecrets(c.StateDir); err != nil {
		return nil, err
	}
	if err := h.certified(); err != nil {
		return nil, err
	}
	if h.own, err = local.Create(filepath.Join(c.StateDir, ownDir)); err != nil {
		return nil, err
	}
	if err := h.begin(ctx); err != nil {
		return nil, err
	}
	if err := h.writer.Recover(ctx, []target.Target{h.own}); err != nil {
		return nil, err
	}
	if err := h.push(ctx); err != nil { // before anything is recorded: a copy may know more of this host than it does itself
		return nil, err
	}
	if err := h.merge(ctx, h.writer.Chain(), h.secrets.Repository, h.record); err != nil {
		return nil, err
	}
	return h, h.push(ctx)
}

// Close releases the lock.
func (h *DrillHost) Close() error {
	if h.own != nil {
		_ = h.own.Close() // what it holds was durable before
	}
	return h.lock.Close()
}

// certified looks for the certificate, and keeps it.
func (h *DrillHost) certified() error {
	s, chain := h.secrets, h.Repository.Chain
	if err := mayDrill(s, chain); err != nil {
		return err
	}
	if known := chain.DrillHost(s.Role); known != nil && s.Certificate != known.Certificate {
		s.Certificate = known.Certificate
		return saveDrillSecrets(h.StateDir, s)
	}
	return nil
}

// MaySign refuses where what the host of a state directory signs would not count by a journal. Errors wrap restore.ErrRefused.
func MaySign(stateDir string, chain *journal.Chain) error {
	s, err := drillSecrets(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is the writer, or none
	}
	if err != nil {
		return err
	}
	return mayDrill(s, chain)
}

func mayDrill(s *crypto.DrillSecrets, chain *journal.Chain) error {
	if s.Repository != chain.Repository() || s.RootKey != chain.RootKey() {
		return fmt.Errorf("%w: this drill host is one of repository %s, and the copies are of another", ErrNoRepository, s.Repository)
	}
	key, err := s.Key()
	if err != nil {
		return err
	}
	known := chain.DrillHost(s.Role)
	switch {
	case known == nil && s.Certificate == "":
		return fmt.Errorf("%w: nobody has certified this drill host yet, or no copy that answers says so: on the backup host, `lifeboat keys certify %s --identity FILE`", restore.ErrRefused, key)
	case known == nil:
		return nil // the copies that answer are behind
	case known.Key != key:
		return fmt.Errorf("%w: the root certified another key for %s: enrol this host under another name", restore.ErrRefused, s.Role)
	case known.Revoked > 0:
		return fmt.Errorf("%w: the key of this drill host was revoked, by record %d: enrol it anew under another name, with another state directory", restore.ErrRefused, known.Revoked)
	}
	return nil
}

// begin makes the writer of the journal, which must reach as far as the state directory knows.
func (h *DrillHost) begin(ctx context.Context) error {
	chain, err := h.chain(ctx)
	if err != nil {
		return err
	}
	signer, err := crypto.NewSigner(h.secrets.Repository, h.secrets.Role, h.secrets.SigningSeed)
	if err != nil {
		return err
	}
	h.writer = journal.NewWriter(h.StateDir, h.secrets.Repository, signer, chain, h.Now, h.By)
	h.writer.From = h.From
	return nil
}

func (h *DrillHost) chain(ctx context.Context) (*journal.Chain, error) {
	chain, err := journal.DrillChain(h.secrets.Repository, h.secrets.RootKey, h.secrets.Certificate)
	if err != nil {
		return nil, err
	}
	if err := journal.Extend(ctx, h.own, chain); err != nil {
		return nil, fmt.Errorf("read the journal of this drill host in %s: %w: bring it back from a backup of this host, or enrol it anew under another name, with another state directory", filepath.Join(h.StateDir, ownDir), err)
	}
	head, err := journal.ReadHead(h.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	known := uint64(0) // to the writer
	if k := h.Repository.Chain.DrillHost(h.secrets.Role); k != nil {
		known = k.Chain.Len()
		if n := min(known, chain.Len()); n > 0 && !bytes.Equal(k.Chain.Entries()[n-1].Raw, chain.Entries()[n-1].Raw) {
			return nil, fmt.Errorf("%w: the writer has entered another record %d of %s than this host has: another host uses its key", journal.ErrForeign, n, h.secrets.Role)
		}
	}
	switch {
	case chain.Len() >= max(head.Seq, known) && (head.Seq == 0 || journal.Hash(chain.Entries()[head.Seq-1].Raw) == head.Hash):
		return chain, nil
	case known > chain.Len():
		err = fmt.Errorf("%d were entered by the writer", known)
	}
	return nil, errors.Join(fmt.Errorf("%w: the state directory of this drill host was set back: its journal holds %d records, and %d were known: bring the newest state back, or enrol this host anew under another name, with another state directory",
		journal.ErrBroken, chain.Len(), max(head.Seq, known)), err)
}

// record enters in the own journal what was noted.
func (h *DrillHost) record(ctx context.Context, n Noted) error {
	r := n.record()
	if n.Document != nil {
		o, err := h.storeDocument(ctx, n.Document)
		if err != nil {
			return err
		}
		r.Objects = []target.Object{o}
	}
	_, err := h.writer.Commit(ctx, h.own, r)
	return err
}

// storeDocument seals a text to the present epoch, as the writer does.
func (h *DrillHost) storeDocument(ctx context.Context, text []byte) (o target.Object, err error) {
	epochs := h.Repository.Chain.Epochs()
	to, err := age.ParseHybridRecipient(epochs[len(epochs)-1])
	if err != nil {
		return o, err
	}
	sealed, err := crypto.SealDocument([]age.Recipient{to}, text)
	if err != nil {
		return o, err
	}
	return chunkstore.StoreDigest(ctx, h.own, documentPrefix, sealed)
}

// pushWithin is how long one copy may take; what is left comes with the next time.
const pushWithin = time.Minute

// push brings the journal to every copy that takes it, to all at once. One that this host may only read has none of it: that is no fault.
func (h *DrillHost) push(ctx context.Context) error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	for _, c := range h.Copies {
		wait.Go(func() {
			err := c.Err
			if err == nil {
				ctx, cancel := context.WithTimeout(ctx, pushWithin)
				err = h.follow(ctx, belowOf(c.Target, h.secrets.Role))
				cancel()
			}
			mu.Lock()
			defer mu.Unlock()
			h.Pushed[c.Name] = err
		})
	}
	wait.Wait()
	for name, err := range h.Pushed {
		if errors.Is(err, journal.ErrForeign) {
			return fmt.Errorf("target %s: %w: another host uses the key of %s, or this state directory was set back: enrol this host anew under another name, with another state directory", name, err, h.secrets.Role)
		}
	}
	return ctx.Err()
}

// Unheard says why no copy took the journal of this host; nil where one did.
func (h *DrillHost) Unheard() error {
	var why []error
	for _, name := range slices.Sorted(maps.Keys(h.Pushed)) {
		if h.Pushed[name] == nil {
			return nil
		}
		why = append(why, fmt.Errorf("target %s: %w", name, h.Pushed[name]))
	}
	return errors.Join(why...)
}

// ReadOnly reports whether a copy did not take the journal because this host may only read it, which is no fault.
func ReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// follow brings to a target what it lacks of the own journal, a record at a time. Of the record that the writer enters next the document is looked for, too: without
// it nothing behind it would be entered.
func (h *DrillHost) follow(ctx context.Context, to target.Target) error {
	chain := h.writer.Chain()
	n, err := journal.Position(ctx, to, chain)
	if err != nil {
		return err
	}
	next := uint64(0)
	if known := h.Repository.Chain.DrillHost(h.secrets.Role); known != nil {
		next = known.Chain.Len() + 1
	}
	for _, e := range chain.Entries() {
		if e.Seq <= n && e.Seq != next {
			continue
		}
		for _, o := range e.Objects {
			if err := copyDocument(ctx, h.own, to, o); err != nil {
				return err
			}
		}
		if e.Seq <= n {
			continue
		}
		if err := h.writer.PutBundles(ctx, to, e.Seq-1); err != nil {
			return err
		}
		if err := target.Store(ctx, to, journal.Name(e.Seq), e.Raw); err != nil {
			return fmt.Errorf("store record %d: %w", e.Seq, err)
		}
	}
	return nil
}

// copyDocument copies a document as it is sealed.
func copyDocument(ctx context.Context, from, to target.Target, o target.Object) error {
	if ok, err := target.Has(ctx, to, o); ok || err != nil {
		return err
	}
	b, err := chunkstore.ReadDigest(ctx, from, o.Name, crypto.MaxSealedDocument)
	if err != nil {
		return err
	}
	if int64(len(b)) != o.Size {
		return fmt.Errorf("%s has %d bytes, and its record says %d: %w", o.Name, len(b), o.Size, crypto.ErrDamaged)
	}
	return target.Store(ctx, to, o.Name, b)
}

// Opaque is what stands for a name in records.
func (h *DrillHost) Opaque(name string) string { return h.Repository.hasher.Source(name) }

// RecordPolicies records how the policies read on this host, where that is another way than before.
func (h *DrillHost) RecordPolicies(ctx context.Context, texts map[string][]byte) error {
	changed := changedPolicies(h.writer.Chain(), h.Opaque, texts)
	for _, n := range changed {
		if err := h.record(ctx, n); err != nil {
			return fmt.Errorf("record how the policies read on this host: %w", err)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return h.push(ctx)
}

// ownDrills are the drills in the journal of a drill host, which the writer may not have entered yet.
func ownDrills(stateDir string) (out []Drilled) {
	s, err := drillSecrets(stateDir)
	if err != nil || s.Certificate == "" {
		return nil
	}
	chain, err := journal.DrillChain(s.Repository, s.RootKey, s.Certificate)
	if err != nil {
		return nil
	}
	own, err := local.Open(filepath.Join(stateDir, ownDir))
	if err != nil {
		return nil // nothing was recorded yet
	}
	defer own.Close()
	_ = journal.Extend(context.Background(), own, chain) // what stands before a break counts; OpenDrillHost tells
	for _, d := range Drills(chain, nil) {
		out = append(out, Drilled{DrillBody: d.DrillBody, At: d.At, Host: s.Role})
	}
	return out
}
