package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"lifeboat/evidence"
	"lifeboat/internal/phrase"
)

// Assertion is what a policy says of the first column of the first row of a statement.
type Assertion struct {
	Name     string
	SQL      string
	Severity evidence.Severity
	Equals   *string
	Number   bool // Equals is a number: 5 is 5.00
	Min, Max *float64
	Matches  *regexp.Regexp
	Within   float64 // share of the value in the last drill; 0: none
}

// assertion asks it. A statement about which nothing is said only has to succeed.
func (a *asking) assertion(s Assertion) func(context.Context, *evidence.Check) error {
	return func(ctx context.Context, c *evidence.Check) error {
		c.What, c.SQL = phrase.PolicyStatement.Say(), digest(s.SQL)
		value, null, err := a.db.Query(ctx, s.SQL)
		if err != nil {
			return err
		}
		if c.Observed = value; null {
			c.Observed = "NULL"
		}
		return s.judge(c, value, null, a.last(c))
	}
}

// last is what the same statement gave in the last drill.
func (a *asking) last(c *evidence.Check) *string {
	if a.Before == nil {
		return nil
	}
	for _, b := range a.Before.Checks {
		if b.ID == c.ID && b.SQL == c.SQL && b.Verdict != evidence.Inconclusive {
			return &b.Observed
		}
	}
	return nil
}

func (s Assertion) judge(c *evidence.Check, value string, null bool, last *string) error {
	expect := func(ok bool, what string) {
		if c.Expected != "" {
			c.Expected += ", "
		}
		if c.Expected += what; !ok {
			c.Verdict = evidence.Fail
		}
	}
	if s.Equals != nil {
		expect(!null && (value == *s.Equals || s.Number && sameNumber(value, *s.Equals)), phrase.EqualTo.Say(*s.Equals))
	}
	if s.Matches != nil {
		expect(!null && s.Matches.MatchString(value), phrase.Matching.Say(s.Matches))
	}
	if s.Min == nil && s.Max == nil && s.Within == 0 {
		if c.Expected == "" {
			c.Expected = phrase.AnAnswer.Say()
		}
		return nil
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || null || math.IsNaN(n) {
		expect(false, phrase.ANumber.Say())
		return nil
	}
	if s.Min != nil {
		expect(n >= *s.Min, phrase.AtLeast.Say(fmt.Sprint(*s.Min)))
	}
	if s.Max != nil {
		expect(n <= *s.Max, phrase.AtMost.Say(fmt.Sprint(*s.Max)))
	}
	if s.Within == 0 {
		return nil
	}
	if last == nil {
		expect(true, phrase.WithinNoLast.Say(fmt.Sprint(100*s.Within)))
		return nil
	}
	before, err := strconv.ParseFloat(*last, 64)
	if err != nil {
		return errors.New(phrase.LastNoNumber.Say(strconv.Quote(*last)))
	}
	expect(math.Abs(n-before) <= s.Within*math.Abs(before), phrase.WithinLast.Say(fmt.Sprint(100*s.Within), fmt.Sprint(before)))
	return nil
}

func sameNumber(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && x == y
}
