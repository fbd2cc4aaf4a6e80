package bundle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/calendar"
	"lifeboat/journal"
)

// DueTime is a time at which a policy wanted a drill.
type DueTime struct {
	Policy string    `json:"policy"`
	At     time.Time `json:"at"`
	State  DueState  `json:"state"`
	Record uint64    `json:"record,omitempty"` // of the drill that served it, or that owned up to it
}

// DueState is what became of a DueTime.
type DueState string

// The states.
const (
	Served       DueState = "served"
	Acknowledged DueState = "missed" // and a later drill says so
	Silent       DueState = "silent" // missed, and nothing says so
	Pending      DueState = "pending"
)

const (
	maxDue = 20_000 // of one policy; a drill a minute would be more within two weeks
	shownN = 10     // times in one sentence
)

// schedule is when a policy wants drills, from a time on until its next text.
type schedule struct {
	cron     *calendar.Cron // nil: none, or by hand only, or it cannot be read
	from, to time.Time
}

// history lists the schedules of a policy, by its opaque name.
func (v *verifier) history() (order []string, all map[string][]schedule) {
	all = map[string][]schedule{}
	for i := range v.chain.Entries() {
		e := &v.chain.Entries()[i]
		if e.Policy == nil || e.Via != nil { // how it reads on another host is not what drills are due by
			continue
		}
		name := e.Policy.Policy
		if n := len(all[name]); n > 0 {
			all[name][n-1].to = e.When()
		} else {
			order = append(order, name)
		}
		s := schedule{from: e.When(), to: v.Period.Until}
		if text := v.policies[e.Policy.Digest]; text != nil {
			var err error
			if s.cron, err = drillSchedule(text); err != nil {
				v.problem(PolicyUnknown, e.Seq, policyFile(e.Policy.Digest), "When drills were due by the policy of record %d cannot be told: %v.", e.Seq, err)
			}
		}
		all[name] = append(all[name], s)
	}
	return order, all
}

// dueTimes lists when drills were due in the period, and what became of each time: by the policies where their texts are there, and else, which is less,
// by what the drills say themselves.
func (v *verifier) dueTimes() {
	order, schedules := v.history()
	said := v.said()
	for _, d := range v.drills {
		if schedules[d.Policy] == nil && !slices.Contains(order, d.Policy) {
			order = append(order, d.Policy)
		}
	}
	names := v.policyNames()
	for _, policy := range order {
		times := map[time.Time]DueTime{}
		for at, t := range said[policy] {
			if !at.Before(v.Period.Since) && !at.After(v.Period.Until) {
				times[at] = t
			}
		}
		v.computed(policy, schedules[policy], times)
		v.conclude(names[policy], times)
	}
}

// said is what the drills of each policy say that they served, and what was missed before them.
func (v *verifier) said() map[string]map[time.Time]DueTime {
	out := map[string]map[time.Time]DueTime{}
	for _, d := range v.drills {
		if out[d.Policy] == nil {
			out[d.Policy] = map[time.Time]DueTime{}
		}
		for _, at := range d.Missed {
			if at = at.UTC(); out[d.Policy][at].State != Served {
				out[d.Policy][at] = DueTime{At: at, State: Acknowledged, Record: d.entry.Seq}
			}
		}
		if d.Due != nil {
			out[d.Policy][d.Due.UTC()] = DueTime{At: d.Due.UTC(), State: Served, Record: d.entry.Seq}
		}
	}
	return out
}

// computed adds the times of the schedules of which no drill says anything.
func (v *verifier) computed(policy string, all []schedule, times map[time.Time]DueTime) {
	begin := v.firstSnapshot(policy)
	if begin.IsZero() {
		return // there was nothing to drill
	}
	for _, s := range all {
		if s.cron == nil {
			continue
		}
		from := latest(latest(s.from, begin), v.Period.Since.Add(-1)) // a time of the schedule lies behind it
		for t := s.cron.Next(from); !t.IsZero() && !t.After(s.to) && !t.After(v.Period.Until); t = s.cron.Next(t) {
			if len(times) >= maxDue {
				v.problem(DrillMissed, 0, "", "More than %d drills were due by one policy in the period; the others were not looked at.", maxDue)
				return
			}
			at := t.UTC()
			if _, ok := times[at]; ok {
				continue
			}
			grace := day // as the daemon gives a drill before it calls it overdue
			if next := s.cron.Next(t); !next.IsZero() {
				grace = min(grace, next.Sub(t))
			}
			times[at] = DueTime{At: at, State: Silent}
			if at.Add(grace).After(v.Period.Until) {
				times[at] = DueTime{At: at, State: Pending}
			}
		}
	}
}

// firstSnapshot is when there first was something to drill: a snapshot of what the drills of a policy restored or, before any drill, of anything.
func (v *verifier) firstSnapshot(policy string) time.Time {
	sources := map[string]bool{}
	for _, d := range v.drills {
		if d.Policy == policy {
			sources[d.Source] = true
		}
	}
	for i := range v.chain.Entries() {
		if e := &v.chain.Entries()[i]; e.Snapshot != nil && (len(sources) == 0 || sources[e.Snapshot.Source]) {
			return e.Time
		}
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// policyNames are the names that the texts of policies have.
func (v *verifier) policyNames() map[string]string {
	names := map[string]string{}
	for _, d := range v.drills {
		names[d.Policy] = d.Policy
	}
	for _, e := range v.chain.Entries() {
		if e.Policy == nil {
			continue
		}
		if p, err := parsePolicy(v.policies[e.Policy.Digest]); err == nil && p.Name != "" {
			names[e.Policy.Policy] = journal.Plain(p.Name)
		} else if names[e.Policy.Policy] == "" {
			names[e.Policy.Policy] = e.Policy.Policy
		}
	}
	return names
}

// conclude adds the times of a policy to the result, and tells of those that nothing owns up to.
func (v *verifier) conclude(policy string, times map[time.Time]DueTime) {
	var silent []string
	var all []DueTime
	for _, t := range times {
		t.Policy = policy
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b DueTime) int { return a.At.Compare(b.At) })
	for _, t := range all {
		if t.State == Silent {
			silent = append(silent, t.At.Format(time.RFC3339))
		}
	}
	v.Due = append(v.Due, all...)
	if n := len(silent); n > 0 {
		more := ""
		if n > shownN {
			silent, more = silent[:shownN], fmt.Sprintf(", and at %d other times", n-shownN)
		}
		v.problem(DrillMissed, 0, "", "By the policy %s drills were due at %s%s; none was made, and no later drill says that they were missed.", policy, strings.Join(silent, ", "), more)
	}
}
