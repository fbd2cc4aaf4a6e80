package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/clock"
	"lifeboat/repository"
	"lifeboat/restore"
)

// Status is what a daemon says of itself. Times are UTC, sizes bytes.
type Status struct {
	PID     int            `json:"pid"`
	Version string         `json:"version"`
	Since   time.Time      `json:"since"`
	Ready   bool           `json:"ready"`
	Ticked  time.Time      `json:"ticked"`                 // when it last looked for what is due
	Reload  string         `json:"reload_error,omitempty"` // why the newest configuration is not in use
	Notify  string         `json:"notify_error,omitempty"` // why not everybody can be notified
	Jobs    []JobStatus    `json:"jobs"`
	Sources []SourceStatus `json:"sources"`
	Targets []TargetStatus `json:"targets"`
	Drills  []DrillStatus  `json:"drills"`
	Pruned  *time.Time     `json:"retention_applied"`
}

// JobStatus is a job that runs, or waits.
type JobStatus struct {
	What   string     `json:"what"`
	Queued time.Time  `json:"queued"`
	Began  *time.Time `json:"began"` // null while it waits
	Done   int64      `json:"bytes_done"`
	Total  int64      `json:"bytes_total"` // 0 is unknown
}

// SourceStatus is a source that is in a policy.
type SourceStatus struct {
	Source   string     `json:"source"`
	Policy   string     `json:"policy"`
	Snapshot string     `json:"last_snapshot"`
	Taken    *time.Time `json:"last_taken"`
	Next     *time.Time `json:"next"`
	Failures int        `json:"failures"`
	Error    string     `json:"error,omitempty"`
	Again    *time.Time `json:"again,omitempty"` // when a failed backup is tried again
	Missed   int        `json:"missed_runs"`
	Log      string     `json:"log"` // capturing, broken, or empty where none is captured
	LogSince *time.Time `json:"log_since"`
	LogError string     `json:"log_error,omitempty"`
	Size     int64      `json:"last_size"`
	Stored   int64      `json:"last_stored"`
	Changed  int64      `json:"last_changed"`
	Allowed  int64      `json:"age_allowed_seconds"` // how old the newest snapshot may be; 0 is any
	Held     uint64     `json:"anomaly_hold"`        // the hold that an unusual snapshot led to, until somebody releases it; 0 is none
}

// TargetStatus is a target as the last job found it.
type TargetStatus struct {
	Target  string `json:"target"`
	Records uint64 `json:"records"`
	Behind  uint64 `json:"behind"`
	Error   string `json:"error,omitempty"`

	LastCheck  *time.Time `json:"last_check"` // of all of it
	Damaged    int        `json:"damaged_objects"`
	LocksLapse *time.Time `json:"locks_lapse"` // when the first lock on what is needed can lapse; null without locks
	LocksTerm  int64      `json:"locks_term_seconds"`
}

// Trouble says what is wrong with the daemon, in words; empty where nothing is. What is wrong with copies is not its business.
func (s Status) Trouble() string {
	var all []string
	if s.Reload != "" {
		all = append(all, "the daemon goes on with its former configuration: "+s.Reload)
	}
	if s.Notify != "" {
		all = append(all, "not everybody can be notified: "+s.Notify)
	}
	for _, row := range s.Sources {
		if row.Failures > 0 {
			all = append(all, fmt.Sprintf("the backup of %s failed %d times: %s", row.Source, row.Failures, row.Error))
		}
		if row.Allowed > 0 && row.Taken != nil && s.Ticked.Sub(*row.Taken).Seconds() > float64(row.Allowed) {
			all = append(all, fmt.Sprintf("the backup of %s is late: the newest snapshot, %s, is of %s", row.Source, row.Snapshot, row.Taken.Format(time.RFC3339)))
		}
		if row.Log == "broken" {
			all = append(all, fmt.Sprintf("the log of %s is not captured: %s", row.Source, row.LogError))
		}
	}
	return strings.Join(all, "\nlifeboat: ")
}

