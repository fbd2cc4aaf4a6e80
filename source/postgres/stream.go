package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"lifeboat/internal/clock"
	"lifeboat/snapshot"
)

// silence is how long a server may say nothing: it is asked for a sign of life well before.
const silence = 2 * time.Minute

// signOfLife is how often the server is asked for one, which also says up to when its log was received.
const signOfLife = 2 * time.Second

// maxStretch bounds what is handed on as one segment; servers with larger segments are read in parts.
const maxStretch = 16 << 20

// stream is the log of a cluster, read through a permanent slot.
type stream struct {
	*Source
	cfg     *pgconn.Config
	session *session
	at      snapshot.Pos // of the next byte
	stretch uint64       // bytes of a segment, or of a part of one
	branch  string       // history of the line, where it was just entered
	first   pgproto3.BackendMessage

	mu      sync.Mutex // of what is sent
	durable snapshot.Pos
}

var _ snapshot.LogSource = (*Source)(nil)

// OpenLog implements snapshot.LogSource. The slot is made where it is missing.
func (s *Source) OpenLog(ctx context.Context, end snapshot.LogEnd) (snapshot.Log, error) {
	cfg, err := parse(s.dsn, s.password)
	if err != nil {
		return nil, &Error{Op: "capture the log of", Server: "the source", Err: err, Hint: "write it as postgres://user@host:5432/database"}
	}
	t := &stream{Source: s, at: end.Pos}
	if err = t.open(ctx, cfg, end); err == nil {
		err = t.start()
	}
	if errors.Is(err, snapshot.ErrLogGone) {
		err = errors.Join(err, s.drop(ctx, t.cfg))
	}
	if err != nil {
		return nil, errors.Join(describe("capture the log of", cfg, err), t.Close())
	}
	return t, nil
}

func (t *stream) open(ctx context.Context, cfg *pgconn.Config, end snapshot.LogEnd) (err error) {
	if t.session, t.cfg, err = dialAny(ctx, cfg); err != nil {
		return err
	}
	t.stretch = uint64(min(t.session.segmentSize, maxStretch))
	if _, err := t.session.follows(ctx, t.cfg, end); err != nil {
		return err
	}
	if t.at.Offset == 0 {
		t.at = snapshot.Pos{Line: uint64(t.session.timeline), Offset: uint64(t.session.position)}
	}
	if err := t.enter(); err != nil {
		return err
	}
	t.at.Offset -= t.at.Offset % t.stretch
	return t.slotted()
}

// enter moves to the next timeline where the server left that of the captured log before its end: it was restored to an earlier point, or
// promoted without the newest log. What was captured behind that place stays a line of its own.
func (t *stream) enter() error {
	if t.at.Line >= uint64(t.session.timeline) {
		return nil
	}
	row, err := t.session.row(fmt.Sprintf("TIMELINE_HISTORY %d", t.session.timeline), 2)
	if err != nil {
		return err
	}
	left, next, ok, err := leaves(row[1], t.at.Line, uint64(t.session.timeline))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: timeline %d, which was captured, is not in the history of its timeline %d", snapshot.ErrOther, t.at.Line, t.session.timeline)
	}
	if uint64(left) >= t.at.Offset {
		return nil
	}
	return t.branchOff(next, left)
}

// leaves reads in a timeline's history where it, or one that it comes from, left another, and which.
func leaves(history string, line, last uint64) (at lsn, next uint64, ok bool, err error) {
	for text := range strings.Lines(history) {
		f := strings.Fields(text)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		n, err := strconv.ParseUint(f[0], 10, 32)
		if err != nil {
			return 0, 0, false, fmt.Errorf("read the history of timeline %d: %w: %w", last, errProtocol, err)
		}
		if ok {
			return at, n, true, nil
		}
		if n == line {
			if at, err = parseLSN(f[1]); err != nil {
				return 0, 0, false, fmt.Errorf("read the history of timeline %d: %w: %w", last, errProtocol, err)
			}
			ok = true
		}
	}
	return at, last, ok, nil
}

// System implements snapshot.Log.
func (t *stream) System() string { return strconv.FormatUint(t.session.system, 10) }

// Close implements snapshot.Log.
func (t *stream) Close() error {
	if t.session != nil {
		t.session.close()
	}
	return nil
}

// Pieces implements snapshot.Log.
func (t *stream) Pieces(ctx context.Context) iter.Seq2[snapshot.LogPiece, error] {
	return func(yield func(snapshot.LogPiece, error) bool) {
		quit := make(chan struct{})
		defer close(quit)
		go t.alive(quit)
		for {
			err := t.line(func(p snapshot.LogPiece) error {
				if !yield(p, nil) {
					return errStopped
				}
				return nil
			})
			if err == nil {
				continue // on the next line
			}
			if errors.Is(err, errStopped) {
				return
			}
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			yield(snapshot.LogPiece{}, describe("capture the log of", t.cfg, err))
			return
		}
	}
}

