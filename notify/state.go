package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"

	"lifeboat/internal/atomicfile"
)

const (
	remindAfter = 24 * time.Hour       // what is still so and is told again, is told again
	retryAfter  = time.Hour            // the same, where it could not be sent
	forgetAfter = 400 * 24 * time.Hour // what nobody told again nor closed
	maxState    = 64 << 20
)

// lineState is what outlives a restart of one channel.
type lineState struct {
	Open  map[string]told `json:"open"`  // by key: trouble that was told by this channel, or waits in its queue
	Queue []waiting       `json:"queue"` // oldest first
	Sent  []time.Time     `json:"sent"`  // messages of the last hour
}

// told is what was told last of an open key.
type told struct {
	Severity Severity  `json:"severity"`
	Title    string    `json:"title"`
	At       time.Time `json:"at"`
	Lost     bool      `json:"lost"` // it could not be sent
}

// waiting is an event that is not sent yet.
type waiting struct {
	Event Event     `json:"event"`
	Since time.Time `json:"since"`
}

// admit decides whether e is to be told, and returns it as it is then, or nil. noted says that the state changed.
func (s *lineState) admit(e Event, now time.Time) (tell *Event, noted bool) {
	if e.Key == "" {
		return &e, true
	}
	was, open := s.Open[e.Key]
	if e.Recovered {
		delete(s.Open, e.Key)
		if was.Lost || !open {
			return nil, open
		}
		return &e, true
	}
	same := open && was.Severity == e.Severity && was.Title == e.Title
	wait := remindAfter
	if was.Lost {
		wait = retryAfter
	}
	if age := now.Sub(was.At); same && age >= 0 && age < wait { // a clock that was set back must not silence anything
		return nil, false
	}
	e.Reminder = same && !was.Lost
	maps.DeleteFunc(s.Open, func(_ string, t told) bool { return now.Sub(t.At) > forgetAfter })
	s.Open[e.Key] = told{e.Severity, e.Title, now, false}
	return &e, true
}

// lost notes that e could not be sent: if it is still so and told again, it is tried again before a reminder would be due, and its
// recovery is not told.
func (s *lineState) lost(e Event, now time.Time) {
	if t, ok := s.Open[e.Key]; ok && !e.Recovered && t.Severity == e.Severity && t.Title == e.Title {
		s.Open[e.Key] = told{t.Severity, t.Title, now, true}
	}
}

// stateFile is the state of all channels, by name.
type stateFile struct {
	Version int                   `json:"version"`
	Lines   map[string]*lineState `json:"channels"`
}

// load reads a state file; none is an empty state.
func load(path string) (map[string]*lineState, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was notified: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return nil, fmt.Errorf("read what was notified: %w", err)
	}
	var s stateFile
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read what was notified: %s is damaged: remove it, and what is open will be told again: %w", path, err)
	}
	if s.Version != 1 {
		return nil, fmt.Errorf("read what was notified: %s has version %d, which this program does not know: use a newer one, or remove it", path, s.Version)
	}
	for _, l := range s.Lines {
		if l != nil && l.Open == nil {
			l.Open = map[string]told{}
		}
	}
	return s.Lines, nil
}

// store writes a state file, durably.
func store(path string, lines map[string]*lineState) error {
	b, err := json.Marshal(stateFile{1, lines})
	if err != nil {
		return fmt.Errorf("note what was notified: %w", err)
	}
	if err := atomicfile.Write(path, b, 0o600); err != nil {
		return fmt.Errorf("note what was notified: %w", err)
	}
	return nil
}
