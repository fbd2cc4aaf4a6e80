package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"time"

	"lifeboat/config"
	"lifeboat/internal/atomicfile"
	"lifeboat/restore"
)

//go:embed policy_page.html
var policyPage string

// pageMark is by what an earlier page is known.
const pageMark = `<meta name="generator" content="lifeboat policy plan"/>`

// planPage is a plan as the page shows it.
type planPage struct {
	*planReport
	First, Last, Made string
	Policies          []policyMeaning
	CalendarHeight    int
	Weekdays, Weeks   []label
	Cells             []cell
	Kept, Size        chart
	SizeCaption       string
	Sources, Days     [][]string
}

// writePage writes a plan as a page of its own. An earlier page is replaced, anything else is not.
func (a *app) writePage(path string, r *planReport) error {
	old, err := config.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("write the page: %w", err)
	case !bytes.Contains(old, []byte(pageMark)): // it stands near the beginning
		return fmt.Errorf("%w: write the page %s: it is there already, and is no page of a plan: choose another name", restore.ErrRefused, path)
	default:
		a.note("%s was there already, and is replaced", path)
	}
	page, err := renderPage(r)
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return atomicfile.Write(path, page, 0o644)
}

func renderPage(r *planReport) ([]byte, error) {
	t, err := template.New("page").Parse(policyPage)
	if err != nil {
		return nil, err
	}
	p := planPage{planReport: r, Policies: r.policies, Made: r.Now.Format(time.RFC3339), First: r.Now.Format(time.DateOnly), Last: r.Now.Format(time.DateOnly)}
	if n := len(r.days); n > 0 {
		p.First, p.Last = r.days[0].Begin.Format("Mon 2006-01-02"), r.days[n-1].Begin.Format("Mon 2006-01-02")
		p.calendar(r.days)
		p.Kept, p.Size = keptChart(r.days), sizeChart(r)
		p.SizeCaption = "Bytes that one copy takes at the end of each day, as far as the assumptions below hold."
		if r.Total[0].Bytes == nil {
			p.SizeCaption = "Not known: there is no snapshot yet."
		}
	}
	for _, s := range r.Sources {
		row := []string{s.Source, s.Policy, fmt.Sprint(s.Snapshots), "-", "-", "-", "-", "-"}
		if s.Known {
			row[3], row[4], row[5] = sizeText(&s.Full), sizeText(&s.Increment), sizeText(&s.LogPerDay)
		}
		if n := len(s.Days); n > 0 {
			row[6], row[7] = fmt.Sprintf("%d, %s", s.Days[n-1].Snapshots, sizeText(s.Days[n-1].Bytes)), minuteText(s.days[n-1].EarliestPoint, s.days[n-1])
		}
		p.Sources = append(p.Sources, row)
	}
	for i, d := range r.days {
		p.Days = append(p.Days, dayCells(d, r.Total[i].Bytes))
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