// alive asks the server for a sign of life now and then: without one nobody would notice that it is gone.
func (t *stream) alive(quit <-chan struct{}) {
	tick := time.NewTicker(signOfLife)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.send(true)
		case <-quit:
			return
		}
	}
}

// Durable implements snapshot.Log.
func (t *stream) Durable(pos snapshot.Pos) {
	t.mu.Lock()
	t.durable = pos
	t.mu.Unlock()
	t.send(false)
}

// send reports to the server how far the log is durable. An error is left to the next read, which meets it too.
func (t *stream) send(answer bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	durable := t.durable.Offset
	if t.durable.Line != uint64(t.session.timeline) {
		durable = 0 // a position of the line before would mean another one on this; 0 says nothing
	}
	b := append(make([]byte, 0, 34), 'r')
	for range 2 { // written and flushed are the same here
		b = binary.BigEndian.AppendUint64(b, durable)
	}
	b = binary.BigEndian.AppendUint64(b, 0) // applied: never
	b = binary.BigEndian.AppendUint64(b, 0) // our time, for statistics of the server
	if answer {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	// Not by the session's frontend: the goroutine that reads uses it at the same time, and so does pgx behind a connection that broke.
	if b, err := (&pgproto3.CopyData{Data: b}).Encode(nil); err == nil { // it fails for what is too long alone
		_, _ = t.session.Conn().Write(b)
	}
}

// line streams one timeline and, where the server has left it, moves to the next; nil then.
func (t *stream) line(emit func(snapshot.LogPiece) error) error {
	timeline := uint32(t.at.Line)
	from := t.begin()
	dec, err := newDecoder(lineage{version: t.session.version, system: t.session.system, timeline: timeline, segmentSize: t.session.segmentSize}, lsn(from.Offset))
	if err != nil {
		return err
	}
	if t.first == nil {
		if err := t.start(); err != nil {
			return err
		}
	}
	r := &lineReader{stream: t, decoder: dec, at: from, emit: emit}
	if t.branch != "" {
		r.events = []snapshot.LogEvent{{Kind: snapshot.Branch, Start: t.at.Offset, End: t.at.Offset, Time: time.Unix(0, 0), ID: t.branch}}
		t.branch = ""
	}
	for {
		m := t.first
		if t.first = nil; m == nil {
			if m, err = t.receive(); err != nil {
				return err
			}
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := r.message(m.Data); err != nil {
				return err
			}
		case *pgproto3.CopyDone:
			t.session.Frontend().Send(&pgproto3.CopyDone{})
			if err := t.session.Frontend().Flush(); err != nil {
				return err
			}
			return t.next()
		case *pgproto3.RowDescription:
			return t.next()
		case *pgproto3.CommandComplete:
			return ErrShutdown
		default:
			return fmt.Errorf("stream the log: %T in the middle: %w", m, errProtocol)
		}
	}
}

// begin is where the stream of a line begins: with a whole segment, because the decoder does, of which parts may stand already.
func (t *stream) begin() snapshot.Pos {
	return snapshot.Pos{Line: t.at.Line, Offset: t.at.Offset - t.at.Offset%uint64(t.session.segmentSize)}
}

// start begins to stream a line, and waits for the first log, where there is any: only then is it known whether the server has it.
func (t *stream) start() error {
	from := t.begin()
	t.mu.Lock()
	t.session.timeline = uint32(from.Line)
	t.mu.Unlock()
	if err := t.session.send(fmt.Sprintf("START_REPLICATION SLOT %q PHYSICAL %s TIMELINE %d", t.Slot, lsn(from.Offset), from.Line)); err != nil {
		return err
	}
	m, err := t.session.receive()
	if err != nil {
		return gone(err)
	}
	switch m.(type) {
	case *pgproto3.CopyBothResponse:
	case *pgproto3.RowDescription: // the line ends where we are: there is nothing to stream of it
		t.first = m
		return nil
	default:
		return fmt.Errorf("stream the log: %T instead of the log: %w", m, errProtocol)
	}
	t.send(true)
	for {
		if m, err = t.receive(); err != nil {
			return err
		}
		d, ok := m.(*pgproto3.CopyData)
		if ok && len(d.Data) > 0 && d.Data[0] == 'k' && uint64(t.session.position) > from.Offset {
			continue // log must come
		}
		if ok {
			m = &pgproto3.CopyData{Data: slices.Clone(d.Data)}
		}
		t.first = m
		return nil
	}
}

// receive returns the next message, and gives up on a server that is silent for long.
func (t *stream) receive() (pgproto3.BackendMessage, error) {
	_ = t.session.Conn().SetReadDeadline(clock.System().Add(silence)) // of a broken connection reading says so
	if err := t.session.ctx.Err(); err != nil {                       // its watch set a deadline before this one
		return nil, err
	}
	m, err := t.session.receive()
	return m, gone(err)
}

// gone tells that the server dropped what was asked for.
func gone(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == undefinedFile || e.Code == notInState) {
		return fmt.Errorf("%w: %w", snapshot.ErrLogGone, err)
	}
	return err
}

