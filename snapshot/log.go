package snapshot

import (
	"context"
	"iter"
	"time"
)

// LogSource is a Source whose engine keeps a log that can be captured between snapshots. The contract stands before the
// first engine that fulfils it, because positions and log objects are part of the repository format.
type LogSource interface {
	Source
	// Log yields consecutive pieces of the log, without gap or overlap within a line, beginning at from or earlier: at the
	// nearest position where the engine can begin. It ends with ctx, or with an error. Where the engine no
	// longer has the log at from the error says so: only a new snapshot can go on.
	Log(ctx context.Context, from Pos) iter.Seq2[LogPiece, error]
	// Durable tells the engine that everything before pos is stored for good: it may drop it. Calls go forward in a line.
	Durable(ctx context.Context, pos Pos) error
}

// LogPiece is a stretch of an engine's log, as the engine writes it, byte for byte.
type LogPiece struct {
	From, To Pos    // To is the position behind the last byte; of the same line as From
	Data     []byte // valid until the next piece; may be empty, to move Until
	Segment  bool   // a segment of the log ends at To
	Events   []LogEvent
	Until    time.Time // by the server's clock: what was committed before it stands before To
}

// EventKind says what an event is.
type EventKind string

// The kinds of events.
const (
	Commit EventKind = "commit"
	Abort  EventKind = "abort"
	Mark   EventKind = "mark" // a point that somebody named
)

// LogEvent is a record of the log to which a restore can go. Its record may begin in an earlier piece, and ends in this one.
type LogEvent struct {
	Kind       EventKind
	Start, End uint64 // offsets of its record, in the line of its piece
	Time       time.Time
	ID         string // the transaction's number, or the mark's name
}
