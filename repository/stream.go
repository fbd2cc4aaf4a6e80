package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"lifeboat/capture"
	"lifeboat/crypto"
	"lifeboat/internal/phrase"
	"lifeboat/internal/secretfile"
	"lifeboat/journal"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// Stream is a log to capture.
type Stream struct {
	Name   string // of the source
	Source snapshot.LogSource
	// Every is the least time between two objects on a copy.
	Every time.Duration
	// Opened is told where capture begins, Failed what is wrong with a copy and, with nil, that it goes on, and Gap behind which
	// position log is missing for good, so that no snapshot leads on to what follows: a new one must be taken.
	Opened func(at snapshot.Pos)
	Failed func(target string, err error)
	Gap    func(behind snapshot.Pos)
	// Unrecorded is told that the journal could not be told which segments stand: the log itself is not touched by that.
	Unrecorded func(error)
}

// recordEvery is how often the journal is told which segments stand.
const recordEvery = 15 * time.Minute

// CaptureLog stores the log of a source as it comes, until ctx or the log ends. It holds the lock of the state directory only
// for moments, so that backups go on beside it; there is one capture per source.
func CaptureLog(ctx context.Context, c Config, s Stream) (err error) {
	h := &Host{Config: c}
	if err := h.load(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return notInitialised(c.StateDir)
		}
		return err
	}
	lock, err := lockStream(c.StateDir, s.Name, h.keys.IDs.NewHasher().Source(s.Name))
	if err != nil {
		return err
	}
	defer lock.Close()
	job := capture.Job{Failed: s.Failed}
	for _, copied := range c.Copies {
		if copied.Err == nil {
			job.Targets = append(job.Targets, capture.Target{Name: copied.Name, Target: copied.Target, Every: s.Every})
		} else {
			s.Failed(copied.Name, copied.Err)
		}
	}
	if len(job.Targets) == 0 { // and the server hears nothing
		return fmt.Errorf("capture the log of %s: no target can be reached", s.Name)
	}
	chain, err := h.longest(ctx)
	if err != nil {
		return err
	}
	signer, err := h.logSigner(chain)
	if err != nil {
		return err
	}
	newest := h.latest(chain, s.Name)
	opaque := h.keys.IDs.NewHasher().Log(s.Name, newest.Log)
	last, err := h.captured(ctx, chain, opaque)
	if err != nil {
		return err
	}
	log, err := s.open(ctx, h, chain, last, newest, opaque)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if last != nil {
		log.Durable(last.To) // what waits for it need not wait for more
	}
	job.Source, job.System, job.Repository, job.Keys, job.Signer = opaque, log.System(), h.secrets.Repository, h.keys, signer
	job.SpoolDir, job.Durable = filepath.Join(c.StateDir, "spool", opaque), log.Durable
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	job.After = func() (uint64, error) {
		head, err := h.head()
		if err == nil {
			err = h.sameKeys() // looked at behind the head: a take-over changes them first
		}
		if errors.Is(err, errOtherKeys) {
			end(err)
		}
		return head, err
	}
	job.Straddling = func(ctx context.Context, at snapshot.Pos) ([]snapshot.LogEvent, error) {
		return h.straddling(ctx, opaque, at)
	}
	job.Genuine = func(ctx context.Context, t target.Target, o capture.Object) error {
		r, err := Open(ctx, t)
		if err != nil {
			return err
		}
		reader, err := capture.NewReader(t, r.Chain)
		if err != nil {
			return err
		}
		_, _, err = reader.Header(ctx, o)
		return err
	}
	stop := h.recording(ctx, opaque, s.Unrecorded)
	err = capture.Run(ctx, job, log.Pieces(ctx))
	if cause := context.Cause(ctx); errors.Is(cause, errOtherKeys) {
		err = cause
	}
	return errors.Join(err, stop())
}