// next learns which timeline follows the one that ended, and where.
func (t *stream) next() error {
	b := &baseBackup{session: t.session}
	rows, err := b.result()
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) < 2 {
		return fmt.Errorf("stream the log: the timeline ended without a next one: %w", errProtocol)
	}
	timeline, err1 := strconv.ParseUint(rows[0][0], 10, 32)
	start, err2 := parseLSN(rows[0][1])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("stream the log: next timeline: %w: %w", errProtocol, err)
	}
	for {
		m, err := t.session.receive()
		if err != nil {
			return err
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			break
		}
	}
	return t.branchOff(timeline, start)
}

// branchOff makes a timeline that left the present one at start the present one.
func (t *stream) branchOff(timeline uint64, start lsn) error {
	row, err := t.session.row(fmt.Sprintf("TIMELINE_HISTORY %d", timeline), 2)
	if err != nil {
		return err
	}
	t.branch = snapshot.BranchID{Parent: snapshot.Pos{Line: t.at.Line, Offset: uint64(start)}, At: uint64(start), Text: row[1]}.String()
	t.at = snapshot.Pos{Line: timeline, Offset: uint64(start) - uint64(start)%t.stretch}
	return nil
}

// lineReader turns the messages of one timeline into pieces.
type lineReader struct {
	*stream
	decoder *decoder
	at      snapshot.Pos // of the next byte from the server
	events  []snapshot.LogEvent
	emit    func(snapshot.LogPiece) error

	sent time.Time // of the message before
	idle bool      // it had no log
}

func (r *lineReader) message(b []byte) error {
	switch {
	case len(b) >= 25 && b[0] == 'w':
		if from := binary.BigEndian.Uint64(b[1:]); from != r.at.Offset {
			return fmt.Errorf("stream the log: %s came where %s was due: %w", lsn(from), lsn(r.at.Offset), errProtocol)
		}
		// The end of the server's log was looked up after the message before was sent: with this one everything from before that
		// moment is here. What was committed just before this moment may come with the next.
		end, until := binary.BigEndian.Uint64(b[9:]), r.sent
		r.sent, r.idle = moment(b[17:]), false
		return r.log(b[25:], end, until)
	case len(b) >= 18 && b[0] == 'k':
		if b[17] != 0 {
			r.send(false)
		}
		// A sign of life may come before log that is there already, but between two of them the server looked.
		until, idle := r.sent, r.idle
		r.sent, r.idle = moment(b[9:]), true
		if idle && r.sent.Sub(until) >= signOfLife/2 {
			return r.piece(nil, false, until)
		}
		return nil
	}
	return fmt.Errorf("stream the log: a message of %d bytes: %w", len(b), errProtocol)
}

// moment is a server's time: microseconds since 2000.
func moment(b []byte) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b)) + 946684800e6).UTC()
}

// log hands on what came, cut where a segment ends.
func (r *lineReader) log(b []byte, end uint64, until time.Time) error {
	for len(b) > 0 {
		n := min(uint64(len(b)), r.stretch-r.at.Offset%r.stretch)
		part := b[:n]
		b = b[n:]
		err := r.decoder.write(part, func(e event) error {
			r.events = append(r.events, logEvent(e))
			return nil
		})
		if err != nil {
			return err
		}
		if r.at.Offset+n == end {
			err = r.piece(part, true, until)
		} else {
			err = r.piece(part, true, time.Time{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// piece emits a stretch; what stands already, before the stream's position, only feeds the decoder.
func (r *lineReader) piece(b []byte, log bool, until time.Time) error {
	p := snapshot.LogPiece{From: r.at, To: snapshot.Pos{Line: r.at.Line, Offset: r.at.Offset + uint64(len(b))}, Data: b, Events: r.events, Until: until}
	p.Segment = log && p.To.Offset%r.stretch == 0
	r.at, r.events = p.To, nil
	if p.To.Offset <= r.stream.at.Offset && log {
		r.events = slices.DeleteFunc(p.Events, func(e snapshot.LogEvent) bool { return e.Kind != snapshot.Branch })
		return nil
	}
	return r.emit(p)
}

// logEvent is an event as a planner knows it.
func logEvent(e event) snapshot.LogEvent {
	out := snapshot.LogEvent{Kind: snapshot.Mark, Start: uint64(e.start), End: uint64(e.end), Time: e.time, ID: e.name}
	switch e.kind {
	case eventCommit:
		out.Kind, out.ID = snapshot.Commit, strconv.FormatUint(uint64(e.xid), 10)
	case eventAbort:
		out.Kind, out.ID = snapshot.Abort, strconv.FormatUint(uint64(e.xid), 10)
	case eventRestorePoint:
	}
	return out
}