// Status is how things are now.
func (d *Daemon) Status() Status {
	now := d.Now()
	s := Status{PID: os.Getpid(), Version: d.Version, Since: d.began.UTC(), Jobs: []JobStatus{}, Sources: []SourceStatus{}, Targets: []TargetStatus{}}
	for _, j := range d.queue.list() {
		js := JobStatus{What: j.what, Queued: j.queued.UTC(), Began: moment(j.began)}
		if j.progress != nil {
			js.Done, js.Total = j.progress()
		}
		s.Jobs = append(s.Jobs, js)
	}
	s.Drills = d.drillStatus(now, d.config())
	state := d.fill(&s, now)
	for i := range s.Targets { // files are read without the lock: a disk may hang
		t := &s.Targets[i]
		check := repository.LastCheck(state, t.Target)
		t.LastCheck, t.Damaged = moment(check.Time), len(check.Damaged)
	}
	return s
}

// fill adds what is in memory, and returns the state directory.
func (d *Daemon) fill(s *Status, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Ready, s.Ticked, s.Pruned = d.ready, d.ticked.UTC(), moment(d.pruned)
	if d.reloaded != nil {
		s.Reload = d.reloaded.Error()
	}
	if d.mute != nil {
		s.Notify = d.mute.Error()
	}
	for _, p := range d.cfg.Policies {
		if d.Drills {
			break // nothing is backed up here
		}
		schedule := ScheduleOf(p)
		for _, name := range p.Sources {
			known := d.source(name)
			row := SourceStatus{Source: name, Policy: p.Name, Next: moment(schedule.Next(now, p.Name)), Failures: known.failures.Count, Error: known.failures.Why, Missed: known.missed,
				Allowed: int64(allowedAge(p, now).Seconds()), Held: known.held}
			if known.failures.waits(now) {
				row.Again = moment(known.failures.again)
			}
			if known.last != nil {
				last := known.last.Snapshot
				row.Snapshot, row.Taken, row.Size, row.Stored, row.Changed = restore.FormatID(known.last.Seq), moment(last.Taken), last.Size, last.Stored, last.Changed
			}
			if stream := d.streams[name]; stream != nil {
				row.Log, row.LogSince, row.LogError = stream.status()
			}
			s.Sources = append(s.Sources, row)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.targets)) {
		t := d.targets[name]
		if !t.seen {
			continue
		}
		s.Targets = append(s.Targets, TargetStatus{Target: name, Records: t.position, Behind: t.behind, Error: t.err, LocksLapse: moment(t.lapse), LocksTerm: int64(t.term.Seconds())})
	}
	return d.cfg.StateDir
}

// status says whether the log is being captured, since when, and what is wrong.
func (s *stream) status() (state string, since *time.Time, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.missed)) {
		why = cmp.Or(why, "target "+name+": "+s.missed[name])
	}
	if s.since.IsZero() {
		return "broken", moment(s.broken.Since), cmp.Or(s.broken.Why, why)
	}
	return "capturing", moment(s.since), why
}

// moment is a time in UTC, nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Alive reports whether the daemon goes on looking for what is due.
func (d *Daemon) Alive() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ready && clock.System().Sub(d.turned) < stuck
}

// troubles counts what people were told of and is not over, by the first part of its key.
func (d *Daemon) troubles() map[string]int {
	out := map[string]int{"backup": 0, "late": 0, "log": 0, "gap": 0, "target": 0, "check": 0, "source": 0, "prune": 0, "anomaly": 0, "locks": 0, "unchecked": 0, "drill": 0, "overdue": 0, "unheard": 0}
	d.mu.Lock()
	defer d.mu.Unlock()
	for key := range d.told {
		kind, _, _ := strings.Cut(key, "/")
		out[kind]++
	}
	return out
}
