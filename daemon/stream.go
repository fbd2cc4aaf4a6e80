package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"lifeboat/internal/clock"
	"lifeboat/repository"
	"lifeboat/snapshot"
)

// captureEvery is the least time between two objects of a log on a copy.
const captureEvery = time.Second

// The pause before a stream that broke off is taken up again grows between these.
const (
	shortPause = time.Second
	longPause  = 30 * time.Second
)

// Streamer captures the log of one source for as long as it is wanted.
type Streamer struct {
	Name string
	// Open opens the repository's targets and the source. It is called anew for each attempt; what it opened is closed by closing.
	Open func(ctx context.Context) (c repository.Config, src snapshot.LogSource, closing func(), err error)
	// Full is called where log is lost for good, so that only a full snapshot can be gone on from.
	Full func(behind snapshot.Pos)
	// Hopeless reports whether an error will not go away by itself. opened says that capture had begun before.
	Hopeless func(err error, opened bool) bool
	// Opened, Broken, Missed and Unrecorded tell what happens: capture began; it broke off, and is taken up again after a pause; a target
	// fails or, with nil, goes on; the journal could not be told.
	Opened     func(at snapshot.Pos)
	Broken     func(err error, pause time.Duration)
	Missed     func(target string, err error)
	Unrecorded func(err error)
}

// Run captures until ctx ends, which is no error, or until it is hopeless, and takes up again what breaks off.
func (s *Streamer) Run(ctx context.Context) error {
	pause, opened := shortPause, false
	for {
		began := clock.System()
		err := s.capture(ctx, &opened)
		if ctx.Err() != nil {
			return nil // an end that was asked for
		}
		if err == nil || s.Hopeless(err, opened) {
			return err
		}
		if clock.System().Sub(began) > longPause {
			pause = shortPause
		}
		s.Broken(err, pause)
		if sleep(ctx, pause) != nil {
			return nil
		}
		pause = min(2*pause, longPause)
	}
}

// capture captures the log once, until something breaks.
func (s *Streamer) capture(ctx context.Context, opened *bool) error {
	c, src, closing, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer closing()
	return repository.CaptureLog(ctx, c, repository.Stream{Name: s.Name, Source: src, Every: captureEvery,
		Opened: func(at snapshot.Pos) {
			*opened = true
			s.Opened(at)
		},
		Failed: s.Missed, Unrecorded: s.Unrecorded, Gap: s.Full})
}

// stream is a log that the daemon captures.
type stream struct {
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	since  time.Time         // capture goes on since then; zero while it does not
	broken trouble           // why not
	missed map[string]string // targets that fail, and why
	absent map[string]bool   // those of them that the capture left out when it began
}

var errNoLog = errors.New("its engine has no log that can be captured")
