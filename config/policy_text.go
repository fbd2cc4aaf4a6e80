package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lifeboat/internal/calendar"
)

// policyText is a policy for auditors. Addresses, accounts and the URL of a heartbeat are not in it.
type policyText struct {
	Format    int               `json:"format"` // 1
	Name      string            `json:"name"`
	Sources   []sourceText      `json:"sources"`
	Targets   []targetText      `json:"targets"`
	Schedule  map[string]string `json:"schedule"`
	Blackout  []windowText      `json:"blackout"`
	Check     string            `json:"check"`
	Logs      string            `json:"logs"`
	RPO       string            `json:"rpo"`
	Retention map[string]string `json:"retention"`
	Copies    map[string]int    `json:"copies"`
	Drill     drillText         `json:"drill"`
	Heartbeat bool              `json:"heartbeat"`
}

type sourceText struct {
	Name   string `json:"name"`
	Engine Engine `json:"engine"`
	Owner  string `json:"owner"`
}

type targetText struct {
	Name    string     `json:"name"`
	Type    TargetType `json:"type"`
	Media   string     `json:"media"`
	Offsite bool       `json:"offsite"`
	Lock    string     `json:"object_lock"`
}

type drillText struct {
	Schedule         string      `json:"schedule"` // of the time zone that schedule names
	Mode             DrillMode   `json:"mode"`
	RTO              string      `json:"rto"`
	Select           Select      `json:"select"`
	Window           string      `json:"window"`
	From             string      `json:"from"`
	Source           string      `json:"source"`
	IdentityAccepted bool        `json:"identity_on_host"`
	Baseline         string      `json:"baseline"`
	TimeLimit        string      `json:"time_limit"`
	Checks           []checkText `json:"checks"`
	CanaryAccepted   bool        `json:"canary,omitempty"` // younger than format 1: texts of policies without one are as they were
}

type checkText struct {
	Name     string   `json:"name"`
	SQL      string   `json:"sql"`
	Equals   *string  `json:"equals"`
	Min      *float64 `json:"min"`
	Max      *float64 `json:"max"`
	Matches  string   `json:"matches"`
	Within   float64  `json:"within"`
	Severity Severity `json:"severity"`
}

// windowText is a window of the week: minutes after midnight.
type windowText struct {
	Days []string `json:"days"`
	From int      `json:"from"`
	To   int      `json:"to"`
}

// PolicyTexts are the texts of all policies, by name.
func PolicyTexts(c *Config) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, p := range c.Policies {
		text, err := PolicyText(c, p)
		if err != nil {
			return nil, fmt.Errorf("write down policy %s: %w", p.Name, err)
		}
		out[p.Name] = text
	}
	return out, nil
}

// PolicyText is how a policy reads, as one JSON object: what the journal keeps of it. Equal policies have equal texts.
func PolicyText(c *Config, p Policy) ([]byte, error) {
	t := policyText{Format: 1, Name: p.Name, Sources: []sourceText{}, Targets: []targetText{}, Blackout: windowTexts(p.Schedule.Blackout), Check: cronText(p.Check), Logs: p.Logs, RPO: p.RPO.String(), Heartbeat: p.Heartbeat != "",
		Copies: map[string]int{"count": p.Copies.Count, "media": p.Copies.Media, "offsite": p.Copies.Offsite, "immutable": p.Copies.Immutable}}
	for _, name := range p.Sources {
		s, _ := c.Source(name)
		t.Sources = append(t.Sources, sourceText{name, s.Engine, s.Owner})
	}
	for _, target := range c.Targets {
		if len(p.Targets) == 0 || slices.Contains(p.Targets, target.Name) {
			t.Targets = append(t.Targets, targetText{target.Name, target.Type, target.Media, target.Offsite, target.ObjectLock.Mode + " " + target.ObjectLock.For.String()})
		}
	}
	t.Schedule = map[string]string{"full": cronText(p.Schedule.Full), "incremental": cronText(p.Schedule.Incremental), "timezone": p.Schedule.Zone.String(), "jitter": p.Schedule.Jitter.String()}
	r, d := p.Retention, p.Drill
	t.Retention = map[string]string{"pitr": r.PITR.String(), "daily": r.Daily.String(), "weekly": r.Weekly.String(), "monthly": r.Monthly.String(), "yearly": r.Yearly.String(), "minimum": r.Minimum.String(),
		"allow_below_90d": r.AllowBelow90d}
	t.Drill = drillText{cronText(d.Schedule), d.Mode, d.RTO.String(), d.Select, d.Window.String(), d.From, d.Source, d.IdentityAccepted, d.Baseline.String(), d.TimeLimit.String(), checkTexts(d.Checks), d.CanaryAccepted}
	return json.Marshal(t)
}

func checkTexts(checks []Check) []checkText {
	out := []checkText{}
	for _, c := range checks {
		t := checkText{Name: c.Name, SQL: c.SQL, Min: c.Min, Max: c.Max, Matches: c.Matches, Within: c.Within, Severity: c.Severity}
		if c.Equals != nil {
			t.Equals = &c.Equals.Text
		}
		out = append(out, t)
	}
	return out
}

func windowTexts(windows []calendar.Window) []windowText {
	out := []windowText{}
	for _, w := range windows {
		t := windowText{Days: []string{}, From: w.From, To: w.To}
		for day, on := range w.Days {
			if on {
				t.Days = append(t.Days, time.Weekday(day).String())
			}
		}
		out = append(out, t)
	}
	return out
}

func cronText(c *calendar.Cron) string {
	if c == nil {
		return ""
	}
	return c.String()
}
