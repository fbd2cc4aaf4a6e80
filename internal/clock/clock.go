// Package clock is the one place of the program that reads the time of day. Everything else that needs the time takes
// a Clock, so that a test can set it; what is decided from the time (schedules, retention) is then reproducible.
package clock

import "time"

// Clock tells the time. It is safe for concurrent use.
type Clock func() time.Time

// Now is the current time by c.
func (c Clock) Now() time.Time { return c() }

// System is the Clock of the operating system. Its times carry a monotonic reading, so differences between two of
// them are right even if the wall clock was set in between.
func System() time.Time { return time.Now() }
