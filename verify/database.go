package verify

import (
	"context"
	"errors"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/phrase"
	"lifeboat/restore"
)

// ErrUnavailable is wrapped where a probe cannot be made here: a program or an extension is missing. That is inconclusive, never a pass.
var ErrUnavailable = errors.New(phrase.Unavailable.Say())

// Engine puts one kind of database into a drill's directory and starts it there.
type Engine interface {
	// Version is that of the database, in the engine's words.
	Version() string
	// Sink prepares dir, which is absent, for size bytes.
	Sink(dir string, size int64) (Sink, error)
	// Start starts what the sink brought into dir, isolated from everything else, and replays its log. Nothing of it is left running when it
	// fails, when ctx ends, or when the process dies.
	Start(ctx context.Context, dir string) (Database, error)
}

// Sink is where a drill restores.
type Sink interface {
	restore.Sink
	Work() string // directory for temporary files
	Close() error
}

// Database is a restored database that runs in isolation. Nothing that it is asked changes it, and each question ends with its context. Errors wrap
// ErrUnavailable where the machine lacks what a question needs.
type Database interface {
	// Isolation says how it is kept from everything else; Directory and what is found out behind the end are not its business.
	Isolation() evidence.Isolation
	// Reached says how far it came.
	Reached(ctx context.Context) (Reached, error)
	// Integrity lets the engine check itself: how it did, and what it found wrong.
	Integrity(ctx context.Context) (how string, faults []string, err error)
	// References looks for rows that refer to others that are not there.
	References(ctx context.Context) (how string, faults []string, err error)
	// Inventory lists what the database consists of, in order of name.
	Inventory(ctx context.Context) ([]Object, error)
	// Count counts the rows of a table.
	Count(ctx context.Context, table string) (int64, error)
	// Digest is a hash of all rows of a table whatever their order, or where share is below 1 of about that share of them, always the same ones.
	Digest(ctx context.Context, table string, share float64) (string, error)
	// Query runs a statement that only reads, and returns the first column of its first row; null is false. More than one row, or more than 64 KiB, is
	// an error.
	Query(ctx context.Context, sql string) (value string, null bool, err error)
	// Stop ends it and waits until nothing of it runs. It returns how many processes are left, which is 0 unless something is wrong.
	Stop(ctx context.Context) (left int, err error)
}

// Reached is how far a restored database came.
type Reached struct {
	Position string    // in the engine's log; empty where it has none
	Last     time.Time // of the newest transaction that it has; zero where that is not known
}

// Object is a part of a database: a table, an index, a function.
type Object struct {
	Kind string // table, index, view, function, trigger, sequence, type, extension, or what the engine calls it
	Name string // unique in its kind: with database and schema where there are several
	Size int64  // bytes; 0 where it has none of its own
	Rows int64  // about how many, for tables; -1 where that is not known
}
