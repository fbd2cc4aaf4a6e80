package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/policies"
)

// maxPlanDays is as far ahead as a plan is worth its time.
const maxPlanDays = 3660

// planReport is what will run, and what will be kept, in JSON.
type planReport struct {
	Repository string          `json:"repository"`
	Now        time.Time       `json:"now"`
	Zone       string          `json:"zone"` // of the days
	Sources    []planned       `json:"sources"`
	Total      []planDay       `json:"total"`
	Assumed    []string        `json:"assumed"`
	Notes      []string        `json:"notes"`
	policies   []policyMeaning // for the page
	days       []policies.Day  // of Total
}

// planned is the plan of one source.
type planned struct {
	Source    string    `json:"source"`
	Policy    string    `json:"policy"`
	Known     bool      `json:"sizes_known"` // from the snapshots that there are
	Full      int64     `json:"bytes_full"`
	Increment int64     `json:"bytes_increment"`
	LogPerDay int64     `json:"bytes_log_per_day"`
	Snapshots int       `json:"snapshots"` // that there are
	Days      []planDay `json:"days"`
	forecast  policies.Forecast
	days      []policies.Day
}

// planDay is one day of a plan.
type planDay struct {
	Date          string         `json:"date"`
	Full          []time.Time    `json:"full"`
	Incremental   []time.Time    `json:"incremental"`
	Dropped       int            `json:"dropped"`
	Kept          map[string]int `json:"kept"`
	Snapshots     int            `json:"snapshots"`
	Earliest      *time.Time     `json:"earliest"`
	EarliestPoint *time.Time     `json:"earliest_point"` // from when on every second can be restored
	Bytes         *int64         `json:"bytes"`          // of one copy; null where nothing is known
}

func (a *app) policyPlan() *cobra.Command {
	var days int
	var source, page string
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what will run on each day to come, what will be kept, and how much that takes",
		Long: "Plays the policies through from now on: the runs of each day, what retention drops and keeps at its end, from when on can be restored, and the size of a copy. " +
			"It begins with the snapshots that there are, where the repository can be read, and works without. Nothing is changed.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if days < 1 || days > maxPlanDays {
				return usagef("--days %d: expected 1 to %d", days, maxPlanDays)
			}
			r, err := a.plan(c.Context(), days, source)
			if err != nil {
				return err
			}
			if page != "" {
				if err := a.writePage(page, r); err != nil {
					return err
				}
			}
			if a.json {
				return a.printJSON(r)
			}
			return a.showPlan(r)
		},
	}
	f := c.Flags()
	f.IntVar(&days, "days", 60, "look `N` days ahead")
	f.StringVar(&source, "source", "", "only this `SOURCE`")
	f.StringVar(&page, "html", "", "write a page for people to `FILE`, too")
	return a.jsonFlag(c)
}

// plan plays the policies through.
func (a *app) plan(ctx context.Context, days int, source string) (*planReport, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	zone := planZone(cfg)
	now := a.now()
	r := &planReport{Repository: cfg.Repository, Now: now.UTC(), Zone: zoneWords(zone), Sources: []planned{}, Assumed: assumptions(zone), Notes: []string{}}
	known, err := a.past(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		r.note("what is stored already is not counted: %v", err)
	}
	for _, f := range forecasts(cfg, known, now) {
		if source == "" || f.Source == source {
			r.Sources = append(r.Sources, f)
		}
	}
	if source != "" && len(r.Sources) == 0 {
		return nil, usagef("source %q is in no policy of the configuration", source)
	}
	var wait sync.WaitGroup
	for i := range r.Sources {
		s := &r.Sources[i]
		wait.Go(func() { s.play(now, zone, days) })
	}
	wait.Wait()
	r.sum()
	for _, p := range cfg.Policies {
		if source == "" || slices.Contains(p.Sources, source) {
			r.policies = append(r.policies, meaning(cfg, p, now))
		}
	}
	return r, nil
}

func (r *planReport) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// play works the days of a source out.
func (s *planned) play(now time.Time, zone *time.Location, days int) {
	sizes := s.forecast.Sizes
	s.Full, s.Increment, s.LogPerDay, s.Snapshots = sizes.Full, sizes.Increment, sizes.LogPerDay, len(s.forecast.Points)
	s.days = s.forecast.Days(now, zone, days)
	s.Days = dayRows(s.days, s.Known)
}

// sum adds the sources up, and notes what the sum leaves out.
func (r *planReport) sum() {
	var all [][]policies.Day
	var unknown, single []string
	for _, s := range r.Sources {
		all = append(all, s.days)
		switch {
		case !s.Known:
			unknown = append(unknown, s.Source)
		case s.Increment == 0:
			single = append(single, s.Source)
		}
	}
	r.days = policies.Sum(all...)
	r.Total = dayRows(r.days, len(unknown) < len(r.Sources))
	if len(unknown) > 0 {
		r.note("the size of %s is not known, and not counted: there is no snapshot yet", english.WordSeries(unknown, "and"))
	}
	if len(single) > 0 {
		r.note("no increment of %s stored anything yet: they count as nothing", english.WordSeries(single, "and"))
	}
}

func dayRows(days []policies.Day, known bool) []planDay {
	out := make([]planDay, 0, len(days))
	for _, d := range days {
		row := planDay{Date: d.Begin.Format(time.DateOnly), Full: inUTC(d.Full), Incremental: inUTC(d.Incremental), Dropped: d.Dropped, Kept: d.Kept, Snapshots: d.Total,
			Earliest: utc(d.Earliest), EarliestPoint: utc(d.EarliestPoint)}
		if known {
			row.Bytes = &d.Bytes
		}
		out = append(out, row)
	}
	return out
}

func inUTC(times []time.Time) []time.Time {
	out := make([]time.Time, 0, len(times))
	for _, t := range times {
		out = append(out, t.UTC())
	}
	return out
}

// planZone is the zone of all policies, or UTC where they have several.
func planZone(cfg *config.Config) *time.Location {
	zone := time.UTC
	for i, p := range cfg.Policies {
		if i > 0 && p.Schedule.Zone.String() != zone.String() {
			return time.UTC
		}
		zone = p.Schedule.Zone
	}
	return zone
}

// assumptions are what a plan takes for granted.
func assumptions(zone *time.Location) []string {
	return []string{
		"Days are those of " + zoneWords(zone) + ".",
		"The daemon runs all the time, nothing fails, and a run takes no time. What is due already is taken at once.",
		"Retention is applied at the end of each day. A snapshot counts under the first rule that keeps it: " + strings.Join(policies.Rules, ", ") + ". Holds stay as they are.",
		"Sizes are of one copy: the first full snapshot as large as the largest that there was, for the database's size now; each later one, full ones too, what the newest stored on average, " +
			"because what is there already is not stored again; and log by what a day took.",
		"What dropped snapshots had stored counts for the next one that is kept, up to the size of a full: that is too much where the same places change again and again.",
		"What nothing needs any more is deleted a week later, and packs that are half empty stay: up to about twice as much can stand there for a while.",
	}
}
