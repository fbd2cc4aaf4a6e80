package daemon

import (
	"slices"
	"time"

	"lifeboat/config"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
)

// ScheduleOf is when the snapshots of a policy are taken.
func ScheduleOf(p config.Policy) policies.Schedule {
	return policies.Schedule{Full: p.Schedule.Full, Incremental: p.Schedule.Incremental, Zone: p.Schedule.Zone, Jitter: p.Schedule.Jitter.Length(), Blackout: p.Schedule.Blackout}
}

// enough is how many of a source's newest snapshots are looked at: more than a schedule of minutes takes in a day.
const enough = 2000

// DoneOf is what was done for the schedule of each source, by its opaque name and all records of the journal: what was dropped since served its time, too. Fulls
// count however many increments came behind them.
func DoneOf(entries []journal.Entry, damaged map[uint64]bool) map[string][]policies.Done {
	out := map[string][]policies.Done{}
	for i := range slices.Backward(entries) {
		s := entries[i].Snapshot
		if s == nil || len(out[s.Source]) >= enough && s.Kind != "full" {
			continue
		}
		done := policies.Done{Full: s.Kind == "full"}
		if damaged[entries[i].Seq] {
			done.Broken = "a check found it damaged on every copy"
		}
		if s.Due != nil {
			done.Due = *s.Due
		}
		out[s.Source] = append(out[s.Source], done)
	}
	for _, done := range out {
		slices.Reverse(done)
	}
	return out
}

// KeepOf is how long the snapshots of each source are kept, by the policy that it is in.
func KeepOf(cfg *config.Config, now time.Time) (out []repository.Keep) {
	for _, p := range cfg.Policies {
		r := p.Retention
		for _, source := range p.Sources {
			out = append(out, repository.Keep{Source: source, Every: ScheduleOf(p).Longest(now), Retention: policies.Retention{
				PITR: r.PITR, Daily: r.Daily, Weekly: r.Weekly, Monthly: r.Monthly, Yearly: r.Yearly, Minimum: r.Minimum, Zone: p.Schedule.Zone, BelowFloor: r.AllowBelow90d}})
		}
	}
	return out
}

// PolicyOf finds the policy of a source; false where it is in none.
func PolicyOf(cfg *config.Config, source string) (config.Policy, bool) {
	for _, p := range cfg.Policies {
		if slices.Contains(p.Sources, source) {
			return p, true
		}
	}
	return config.Policy{}, false
}
