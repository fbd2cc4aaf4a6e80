package evidence

import "slices"

// tables are what one check counted.
type tables struct {
	Check string
	Rows  []tableRow
	More  int
}

type tableRow struct {
	Table
	Expected, Difference string
	Wrong                bool
}

// mostTables bounds the page: a CRM may have thousands of tables, and all of them are in the report.
const mostTables = 400

func (l language) tables(r *Report) []tables {
	var out []tables
	for _, c := range r.Checks {
		if len(c.Tables) == 0 {
			continue
		}
		t := tables{Check: l.check(c)}
		for _, x := range c.Tables {
			row := tableRow{Table: x, Expected: "-", Difference: "-"}
			if x.Expected != nil {
				d := x.Rows - *x.Expected
				row.Expected, row.Difference, row.Wrong = comma(*x.Expected), comma(d), x.Exact && d != 0
				if d > 0 {
					row.Difference = "+" + row.Difference
				}
			}
			t.Rows = append(t.Rows, row)
		}
		slices.SortStableFunc(t.Rows, func(a, b tableRow) int { return rank(b.Wrong) - rank(a.Wrong) })
		if n := len(t.Rows) - mostTables; n > 0 {
			t.Rows, t.More = t.Rows[:mostTables], n
		}
		out = append(out, t)
	}
	return out
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}
