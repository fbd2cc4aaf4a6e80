package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/internal/calendar"
	"lifeboat/policies"
)

// warnings lists what a configuration may do and is seldom meant.
func warnings(cfg *config.Config, recipients []crypto.Recipient, now time.Time) []finding {
	out := exposed(cfg)
	for _, p := range cfg.Policies {
		w := warner{cfg: cfg, p: p, now: now, schedule: daemon.ScheduleOf(p)}
		w.copies()
		w.log()
		w.drill()
		w.retention()
		w.times()
		w.locks()
		out = append(out, w.found...)
	}
	for _, s := range cfg.Sources {
		if _, ok := daemon.PolicyOf(cfg, s.Name); !ok {
			out = append(out, finding{What: fmt.Sprintf("source %s is in no policy", s.Name), Hint: "it is backed up by hand only: name it in the sources of one"})
		}
	}
	if len(cfg.Notify) == 0 {
		out = append(out, finding{What: "nobody is told of anything", Hint: "write notify: doc/notifications.md has the channels"})
	}
	classic := func(r crypto.Recipient) bool { return r.Class == crypto.Classic }
	if len(recipients) > 0 && !slices.ContainsFunc(recipients, func(r crypto.Recipient) bool { return !classic(r) }) {
		out = append(out, finding{What: "all recipients are classic: what is stored is not protected against a future quantum computer", Hint: "make an identity with `lifeboat keygen`, and add its recipient"})
	}
	return out
}

// warner looks at one policy.
type warner struct {
	cfg      *config.Config
	p        config.Policy
	now      time.Time
	schedule policies.Schedule
	found    []finding
}

func (w *warner) warn(hint, format string, args ...any) {
	w.found = append(w.found, finding{Policy: w.p.Name, What: fmt.Sprintf(format, args...), Hint: hint})
}

// targets are those of the policy.
func (w *warner) targets() []config.Target { return targetsOf(w.cfg, w.p) }

func targetsOf(cfg *config.Config, p config.Policy) (out []config.Target) {
	for _, t := range cfg.Targets {
		if len(p.Targets) == 0 || slices.Contains(p.Targets, t.Name) {
			out = append(out, t)
		}
	}
	return out
}

// copies looks at where the targets are, and at what all of them together can come to.
func (w *warner) copies() {
	var all []policies.Copy
	first := map[string]string{} // target of a place
	for _, t := range w.targets() {
		c := policies.Copy{Target: t.Name, Place: placeOf(standing(t)), Media: mediaOf(t), Offsite: t.Offsite, Immutable: !t.ObjectLock.For.IsZero()}
		all = append(all, c)
		if other := first[c.Place]; other != "" {
			w.warn("put them on different devices, buckets or hosts", "targets %s and %s are one copy: both are on %s, and what takes one takes both", other, t.Name, c.Place)
			continue
		}
		first[c.Place] = t.Name
	}
	rule := policies.Rule{Count: w.p.Copies.Count, Media: w.p.Copies.Media, Offsite: w.p.Copies.Offsite, Immutable: w.p.Copies.Immutable}
	if v := rule.Judge(all); len(v.Unmet) > 0 {
		w.warn("add targets, say media, offsite and object_lock of those that have it, or ask for less", "its targets can never give what copies asks for: %s", strings.Join(v.Unmet, "; "))
	}
}

// standing is a local target as far as its path exists: before init, its directory does not.
func standing(t config.Target) config.Target {
	if t.Type != config.Local {
		return t
	}
	for t.Path = resolved(t.Path); t.Path != filepath.Dir(t.Path); t.Path = filepath.Dir(t.Path) {
		if _, err := os.Stat(t.Path); err == nil {
			break
		}
	}
	return t
}

// log looks at what is lost between snapshots.
func (w *warner) log() {
	logged, others := byLog(w.cfg, w.p)
	if w.p.Logs != "" {
		for _, name := range others {
			if s, _ := w.cfg.Source(name); s.Engine != config.Files || len(logged) == 0 {
				w.warn("take it out, or put the source into a policy without logs", "logs: continuous does nothing for %s: engine %s has no log", name, s.Engine)
			}
		}
	}
	if w.schedule.Full == nil && w.schedule.Incremental == nil {
		w.warn(`write a schedule, such as schedule: {full: "0 2 * * 0", incremental: "15 * * * *"}`, "nothing is backed up by itself: there is no schedule")
	}
	every, rpo := w.schedule.Longest(w.now), w.p.RPO
	switch {
	case rpo.IsZero() || len(others) == 0:
	case every == 0:
		w.warn("write a schedule", "rpo is %s, and snapshots of %s are not taken by themselves", rpo, english.WordSeries(others, "and"))
	case rpo.Length() < every:
		hint := "take snapshots more often"
		if w.p.Logs == "" {
			hint = "write logs: continuous, or take snapshots more often"
		}
		w.warn(hint, "rpo is %s, and up to %s pass between snapshots of %s, without log", rpo, plainly(every), english.WordSeries(others, "and"))
	}
	switch pitr := w.p.Retention.PITR; {
	case len(logged) == 0 && !pitr.IsZero():
		w.warn("write logs: continuous where the engine has a log; to keep every snapshot for a while, minimum says so", "pitr is %s, and no log is captured: only snapshots can be restored", pitr)
	case len(logged) > 0 && pitr.IsZero() && w.p.Retention != (config.Retention{}):
		w.warn("write pitr into retention, such as pitr: 30d", "the log is captured, and only that since the newest snapshot is kept")
	}
}

