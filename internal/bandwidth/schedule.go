// Package bandwidth bounds how many bytes a second pass over the connections of a target, by the time of day. A Schedule
// says how many, a Limit holds connections to it. What is slowed, and what is not, others decide.
package bandwidth

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // so that a zone has its name on hosts without a database of them, too

	"github.com/dustin/go-humanize"

	"lifeboat/internal/calendar"
)

// Rate is bytes a second, in each direction; zero is no limit.
type Rate uint64

// least is the slowest Rate that ParseRate takes: below it a handshake, and an answer that waits behind a packet, would take as
// long as the targets wait for a dead host.
const least = 10_000

// Schedule says which rate holds when: that of the window that is open, by the wall clock of Zone. Windows do not overlap, and
// outside of them there is no limit.
type Schedule struct {
	Windows []Window
	Zone    *time.Location // nil: the host's
}

// Window is when a Rate holds.
type Window struct {
	calendar.Window
	Rate Rate
}

// Always is the Schedule of one rate.
func Always(r Rate) Schedule {
	return Schedule{Windows: []Window{{calendar.Always, r}}}
}

// At is the rate that holds at a time.
func (s Schedule) At(t time.Time) Rate {
	if s.Zone != nil {
		t = t.In(s.Zone)
	} else {
		t = t.Local()
	}
	for _, w := range s.Windows {
		if w.Open(t) {
			return w.Rate
		}
	}
	return 0
}

// ErrSlow is of a rate with which nothing would ever be done.
var ErrSlow = errors.New("too slow")

// ParseRate reads bytes a second: "5MB/s", "1.5MiB/s". Bits are refused, not taken for bytes: 20Mb/s would be eight times too fast.
func ParseRate(s string) (Rate, error) {
	amount, ok := strings.CutSuffix(s, "/s")
	if !ok || !strings.HasSuffix(amount, "B") {
		return 0, fmt.Errorf("%q is not bytes a second", s)
	}
	n, err := humanize.ParseBytes(amount)
	if err != nil {
		return 0, fmt.Errorf("%q is not bytes a second", s)
	}
	if n < least {
		return 0, fmt.Errorf("%q is %w", s, ErrSlow)
	}
	return Rate(n), nil
}
