// Package notify tells people what happened: by webhook, by mail, and by the robots of DingTalk and WeCom; and it calls the URL of a
// dead man's switch. A Notifier keeps them from being told the same thing again and again, survives restarts, and waits for nobody.
// What happened, and when it is over, is for those who call it to find out.
package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"lifeboat/internal/redact"
)

// Kind is what an event is about.
type Kind string

// The kinds of events.
const (
	BackupFailed      Kind = "backup_failed"
	BackupLate        Kind = "backup_late"
	Recovered         Kind = "recovered"
	LogGap            Kind = "log_gap"
	LogStalled        Kind = "log_stalled"
	LockLapsing       Kind = "lock_lapsing"
	Drill             Kind = "drill"
	Anomaly           Kind = "anomaly"
	CopyDamaged       Kind = "copy_damaged"
	TargetUnreachable Kind = "target_unreachable"
	PruneRefused      Kind = "prune_refused"
	Testing           Kind = "test"
	Digest            Kind = "digest" // made here: several events in one message
)

// Severity is how soon somebody should look.
type Severity string

// The severities, the least one first.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

var severities = []Severity{Info, Warning, Critical}

// Event is something that people are told, in a form that webhooks get too. Its texts are for everybody who reads along: they hold no
// secret and nothing of the data that is backed up.
type Event struct {
	Key        string    `json:"key,omitempty"` // of the trouble, "backup/crm" say: the same trouble has the same key. Without one, each event is told
	Kind       Kind      `json:"kind"`
	Severity   Severity  `json:"severity"`
	Repository string    `json:"repository,omitempty"`
	Host       string    `json:"host,omitempty"`
	Policy     string    `json:"policy,omitempty"`
	Source     string    `json:"source,omitempty"`
	Target     string    `json:"target,omitempty"`
	Title      string    `json:"title"`              // one line. A new title is told at once: numbers that change belong into Detail
	Detail     string    `json:"detail,omitempty"`   // why, and what to do
	At         time.Time `json:"at"`                 // zero is when it is told
	Recovered  bool      `json:"recovered"`          // closes Key
	Reminder   bool      `json:"reminder"`           // set here: was told before, and is still so
	Gathered   []Event   `json:"gathered,omitempty"` // set here: the events of a digest, in their order
}

// The texts of an event are cut to so many bytes.
const (
	maxName     = 256
	maxTitle    = 256
	maxDetail   = 4 << 10
	maxGathered = 256 // of the detail of an event in a digest
)

// tidy bounds and cleans what a caller gave.
func (e Event) tidy(now time.Time) Event {
	for _, s := range []*string{&e.Key, &e.Repository, &e.Host, &e.Policy, &e.Source, &e.Target} {
		*s = clip(oneLine(*s), maxName)
	}
	e.Title = clip(oneLine(redact.Text(e.Title)), maxTitle)
	e.Detail = clip(printable(redact.Text(e.Detail)), maxDetail)
	if e.At.IsZero() {
		e.At = now
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	e.Reminder, e.Gathered = false, nil
	return e
}

// state is what the first word of a message says.
func (e Event) state() string {
	switch {
	case e.Recovered:
		return "recovered"
	case e.Reminder:
		return "still " + string(e.Severity)
	}
	return string(e.Severity)
}

// headline is an event in one line.
func (e Event) headline() string {
	s := "Lifeboat"
	if e.Repository != "" {
		s += " " + e.Repository
	}
	return s + ": " + e.state() + ": " + e.Title
}

// text is an event for people, in at most limit bytes.
func (e Event) text(limit int) string {
	var s strings.Builder
	s.WriteString(e.headline() + "\n")
	if e.Detail != "" {
		s.WriteString(e.Detail + "\n")
	}
	for _, f := range [][2]string{{"host", e.Host}, {"policy", e.Policy}, {"source", e.Source}, {"target", e.Target}} {
		if f[1] != "" {
			fmt.Fprintf(&s, "%s: %s\n", f[0], f[1])
		}
	}
	fmt.Fprintf(&s, "time: %s\n", e.At.Format(time.RFC3339))
	if len(e.Gathered) > 1 {
		fmt.Fprintf(&s, "and %d more:\n", len(e.Gathered)-1)
		for _, g := range e.Gathered[1:] {
			fmt.Fprintf(&s, "- %s: %s (%s)\n", g.state(), g.Title, g.At.Format(time.RFC3339))
		}
	}
	return clip(strings.TrimSuffix(s.String(), "\n"), limit)
}

// digest makes one message of several events: the first one, "and 12 more".
func digest(events []Event) Event {
	if len(events) == 1 {
		return events[0]
	}
	d := events[0]
	d.Key, d.Kind, d.Recovered, d.Reminder = "", Digest, false, false
	d.Title = fmt.Sprintf("%s, and %d more", d.Title, len(events)-1)
	if events[0].Recovered {
		d.Severity, d.Title = Info, "recovered: "+d.Title
	}
	for _, e := range events {
		if !e.Recovered && slices.Index(severities, e.Severity) > slices.Index(severities, d.Severity) {
			d.Severity = e.Severity
		}
		e.Detail = clip(e.Detail, maxGathered)
		d.Gathered = append(d.Gathered, e)
	}
	return d
}

// clip cuts s to limit bytes, between characters, and shows that it did.
func clip(s string, limit int) string {
	const cut = "…"
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len(cut)], "") + cut
}

// printable drops what a terminal or a mail program could take for something else than text.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

func oneLine(s string) string {
	return printable(strings.Join(strings.Fields(s), " "))
}