func (w *warner) retention() {
	r := w.p.Retention
	switch {
	case r == (config.Retention{}):
		w.warn("write retention, such as retention: {daily: 90d, monthly: 24mo}", "everything is kept for ever, and the targets fill up")
	case !belowFloor(r):
	case r.AllowBelow90d != "":
		w.warn("that is meant if the reason still holds", "less than a snapshot a day is kept for %s, because: %s", policies.Floor.Words(), r.AllowBelow90d)
	default:
		w.warn("write daily: 90d, or allow_below_90d with a reason", "retention says less than a snapshot a day for %s: that floor holds all the same", policies.Floor.Words())
	}
}

// times looks at schedules that come at other times than they seem to.
func (w *warner) times() {
	for _, s := range []struct {
		key  string
		cron *calendar.Cron
		runs bool
	}{{"schedule.full", w.p.Schedule.Full, true}, {"schedule.incremental", w.p.Schedule.Incremental, true}, {"check.schedule", w.p.Check, false}, {"drill.schedule", w.p.Drill.Schedule, false}} {
		if s.cron == nil {
			continue
		}
		if s.cron.EitherDay() {
			w.warn("write * for one of them", "%s, %q, restricts both days, of which either is enough: it comes %s", s.key, s.cron, s.cron.Words())
		}
		if !s.runs {
			continue
		}
		if held, of := w.held(s.cron); 2*held > of {
			w.warn("move the schedule, or shorten the blackout: one run at the end of a blackout stands for all that it held up", "%s: %d%% of its times are in the blackout", s.key, 100*held/of)
		}
		if every := shortest(s.cron, w.now); w.p.Schedule.Jitter.Length() > every {
			w.warn("make it shorter than the time between runs", "jitter of %s is longer than the %s between two times of %s", w.p.Schedule.Jitter, plainly(every), s.key)
		}
	}
}

// held counts how many of the times of a schedule of snapshots the blackout holds up, over a year, or enough of them to see every minute of a week.
func (w *warner) held(c *calendar.Cron) (held, of int) {
	const enough = 7 * 24 * 60
	end := w.now.AddDate(1, 0, 0)
	if len(w.p.Schedule.Blackout) == 0 {
		return 0, 1
	}
	for t := c.Next(w.now); !t.IsZero() && of < enough && (of == 0 || t.Before(end)); t = c.Next(t) {
		at := w.schedule.At(t, w.p.Name).In(w.p.Schedule.Zone)
		if of++; slices.ContainsFunc(w.p.Schedule.Blackout, func(b calendar.Window) bool { return b.Open(at) }) {
			held++
		}
	}
	return held, of
}

// shortest is the shortest time between two times of a schedule.
func shortest(c *calendar.Cron, now time.Time) time.Duration {
	const look = 100
	out := time.Duration(1<<63 - 1)
	for t, i := c.Next(now), 0; !t.IsZero() && i < look; i++ {
		next := c.Next(t)
		if next.IsZero() {
			break
		}
		out, t = min(out, next.Sub(t)), next
	}
	return out
}

// locks compares how long targets refuse to delete with how long things are kept.
func (w *warner) locks() {
	r := w.p.Retention
	for _, t := range w.targets() {
		lock := t.ObjectLock.For
		switch {
		case lock.IsZero() || r == (config.Retention{}):
		case lock.Length() < r.PITR.Length():
			w.warn("make it as long: locks are renewed by backups, and nobody renews them where an intruder stopped these", "object_lock of target %s is %s, shorter than pitr, %s", t.Name, lock, r.PITR)
		case lock.Length() > longestKept(r):
			w.warn("make it shorter: the target keeps, and bills, what retention has dropped", "object_lock of target %s is %s, longer than anything is kept", t.Name, lock)
		}
	}
}

// longestKept is how long something is kept where there is retention.
func longestKept(r config.Retention) time.Duration {
	longest := max(r.PITR.Length(), r.Daily.Length(), r.Weekly.Length(), r.Monthly.Length(), r.Yearly.Length(), r.Minimum.Length())
	if r.AllowBelow90d == "" {
		longest = max(longest, policies.Floor.Length())
	}
	return longest
}

// plainly is a time between runs for people, in its largest whole units.
func plainly(d time.Duration) string {
	if days := d / (24 * time.Hour); d >= 48*time.Hour {
		return english.Plural(int(days), "day", "")
	}
	s := strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	if s == "" {
		return d.String()
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