func lockStream(dir, name, opaque string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "stream-"+opaque+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the stream: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("capture the log of %s: %w: it is being captured already", name, ErrLocked), f.Close())
	}
	return f, nil
}

// open opens the log where capture stopped; at the first time where the newest snapshot ends, so that the log goes on from it. What
// the server no longer has is a gap, which is recorded.
func (s *Stream) open(ctx context.Context, h *Host, chain *journal.Chain, last *capture.Header, newest *journal.SnapshotBody, opaque string) (snapshot.Log, error) {
	end, err := snapshot.ParsePos(newest.To)
	if err != nil {
		return nil, err
	}
	after := snapshot.LogEnd{System: newest.System, Pos: end}
	if last != nil {
		after = h.logEnd(last)
		after.Committed = h.committed(chain, opaque, last)
		after.Whole, err = h.whole(ctx, chain, opaque, last.To)
	}
	if err == nil && after.Same == nil {
		after.Manifest, err = h.manifest(ctx, newest)
	}
	if err != nil {
		return nil, err
	}
	from := after.Pos
	log, err := s.Source.OpenLog(ctx, after)
	if errors.Is(err, snapshot.ErrLogGone) {
		if log, err = s.Source.OpenLog(ctx, snapshot.LogEnd{System: after.System, Pos: snapshot.Pos{Line: after.Line}}); err != nil {
			return nil, err
		}
		r := journal.Record{Type: journal.Log, Log: &journal.LogBody{Source: opaque, From: from.String(), Gap: phrase.GapServer.Say()}}
		if err := recordLogSoon(ctx, h.Config, r); err != nil {
			return nil, errors.Join(err, log.Close())
		}
		s.Gap(from)
		from = snapshot.Pos{}
	} else if err == nil && last != nil {
		leads, lerr := h.leads(ctx, opaque, end, last.To)
		if lerr != nil {
			return nil, errors.Join(lerr, log.Close())
		}
		if !leads { // the snapshot that was to follow a gap never came
			s.Gap(end)
		}
	}
	if err == nil {
		s.Opened(from)
	}
	return log, err
}

// longest is the journal of the copy that reaches furthest; an error where none can be read.
func (h *Host) longest(ctx context.Context) (*journal.Chain, error) {
	var errs []error
	out := &journal.Chain{}
	for _, c := range h.Copies {
		if c.Err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", c.Name, c.Err))
			continue
		}
		r, err := Open(ctx, c.Target)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %s: %w", c.Name, err))
			continue
		}
		if r.Chain.RootKey() != h.secrets.RootKey {
			errs = append(errs, fmt.Errorf("target %s: %w: its root key is not the one that this host knows", c.Name, ErrNoRepository))
			continue
		}
		if r.Chain.Len() > out.Len() {
			out = r.Chain
		}
	}
	if out.Len() == 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// latest is the newest snapshot of a source; an empty one without any.
func (h *Host) latest(chain *journal.Chain, source string) *journal.SnapshotBody {
	if e := newestOf(chain, h.keys.IDs.NewHasher().Source(source)); e != nil {
		return e.Snapshot
	}
	return &journal.SnapshotBody{}
}

// logSigner signs what is captured. Nobody would believe the key of a host that another one took over from, or of a take-over that did not end.
func (h *Host) logSigner(chain *journal.Chain) (note.Signer, error) {
	signer, err := crypto.NewSigner(h.secrets.Repository, crypto.Writer, h.secrets.SigningSeed)
	if err != nil {
		return nil, err
	}
	head, err := h.head()
	if err != nil {
		return nil, err
	}
	if chain.Len() >= head && !journal.NewWriter(h.StateDir, h.secrets.Repository, signer, chain, h.Now, h.By).Certified() {
		return nil, notCertified(h.StateDir)
	}
	return signer, nil
}

// errOtherKeys ends a capture by keys that are not the host's any more: with the present ones it begins anew.
var errOtherKeys = errors.New("the keys of this host changed: a take-over, or a new epoch")

