package bundle

import (
	"slices"

	"lifeboat/journal"
)

// manual is the kind of a drill that somebody asked for.
const manual = "manual"

// readPolicies verifies the texts of the policies.
func (v *verifier) readPolicies() {
	named := map[string]bool{}
	for _, e := range v.chain.Entries() {
		if e.Policy == nil {
			continue
		}
		if v.texts[e.Policy.Policy] == nil {
			v.texts[e.Policy.Policy] = map[string]bool{}
		}
		v.texts[e.Policy.Policy][e.Policy.Digest] = true
		if e.Policy.Digest == "" || named[e.Policy.Digest] {
			continue
		}
		named[e.Policy.Digest] = true
		v.readPolicy(e.Seq, e.Policy.Digest)
	}
	for _, d := range sorted(v.a.digests(dirPolicies)) {
		if !named[d] && v.whole {
			v.problem(PolicyExtra, 0, policyFile(d), "No record of the journal names the policy %s.", d)
		}
	}
}

func (v *verifier) readPolicy(seq uint64, named string) {
	file := policyFile(named)
	if v.a.files[file] == nil {
		if why, ok := v.unavailable(whatPolicy, named); ok {
			v.problem(PolicyUnavailable, seq, file, "The text of the policy of record %d is missing; whoever made the bundle says: %s. Which drills were due by it cannot be told.", seq, why)
			return
		}
		v.problem(PolicyLeftOut, seq, file, "The text of the policy of record %d was left out of the bundle.", seq)
		return
	}
	b, err := v.a.read(file)
	if err != nil || digest(b) != named {
		v.problem(PolicyAltered, seq, file, "The text of the policy of record %d is not the one that was recorded.", seq)
		return
	}
	v.policies[named] = b
}

// reviews adds who read which report, and finds reviews that do not count.
func (v *verifier) reviews() {
	drills, results := map[string]*drill{}, map[string]*ReportResult{}
	for i := range slices.Backward(v.drills) { // where two records name a report, the first counts
		drills[v.drills[i].Report] = &v.drills[i]
	}
	for i := range slices.Backward(v.Reports) {
		results[v.Reports[i].SHA256] = &v.Reports[i]
	}
	for i := range v.chain.Entries() {
		e := &v.chain.Entries()[i]
		if e.Review == nil {
			continue
		}
		d := drills[e.Review.Report]
		switch {
		case d == nil || d.entry.Seq > e.Seq:
			v.problem(BadReview, e.Seq, "", "Record %d is the review of a report that no drill before it has.", e.Seq)
			continue
		case d.kind == manual && (SamePerson(d.by, e.By) || SamePerson(d.by, e.Review.As)):
			v.problem(BadReview, e.Seq, reportFile(d.Report), "Record %d is a review by %s of a drill that %s ran: nobody else has looked at it.", e.Seq, shown(e.Review.As), shown(d.by))
		}
		if r := results[e.Review.Report]; r != nil {
			r.Reviews = append(r.Reviews, ReviewResult{Record: e.Seq, By: e.By, As: journal.Plain(e.Review.As), At: e.When(), Note: e.Reason})
		}
	}
}
