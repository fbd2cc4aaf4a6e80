package journal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/internal/clock"
	"lifeboat/target"
)

// ErrPending is wrapped where a record was signed that no target took, or none can take now.
var ErrPending = errors.New("the last record that was signed is not stored yet")

// errLacks is why a target cannot take a pending record.
var errLacks = errors.New("the target lacks what must stand there before the record")

// Head is the newest record this host knows. It lives in the state directory, outside the catalog: a state directory that
// is older than the repository must be noticed.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

const (
	headFile    = "head.json"
	pendingFile = "pending"
)

// ReadHead reads the head from a state directory; fs.ErrNotExist where none was ever written.
func ReadHead(dir string) (h Head, err error) {
	b, err := os.ReadFile(filepath.Join(dir, headFile))
	if err != nil {
		return h, fmt.Errorf("read the journal's head: %w", err)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("read the journal's head: %s: %w", headFile, err)
	}
	return h, nil
}

// Writer appends records. There is one per repository; the caller holds the lock of the state directory.
type Writer struct {
	dir    string
	signer note.Signer
	chain  *Chain
	now    clock.Clock
	by     string
	repo   crypto.ID
	// From is the address or the terminal of who acts; empty where it is not known.
	From string
}

// NewWriter continues chain, which reaches the head of the state directory dir, in a repository. by names user and host.
func NewWriter(dir string, repository crypto.ID, signer note.Signer, chain *Chain, now clock.Clock, by string) *Writer {
	return &Writer{dir: dir, repo: repository, signer: signer, chain: chain, now: now, by: by}
}

// Certified reports whether this writer's key is the one that signs the next record.
func (w *Writer) Certified() bool {
	v := w.chain.writer
	return v == nil || v.Name() == w.signer.Name() && v.KeyHash() == w.signer.KeyHash()
}

// Chain is what was written so far.
func (w *Writer) Chain() *Chain { return w.chain }

// Commit completes r (number, chain, time, author), signs it and stores it on t, where everything that r names must
// stand already. When Commit returns nil, r is durable there and the state directory knows it. A record whose Commit failed
// may stand on t: Recover finishes it, so that no other record takes its number, and what comes next is made with it in mind.
func (w *Writer) Commit(ctx context.Context, t target.Target, r Record) (Entry, error) {
	if _, err := os.Lstat(filepath.Join(w.dir, pendingFile)); err == nil {
		return Entry{}, fmt.Errorf("commit: %w: finish it first", ErrPending)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Entry{}, fmt.Errorf("commit: %w", err)
	}
	w.complete(&r)
	raw, err := sign(&r, w.signer)
	if err != nil {
		return Entry{}, err
	}
	next := *w.chain
	if err := next.Append(raw); err != nil {
		return Entry{}, fmt.Errorf("commit: refused by our own check: %w", err)
	}
	if err := w.PutBundles(ctx, t, w.chain.Len()); err != nil {
		return Entry{}, err
	}
	if err := atomicfile.Write(filepath.Join(w.dir, pendingFile), raw, 0o600); err != nil {
		return Entry{}, fmt.Errorf("commit: %w", err)
	}
	if err := w.store(ctx, t, &next, raw); err != nil {
		return Entry{}, err
	}
	return w.chain.entries[r.Seq-1], nil
}

func (w *Writer) complete(r *Record) {
	now := w.now.Now().UTC()
	r.Format, r.Repository, r.Seq, r.Prev, r.Time = 1, w.repo, w.chain.Len()+1, w.chain.Head(), now
	if r.By == "" { // otherwise it was noted, by somebody else
		r.By, r.From = w.by, w.From
	}
	if last := w.chain.Time(); last.After(now) && r.Type != Clock {
		r.Time, r.HostClock = last, &now
	}
}

// store puts the pending record on t and makes it the head.
func (w *Writer) store(ctx context.Context, t target.Target, next *Chain, raw []byte) error {
	if err := target.Store(ctx, t, Name(next.Len()), raw); err != nil {
		if errors.Is(err, target.ErrConflict) {
			err = fmt.Errorf("%w: %w", ErrForeign, err)
		}
		return fmt.Errorf("commit record %d, which the next command will finish: %w", next.Len(), err)
	}
	return w.adopt(next)
}

// adopt makes next, which stands on a target, the state of this host.
func (w *Writer) adopt(next *Chain) error {
	if err := WriteHead(w.dir, next); err != nil {
		return err
	}
	*w.chain = *next
	if err := os.Remove(filepath.Join(w.dir, pendingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// WriteHead records in the state directory that c is the journal as this host knows it.
func WriteHead(dir string, c *Chain) error {
	b, err := json.Marshal(Head{c.Len(), c.Head()})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, headFile), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the journal's head: %w", err)
	}
	return nil
}

// DiscardPending forgets a record that an earlier run could not store. Only a take-over may: the new certificate makes
// that record invalid for ever.
func DiscardPending(dir string) error {
	if err := os.Remove(filepath.Join(dir, pendingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discard the pending record: %w", err)
	}
	return nil
}

// Recover finishes what a run that died left: its record either stands on a target or is stored now, with the same bytes.
func (w *Writer) Recover(ctx context.Context, targets []target.Target) error {
	raw, err := os.ReadFile(filepath.Join(w.dir, pendingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the pending record: %w", err)
	}
	next := *w.chain
	if err := next.Append(raw); err != nil {
		if n := w.chain.Len(); n > 0 && Hash(raw) == w.chain.Head() {
			return DiscardPending(w.dir) // it was adopted; only its removal was lost
		}
		return fmt.Errorf("pending record: %w", err)
	}
	e := next.entries[next.Len()-1]
	var errs []error
	for _, t := range targets {
		ok, err := w.ready(ctx, t, e)
		if err == nil && ok {
			if err = w.store(ctx, t, &next, raw); err == nil {
				return nil
			}
		}
		errs = append(errs, cmp.Or(err, errLacks))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("no target can be reached"))
	}
	return fmt.Errorf("record %d: %w: %w", e.Seq, ErrPending, errors.Join(errs...))
}

// ready tells whether t holds everything that must stand there before e, or e itself.
func (w *Writer) ready(ctx context.Context, t target.Target, e Entry) (bool, error) {
	if ok, err := has(ctx, t, e); ok || err != nil {
		return ok, err
	}
	n, err := Position(ctx, t, w.chain)
	if err != nil || n != w.chain.Len() {
		return false, err
	}
	for _, o := range e.Objects {
		if ok, err := target.Has(ctx, t, o); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// PutBundles stores on t the bundle that ends at record n, where one does: before record n+1 stands.
func (w *Writer) PutBundles(ctx context.Context, t target.Target, n uint64) error {
	if n == 0 || n%bundleSize != 0 {
		return nil
	}
	b, err := w.chain.bundle(n, w.signer)
	if err != nil || b == nil {
		return err
	}
	if err := target.Store(ctx, t, bundleName(n), b); err != nil && !errors.Is(err, target.ErrConflict) {
		return fmt.Errorf("store the journal's bundle: %w", err)
	}
	return nil
}
