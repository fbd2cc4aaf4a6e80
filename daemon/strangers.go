package daemon

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"lifeboat/internal/clock"
	"lifeboat/journal"
	"lifeboat/repository"
)

// denyEvery is how often it is noted at most that somebody was refused, and maxStrangers of how many it is told who they are: whoever tries again and
// again must not fill the journal.
const (
	denyEvery    = time.Hour
	maxStrangers = 100
)

// strangers counts who was refused at the socket, and notes it for the audit log: the first time at once, and then once in an hour how often since.
type strangers struct {
	now  clock.Clock
	by   string
	log  *slog.Logger
	note func(repository.Noted) error

	mu   sync.Mutex
	list map[string]*stranger
}

type stranger struct {
	count int // since it was noted last
	noted time.Time
}

// refused counts somebody; known is false where the kernel would not tell who it is.
func (s *strangers) refused(uid uint32, known bool) {
	who := "unknown"
	if known {
		who = fmt.Sprintf("user %d", uid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.list[who]; !ok && len(s.list) >= maxStrangers {
		who = "other users"
	}
	one := s.list[who]
	if one == nil {
		one = &stranger{}
		s.list[who] = one
		s.log.Warn("somebody was refused at the socket", "who", who)
	}
	one.count++
	s.tell(who, one)
}

// flush notes what was counted in an hour that is over, and forgets who did not come again. At the end everything is noted.
func (s *strangers) flush(end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for who, one := range s.list {
		if end {
			one.noted = time.Time{}
		}
		if one.count > 0 {
			s.tell(who, one)
		} else if s.now().Sub(one.noted) >= denyEvery {
			delete(s.list, who)
		}
	}
}

// tell notes how often somebody was refused, unless that was noted within the hour.
func (s *strangers) tell(who string, one *stranger) {
	now := s.now()
	if since := now.Sub(one.noted); since >= 0 && since < denyEvery {
		return
	}
	at := now.UTC()
	err := s.note(repository.Noted{Record: journal.Record{Type: journal.Denied, By: s.by, From: From, Happened: &at, Denied: &journal.DeniedBody{At: "socket", Who: who, Count: one.count}}})
	one.noted = now
	if err != nil {
		s.log.Error("somebody was refused at the socket, and that is not in the audit log yet", "who", who, "count", one.count, "error", err)
		return // counted on, and noted an hour later
	}
	one.count = 0
}
