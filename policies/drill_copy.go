package policies

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoCopy is wrapped where no copy can be drilled.
var ErrNoCopy = errors.New("no copy can be drilled")

// FromRotate is the name under which PickCopy takes one copy after the other.
const FromRotate = "rotate"

// DrillCopy is a copy that may be drilled.
type DrillCopy struct {
	Target  string
	Against string    // why it cannot be used now; empty: it can
	Last    time.Time // when the last drill began that read it and passed or failed; zero: never
	Tried   time.Time // when the last one began that came to no verdict; zero: never
}

// Excluded is what was not picked from, and why.
type Excluded struct {
	What, Reason string
}

// DrillCopies says of targets when they were drilled. Drills behind now are not heeded.
func DrillCopies(now time.Time, targets []string, runs []DrilledRun) []DrillCopy {
	out := make([]DrillCopy, 0, len(targets))
	for _, t := range targets {
		c := DrillCopy{Target: t}
		for _, r := range runs {
			switch {
			case r.Copy != t || r.Began.After(now):
			case r.Result == Passed || r.Result == Failed:
				c.Last = latest(c.Last, r.Began)
			default:
				c.Tried = latest(c.Tried, r.Began)
			}
		}
		out = append(out, c)
	}
	return out
}

// retried reports whether the last drill of a copy came to no verdict.
func (c DrillCopy) retried() bool { return c.Tried.After(c.Last) }

// PickCopy picks the copy that a drill reads, of those that can be used; copies are in the order of the configuration. from is the name of one, or
// FromRotate: then it is the one whose last verdict is the oldest, one without any first; of several, the one that was tried the longest ago, and of
// several, the first. After a drill that came to no verdict it is the turn of a copy that has one, or was never tried, where there is such a copy: one that
// never gets to a verdict takes each second turn, and not all of them.
func PickCopy(from string, copies []DrillCopy) (target string, excluded []Excluded, err error) {
	if from != FromRotate {
		target, err = named(from, copies)
		return target, nil, err
	}
	var usable []DrillCopy
	var against []string
	var newest DrillCopy // that was drilled the last
	for _, c := range copies {
		if latest(c.Last, c.Tried).After(latest(newest.Last, newest.Tried)) {
			newest = c
		}
		if c.Against != "" {
			excluded = append(excluded, Excluded{c.Target, c.Against})
			against = append(against, c.Target+": "+c.Against)
			continue
		}
		usable = append(usable, c)
	}
	if len(usable) == 0 {
		if len(copies) == 0 {
			return "", nil, fmt.Errorf("%w: there is none", ErrNoCopy)
		}
		return "", excluded, fmt.Errorf("%w: %s", ErrNoCopy, strings.Join(against, "; "))
	}
	best := usable[0]
	for _, c := range usable[1:] {
		if c.before(best, newest.retried()) {
			best = c
		}
	}
	return best.Target, excluded, nil
}

// before reports whether it is the turn of c rather than of another; settled puts copies first whose last drill came to a verdict.
func (c DrillCopy) before(other DrillCopy, settled bool) bool {
	switch {
	case settled && c.retried() != other.retried():
		return other.retried()
	case !c.Last.Equal(other.Last):
		return c.Last.Before(other.Last)
	}
	return c.Tried.Before(other.Tried)
}

func named(target string, copies []DrillCopy) (string, error) {
	for _, c := range copies {
		switch {
		case c.Target != target:
		case c.Against != "":
			return "", fmt.Errorf("%w: the policy drills %s alone: %s", ErrNoCopy, target, c.Against)
		default:
			return target, nil
		}
	}
	return "", fmt.Errorf("%w: the policy drills %s alone, and there is no such copy", ErrNoCopy, target)
}

// PickSource picks the database whose turn it is: the one whose last scheduled drill, whatever it came to, is the longest ago; of several, the first.
// Drills behind now are not heeded. It is empty where there are no sources.
func PickSource(now time.Time, sources []string, runs []DrilledRun) (pick string) {
	var oldest time.Time
	for i, s := range sources {
		var last time.Time
		for _, r := range runs {
			if r.Source == s && !r.Due.IsZero() && !r.Began.After(now) {
				last = latest(last, r.Began)
			}
		}
		if i == 0 || last.Before(oldest) {
			pick, oldest = s, last
		}
	}
	return pick
}
