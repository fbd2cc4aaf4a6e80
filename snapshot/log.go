package snapshot

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
)

// LogSource is a Source whose engine keeps a log that can be captured between snapshots.
type LogSource interface {
	Source
	// OpenLog opens the log where the one so far ended, or as little before it as the engine can; where its offset is zero, where the server is now.
	// Errors wrap ErrLogGone where the engine no longer has the log: then only a new snapshot can go on; ErrOther where it is not the one so
	// far.
	OpenLog(ctx context.Context, end LogEnd) (Log, error)
}

// LogEnd is where captured log ends.
type LogEnd struct {
	System string // as Log.System says; empty where nothing was captured and no snapshot taken
	Pos
	// Same reports whether b is what was captured from From to To, of the same line, which no other history has there; nil where nobody
	// knows.
	From, To uint64
	Same     func(b []byte) bool
	// Whole is up to where its line is captured in whole segments: who reads again from there completes the one that was open. 0 is not known.
	Whole uint64
	// Manifest is that of the newest snapshot; nil where none can be read.
	Manifest []byte
	// Committed yields the commits of its line that were captured, one perhaps more than once; nil where nothing was captured.
	Committed func(ctx context.Context) iter.Seq2[LogEvent, error]
}

// ErrLogGone is wrapped where an engine no longer has the log that was asked for.
var ErrLogGone = errors.New("the server no longer has this log")

// Log is an engine's log that is being read.
type Log interface {
	// System names the cluster in the engine's words: one word.
	System() string
	// Pieces yields consecutive pieces, without gap or overlap within a line; the first of a line begins a segment. It ends with
	// ctx, or with an error.
	Pieces(ctx context.Context) iter.Seq2[LogPiece, error]
	// Durable tells the engine that everything before pos is stored for good: it may drop it. Calls go forward in a line, and
	// may come while Pieces runs.
	Durable(pos Pos)
	Close() error
}

// LogPiece is a stretch of an engine's log, as the engine writes it, byte for byte.
type LogPiece struct {
	// To is the position behind the last byte; of the same line as From. Where a segment ends it may be further: up to there no log can ever be.
	From, To Pos
	Data     []byte // valid until the next piece; may be empty, to move Until
	Segment  bool   // a segment of the log ends at To
	Events   []LogEvent
	Until    time.Time // by the server's clock: what was committed before it stands before To; zero if not known
}

// EventKind says what an event is.
type EventKind string

// The kinds of events.
const (
	Commit EventKind = "commit"
	Abort  EventKind = "abort"
	Mark   EventKind = "mark" // a point that somebody named
	Branch EventKind = "line" // the line of this event left another one; ID is a BranchID
)

// BranchID is what a Branch says: which line was left at which offset, at which offset of its own the other goes on from there, and what the engine keeps about it.
type BranchID struct {
	Parent Pos
	At     uint64
	Text   string
}

// String and ParseBranchID are its form in a LogEvent: the position and, where that is another, a space and the other offset in 16 hexadecimal digits; a newline; the text.
func (b BranchID) String() string {
	at := b.Parent.String()
	if b.At != b.Parent.Offset {
		at += fmt.Sprintf(" %016x", b.At)
	}
	return at + "\n" + b.Text
}

// ParseBranchID is the inverse of String.
func ParseBranchID(s string) (b BranchID, err error) {
	where, text, _ := strings.Cut(s, "\n")
	parent, at, other := strings.Cut(where, " ")
	if b.Parent, err = ParsePos(parent); err != nil {
		return b, err
	}
	if b.At, b.Text = b.Parent.Offset, text; other {
		b.At, err = strconv.ParseUint(at, 16, 64)
	}
	return b, err
}

// LogEvent is a record of the log to which a restore can go. Its record may begin in an earlier piece, and ends in this one.
type LogEvent struct {
	Kind       EventKind
	Start, End uint64 // offsets of its record, in the line of its piece
	Time       time.Time
	ID         string // the transaction's number, or the mark's name
	Note       string // what else the engine tells people of it, in its own form; may be empty
}
