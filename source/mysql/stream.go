package mysql

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"lifeboat/snapshot"
)

// The sizes in which the log is handed on, bytes: about, because an event is never cut.
const (
	pieceSize   = 1 << 20
	segmentSize = 16 << 20
)

// stream is the binary log of a server as it is written.
type stream struct {
	source *server
	ctx    context.Context // of its sessions
	cancel context.CancelFunc
	log    binaryLog
	line   uint64
	begin  uint64 // offset of the first byte that is handed on
	known  uint64 // up to there it was captured before
	dump   *dump
	clock  *session

	groups  groups
	from    uint64 // of the piece at hand
	data    []byte
	events  []snapshot.LogEvent
	segment uint64 // where the segment at hand begins

	mu      sync.Mutex
	moments []moment // that the log has not reached
	failed  error    // of whoever looks at the clock
	until   time.Time
}

// moment says that all that was committed before a time stands before an offset.
type moment struct {
	offset uint64
	time   time.Time
}

var _ snapshot.LogSource = (*Source)(nil)

// OpenLog implements snapshot.LogSource.
func (s *Source) OpenLog(ctx context.Context, end snapshot.LogEnd) (snapshot.Log, error) {
	at, err := parse(s.dsn, s.password)
	if err != nil {
		return nil, &Error{Op: "capture the log of", Server: "the source", Err: err, Hint: dsnHint}
	}
	t := &stream{source: at}
	t.ctx, t.cancel = context.WithCancel(ctx)
	if err := t.open(end); err != nil {
		return nil, errors.Join(describe("capture the log of", at, err), t.Close())
	}
	return t, nil
}

func (t *stream) open(end snapshot.LogEnd) (err error) {
	if t.clock, err = dial(t.ctx, t.source); err != nil {
		return err
	}
	t.clock.limit = silence
	if t.log, err = t.clock.binaryLog(); err != nil {
		return err
	}
	t.begin, t.line = t.log.at, max(end.Line, firstLine)
	if end.Offset != 0 {
		proven, turn, err := t.clock.goesOnFrom(t.ctx, t.log, end)
		switch {
		case err != nil:
			return err
		case turn != nil:
			t.line++
			t.begin = turn.offset
			t.events = []snapshot.LogEvent{{Kind: snapshot.Branch, Start: turn.offset, End: turn.offset, Time: time.Unix(0, 0), ID: turn.id.String()}}
		case !proven:
			return fmt.Errorf("%w: nothing is left in it that shows that it goes on from %s", snapshot.ErrLogGone, snapshot.FormatBinlog(end.Offset))
		default:
			t.begin, t.known = end.Offset, end.Offset
			if file, _ := snapshot.SplitBinlog(end.Whole); end.Whole != 0 && t.log.sizes[file] != 0 {
				t.begin = end.Whole
			}
		}
		if err := t.clock.readable(t.ctx, t.log, max(t.begin, t.known)); err != nil {
			return err
		}
	}
	t.from, t.segment = t.begin, t.begin
	return t.connect(t.begin)
}

// connect begins to read at an event, from a connection of its own.
func (t *stream) connect(from uint64) error {
	if t.dump != nil {
		t.dump.close()
		t.dump = nil
	}
	ses, err := dial(t.ctx, t.source)
	if err != nil {
		return err
	}
	t.groups = groups{}
	if t.dump, err = ses.beginDump(t.log.base, from, true); err != nil {
		ses.close()
	}
	return err
}

// System implements snapshot.Log: the log has a name and no other.
func (t *stream) System() string { return t.log.base }

// Durable implements snapshot.Log. The server knows nobody who waits for its log: how long it keeps that is in its configuration.
func (t *stream) Durable(snapshot.Pos) {}

// Close implements snapshot.Log.
func (t *stream) Close() error {
	t.cancel()
	if t.dump != nil {
		t.dump.close()
	}
	if t.clock != nil {
		t.clock.close()
	}
	return nil
}

// Pieces implements snapshot.Log.
func (t *stream) Pieces(ctx context.Context) iter.Seq2[snapshot.LogPiece, error] {
	return func(yield func(snapshot.LogPiece, error) bool) {
		stop := context.AfterFunc(ctx, t.cancel)
		defer stop()
		var watch sync.WaitGroup
		quit := make(chan struct{})
		watch.Go(func() { t.watch(quit) })
		defer watch.Wait()
		defer close(quit)
		defer t.cancel() // a server that says nothing would keep the watch waiting
		err := t.read(func(p snapshot.LogPiece) error {
			if !yield(p, nil) {
				return errStopped
			}
			return nil
		})
		if errors.Is(err, errStopped) {
			return
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		yield(snapshot.LogPiece{}, describe("capture the log of", t.source, err))
	}
}

// watch notes where the log ends at which time of the server's clock.
func (t *stream) watch(quit chan struct{}) {
	tick := time.NewTicker(signOfLife)
	defer tick.Stop()
	for {
		m, err := t.clock.moment()
		t.mu.Lock()
		if t.failed = err; err == nil {
			if len(t.moments) > 60 { // who reads is far behind
				t.moments = slices.Delete(t.moments, 30, 31)
			}
			t.moments = append(t.moments, m)
		}
		t.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-quit:
			return
		}
	}
}

