package target

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"
)

// Repairer is a target on which a damaged object can be replaced. Only healing does that, with bytes that it verified.
type Repairer interface {
	// Replace stores body under name as Put does, whatever stands there. Who reads meanwhile sees the old object or the new one.
	Replace(ctx context.Context, name string, body *io.SectionReader) error
}

// Verifier is a target that finds out by itself, at little cost, whether a body is what it should be.
type Verifier interface {
	// PutVerified is Put of a body that must have this SHA-256. One that has another is not stored.
	PutVerified(ctx context.Context, name string, body *io.SectionReader, sum [sha256.Size]byte) error
}

// Retainer is a target that can protect objects from being deleted by anybody until a time.
type Retainer interface {
	// Term is how long Put protects an object that is to stay.
	Term() time.Duration
	// Retain protects an object at least until a time. It never shortens.
	Retain(ctx context.Context, name string, until time.Time) error
	// Retained returns the time until which an object is protected; zero where it is not.
	Retained(ctx context.Context, name string) (time.Time, error)
}

// ErrRetained is wrapped by the error of a Delete that such a protection refuses.
var ErrRetained = errors.New("protected from deletion")

// Prober is a target that can tell what its store lacks.
type Prober interface {
	// Probe returns a sentence for each thing that the store does not do, and what is weaker for it. An error is what has to
	// be repaired before the target can be used.
	Probe(ctx context.Context) (missing []string, err error)
}
