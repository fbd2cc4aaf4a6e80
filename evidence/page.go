package evidence

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"

	"bytes"
	"lifeboat/internal/phrase"
	"unicode"
)

//go:embed page.html
var pageHTML string

//go:embed page_parts.html
var pageParts string

// Page writes an opened report as one HTML file that needs nothing else: no script, no network. Texts of phrase are in the language of the page; what the
// engine and the policy said stays in the language in which they said it, and is marked.
func Page(w io.Writer, o *Opened, lang string) error {
	if !slices.Contains(Languages(), lang) {
		return fmt.Errorf("write the page of a report: no language %.20q: there are %v", lang, Languages())
	}
	l := language(lang)
	t, err := template.New("page").Funcs(l.funcs()).Parse(pageHTML + pageParts)
	if err != nil {
		return fmt.Errorf("write the page of a report: %w", err)
	}
	var page bytes.Buffer
	err = t.Execute(&page, l.view(o))
	if err == nil {
		_, err = w.Write(bytes.Map(shown, page.Bytes()))
	}
	if err != nil {
		return fmt.Errorf("write the page of a report: %w", err)
	}
	return nil
}

// shown stands for what shows as nothing, or turns the direction of writing: a name may have that, and make a line look like another.
func shown(r rune) rune {
	if r == '\n' || r == '\t' || unicode.IsGraphic(r) {
		return r
	}
	return unicode.ReplacementChar
}

// tier1 is the mode in which a backup is read and verified, and not restored.
const tier1 = "tier1"

// view is a report as the page shows it.
type view struct {
	R            *Report
	Lang, Digest string
	Trusted      bool
	Summary      string
	Reasons      []reason
	Timeline     *timeline
	Trends       []trend
	Tables       []tables

	Selection, Backup, Policy, Host, Proof []fact
}

// reason is something that did not pass.
type reason struct {
	Verdict Verdict
	Text    string
	Why     []phrase.Piece
}

// fact is a line of a table of two columns.
type fact struct {
	Label, Value string
	Said         []phrase.Piece // in place of Value
	Code         bool           // digests and keys
}

func (l language) view(o *Opened) *view {
	r := o.Report
	v := &view{R: r, Lang: string(l), Digest: o.Digest, Trusted: o.Trusted, Reasons: l.reasons(r), Timeline: l.timeline(r), Trends: l.trends(r), Tables: l.tables(r)}
	v.Summary = l.summary(r)
	v.Selection, v.Backup, v.Policy, v.Host, v.Proof = l.selection(r), l.backup(r), l.policy(r), l.host(r), l.proof(o)
	return v
}

func (l language) summary(r *Report) string {
	values := []any{dash(r.Backup.Snapshot), dash(r.Policy.Source), dash(join(" ", r.Backup.Engine, r.Backup.Version)), l.copyName(r.Backup.Copy)}
	point := l.plain(r.Point.Reached)
	if r.Point.Through != nil {
		point = l.at(r.Point.Through)
	}
	switch {
	case r.Selection.Mode == tier1:
		return l.text("summary tier1", values...)
	case point == "":
		return l.text("summary failed", values...)
	}
	return l.text("summary", append(values, point)...)
}

func (l language) copyName(c Copy) string {
	if c.Place == "" {
		return dash(c.Target)
	}
	return c.Target + l.bracket(c.Place)
}

// reasons lists all that did not pass, also where the drill as a whole did: warnings and a missed objective belong to the first page, too.
func (l language) reasons(r *Report) []reason {
	var out []reason
	add := func(v Verdict, text string) {
		if v != Pass {
			out = append(out, reason{Verdict: cmp.Or(v, Inconclusive), Text: text})
		}
	}
	if r.Selection.Mode != tier1 { // which restores nothing
		add(r.Point.Verdict, l.text("missed point", dash(r.Point.Requested)))
		add(r.Isolation.Teardown, l.text("teardown")+l.colon(l.text("left", r.Isolation.Processes, r.Isolation.Files)))
	}
	if r.RTO.Target > 0 {
		add(r.RTO.Verdict, l.text("rto")+l.colon(l.objective(r.RTO)+", "+l.target(r.RTO)))
	}
	if r.RPO.Target > 0 {
		add(r.RPO.Verdict, l.text("rpo")+l.colon(l.objective(r.RPO)+", "+l.target(r.RPO)))
	}
	if r.Projection != nil {
		add(r.Projection.Verdict, l.text("projection")+l.colon(l.duration(r.Projection.Duration)))
	}
	for _, c := range r.Checks {
		if c.Verdict == Pass {
			continue
		}
		r := reason{Verdict: cmp.Or(c.Verdict, Inconclusive), Text: l.check(c) + l.bracket(l.word("severity", string(c.Severity))), Why: l.said(c.Why)}
		if c.Why != "" {
			r.Text += l.colon("")
		}
		out = append(out, r)
	}
	for _, c := range r.Backup.Companions {
		add(c.Verdict, l.text("companions")+l.colon(c.Source))
	}
	return out
}

// check is the name of a check: its kind in the language of the page, and what makes it one of several.
func (l language) check(c Check) string {
	kind := l.word("kind", c.Kind)
	if c.ID == c.Kind || c.ID == "" {
		return kind
	}
	if len(c.ID) > len(c.Kind) && c.ID[:len(c.Kind)] == c.Kind && c.ID[len(c.Kind)] == ':' {
		return kind + " " + c.ID[len(c.Kind)+1:]
	}
	return kind + " " + c.ID
}

// allWords is everything that the page says by itself.
var allWords = func() map[string]message {
	out := maps.Clone(words)
	maps.Copy(out, identityWords)
	return out
}()

func (l language) funcs() template.FuncMap {
	return template.FuncMap{
		"t": func(key string, values ...any) (string, error) {
			if _, ok := allWords[key]; !ok {
				return "", fmt.Errorf("no text %q", key)
			}
			return l.text(key, values...), nil
		},
		"word": func(field string, value any) string { return l.word(field, fmt.Sprint(value)) },
		"at":   l.at, "between": l.between, "duration": l.duration, "size": size, "percent": percent, "objective": l.objective, "target": l.target,
		"dash": dash, "short": short, "comma": func(v any) (string, error) {
			n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
			return comma(n), err
		},
		"said": l.said, "answer": l.answer, "plain": l.plain, "colon": func() string { return l.colon("") }, "yes": l.yes, "class": class, "mark": mark, "check": l.check,
		"limit": func(x Limit) string { return limitIn(x, string(l)) },
		"about": func(c Control) string { return aboutIn(c, string(l)) },
	}
}