// sameKeys fails where the state directory has other keys than h was opened with.
func (h *Host) sameKeys() error {
	now, err := secretfile.ReadAll(filepath.Join(h.StateDir, secretsFile), "host secrets")
	if err == nil && !bytes.Equal(now, h.stored) {
		err = errOtherKeys
	}
	return err
}

// head is the number of the newest record that this host knows.
func (h *Host) head() (uint64, error) {
	head, err := journal.ReadHead(h.StateDir)
	return head.Seq, err
}

// recording tells the journal now and then which segments stand; stop does so once more.
func (h *Host) recording(ctx context.Context, opaque string, failed func(error)) (stop func() error) {
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(recordEvery):
				err := recordLog(ctx, h.Config, journal.Record{Type: journal.Log, Log: &journal.LogBody{Source: opaque}})
				if err != nil && ctx.Err() == nil && !errors.Is(err, ErrLocked) { // a backup is running: again next time
					failed(err)
				}
			}
		}
	})
	return func() error {
		close(done)
		wait.Wait()
		err := recordLog(context.WithoutCancel(ctx), h.Config, journal.Record{Type: journal.Log, Log: &journal.LogBody{Source: opaque}})
		if errors.Is(err, ErrLocked) {
			return nil // a backup is running: the next capture records it
		}
		return err
	}
}

// Released records that the server no longer keeps the log of a source: from where it was captured up to there is a gap.
func Released(ctx context.Context, c Config, source, reason string) error {
	h := &Host{Config: c}
	if err := h.load(); err != nil {
		return err
	}
	chain, err := h.longest(ctx)
	if err != nil {
		return err
	}
	newest := h.latest(chain, source)
	opaque := h.keys.IDs.NewHasher().Log(source, newest.Log)
	last, err := h.captured(ctx, chain, opaque)
	if err != nil {
		return err
	}
	r := journal.Record{Type: journal.Log, Reason: reason, Log: &journal.LogBody{Source: opaque, From: newest.To, Gap: phrase.GapSlot.Say()}}
	if last != nil {
		r.Log.From = last.To.String()
	}
	return recordLogSoon(ctx, c, r)
}

// recordLogSoon is recordLog as soon as nobody else works with the state directory.
func recordLogSoon(ctx context.Context, c Config, r journal.Record) error {
	for {
		err := recordLog(ctx, c, r)
		if !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// recordLog commits r with the segments of its source that stand on the first copy and in no record yet; without any, and
// without a gap, there is nothing to say.
func recordLog(ctx context.Context, c Config, r journal.Record) (err error) {
	c.Copies = slices.Clone(c.Copies)
	for i, copied := range c.Copies {
		c.Copies[i] = &Copy{Name: copied.Name, Target: copied.Target, Err: copied.Err}
	}
	h, err := OpenHost(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	first, err := h.primary()
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, e := range h.Chain().Entries() {
		if e.Log != nil {
			for _, o := range e.Objects {
				named[o.Name] = true
			}
		}
	}
	objects, err := capture.List(ctx, first.Target, r.Log.Source)
	if err != nil {
		return err
	}
	slices.SortFunc(objects, func(a, b capture.Object) int { return further(a.Name, b.Name) })
	reader, err := capture.NewReader(first.Target, h.Chain())
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.Kind != capture.Segment || named[o.String()] {
			continue
		}
		if _, _, err := reader.Header(ctx, o); err != nil {
			continue // not ours, or damaged: no reader takes it either
		}
		if len(r.Objects) == 0 && r.Log.From == "" {
			r.Log.From = o.From.String()
		}
		r.Log.To = o.To.String()
		r.Objects = append(r.Objects, target.Object{Name: o.String(), Size: o.Size})
	}
	if len(r.Objects) == 0 && r.Log.Gap == "" {
		return nil
	}
	if _, err := h.commit(ctx, first, r); err != nil {
		return err
	}
	return h.Replicate(ctx)
}