// moment is the second before the server's time, which is over, and where its log ends behind it.
func (s *session) moment() (m moment, err error) {
	now, err := s.value("SELECT FLOOR(UNIX_TIMESTAMP(SYSDATE()))")
	if err != nil {
		return m, err
	}
	seconds, err := strconv.ParseInt(now, 10, 64)
	if err != nil {
		return m, fmt.Errorf("the server's time %q: %w", now, err)
	}
	rows, err := s.rows("SHOW MASTER STATUS")
	if err != nil {
		return m, err
	}
	if len(rows) != 1 {
		return m, errNoBinlog
	}
	file, err := number(rows[0][0])
	if err != nil {
		return m, err
	}
	pos, err := strconv.ParseUint(rows[0][1], 10, snapshot.BinlogBits)
	return moment{snapshot.BinlogOffset(file, pos), time.Unix(seconds-1, 0).UTC()}, err
}

// reached returns the newest time up to which all is in the log before an offset; zero where that is known already.
func (t *stream) reached(at uint64) (until time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.moments) && t.moments[n].offset <= at {
		until = t.moments[n].time
		n++
	}
	t.moments = t.moments[n:]
	if !until.After(t.until) {
		return time.Time{}, t.failed
	}
	t.until = until
	return until, t.failed
}

// read hands on what comes.
func (t *stream) read(emit func(snapshot.LogPiece) error) error {
	first := true
	for {
		r, err := t.dump.next()
		if err != nil {
			return err
		}
		switch {
		case r.kind == heartbeatEvent:
			if err := t.flush(emit, t.at(), false); err != nil {
				return err
			}
			continue
		case r.event == nil: // the next file
			if r.end <= t.begin {
				continue
			}
			if t.at() < t.known && r.end > t.known {
				return t.lost()
			}
			if err := t.flush(emit, r.end, true); err != nil {
				return err
			}
			continue
		}
		if first && r.start >= t.begin && !begins(r.kind) { // within a transaction: what it is stands before it
			file, _ := snapshot.SplitBinlog(t.begin)
			first = false
			if err := t.connect(snapshot.BinlogOffset(file, 0)); err != nil {
				return err
			}
			continue
		}
		first = false
		if err := t.take(r, emit); err != nil {
			return err
		}
	}
}

// begins reports whether an event stands outside of any transaction, or begins one.
func begins(kind byte) bool {
	const checkpointEvent = 161
	return slices.Contains([]byte{gtidEvent, formatEvent, rotateEvent, stopEvent, checkpointEvent, gtidListEvent}, kind)
}

// at is the offset behind the last byte that came.
func (t *stream) at() uint64 { return t.from + uint64(len(t.data)) }

// take takes an event in.
func (t *stream) take(r received, emit func(snapshot.LogPiece) error) error {
	t.groups.sum = t.dump.sum
	e, ended, err := t.groups.event(r.header, r.event, r.start, r.end)
	if err != nil {
		return err
	}
	if r.end <= t.begin {
		return nil
	}
	if at := t.at(); r.start != at {
		if file, pos := snapshot.SplitBinlog(at); pos != 0 || r.start != snapshot.BinlogOffset(file, uint64(len(binlogMagic))) {
			return fmt.Errorf("%w: an event at %s came where %s was due", errBinlog, snapshot.FormatBinlog(r.start), snapshot.FormatBinlog(at))
		}
		t.data = append(t.data, binlogMagic...)
	}
	if r.start < t.known && r.end > t.known {
		return t.lost()
	}
	t.data = append(t.data, r.event...)
	if ended && (e.Start >= t.begin || e.End > t.known) { // else whoever captured its end saw it
		t.events = append(t.events, e)
	}
	if ended || len(t.data) >= pieceSize {
		return t.flush(emit, t.at(), false)
	}
	return nil
}

// lost is the error for log that was captured, and is no longer in the server's.
func (t *stream) lost() error {
	return fmt.Errorf("%w: its log does not have what was captured up to %s", snapshot.ErrOther, snapshot.FormatBinlog(t.known))
}

// flush hands on what there is, up to an offset: at the end of a file further than the log goes.
func (t *stream) flush(emit func(snapshot.LogPiece) error, to uint64, ends bool) error {
	until, err := t.reached(t.at())
	if err != nil {
		return err
	}
	if len(t.data)+len(t.events) == 0 && until.IsZero() && !ends {
		return nil
	}
	p := snapshot.LogPiece{From: snapshot.Pos{Line: t.line, Offset: t.from}, To: snapshot.Pos{Line: t.line, Offset: to}, Data: t.data, Events: t.events, Until: until}
	p.Segment = ends || to-t.segment >= segmentSize
	if err := emit(p); err != nil {
		return err
	}
	if t.from = to; p.Segment {
		t.segment = to
	}
	t.data, t.events = t.data[:0], nil
	if cap(t.data) > 4*pieceSize {
		t.data = nil
	}
	return nil
}
