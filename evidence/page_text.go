package evidence

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"lifeboat/internal/phrase"
)

// language writes values as people read them.
type language string

// text is one of our own texts, filled in.
func (l language) text(key string, values ...any) string {
	s := allWords[key].in(string(l))
	if len(values) == 0 {
		return s
	}
	return fmt.Sprintf(s, values...)
}

// word is a value of a field; one that is not known, of a newer version, stays as it is.
func (l language) word(field, value string) string {
	if m, ok := valueWords[field+"."+value]; ok {
		return m.in(string(l))
	}
	return dash(value)
}

// said is a text of a report in the language of the page, as far as it is ours.
func (l language) said(text string) []phrase.Piece {
	if l == Chinese {
		return phrase.Chinese(text)
	}
	return []phrase.Piece{{Text: text}}
}

// plain is what was said, where what is not ours cannot be marked.
func (l language) plain(text string) (out string) {
	for _, p := range l.said(text) {
		out += p.Text
	}
	return out
}

// answer is what a check observed. What a statement of the policy selects is content of the database, whatever it looks like.
func (l language) answer(c Check) []phrase.Piece {
	if c.Kind == "assertion" {
		return []phrase.Piece{{Text: dash(c.Observed)}}
	}
	return l.said(dash(c.Observed))
}

func (l language) colon(s string) string {
	if l == Chinese {
		return "：" + s
	}
	return ": " + s
}

func (l language) bracket(s string) string {
	if l == Chinese {
		return "（" + s + "）"
	}
	return " (" + s + ")"
}

func (l language) yes(b bool) string {
	if b {
		return l.text("yes")
	}
	return l.text("no")
}

// at is a time in UTC to the second.
func (l language) at(v any) string {
	switch t := v.(type) {
	case time.Time:
		if !t.IsZero() {
			return t.UTC().Format("2006-01-02 15:04:05Z")
		}
	case *time.Time:
		if t != nil {
			return l.at(*t)
		}
	}
	return "-"
}

// between is when something began, and how long it took.
func (l language) between(start, end time.Time) string {
	if start.IsZero() {
		return "-"
	}
	return start.UTC().Format("15:04:05Z") + ", " + l.duration(end.Sub(start).Milliseconds())
}

var units = []message{{"ms", "毫秒"}, {"s", "秒"}, {"min", "分钟"}, {"h", "小时"}, {"d", "天"}}

// duration shows milliseconds in the two largest units that it has.
func (l language) duration(ms int64) string {
	if ms < 0 {
		return "-" + l.duration(-max(ms, -math.MaxInt64))
	}
	unit := func(i int) string { return " " + units[i].in(string(l)) }
	two := func(n, per int64, large, small int) string {
		if n%per == 0 {
			return fmt.Sprint(n/per) + unit(large)
		}
		return fmt.Sprint(n/per) + strings.TrimSuffix(unit(large), "钟") + " " + fmt.Sprint(n%per) + unit(small)
	}
	switch {
	case ms == 0:
		return "0" + unit(1)
	case ms < 1000:
		return fmt.Sprint(ms) + unit(0)
	case ms < 60_000:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", math.Floor(float64(ms)/100)/10), ".0") + unit(1)
	case ms < 3_600_000:
		return two(ms/1000, 60, 2, 1)
	case ms < 86_400_000:
		return two(ms/60_000, 60, 3, 2)
	}
	return two(ms/3_600_000, 24, 4, 3)
}

func (l language) seconds(s int64) string {
	return l.duration(min(max(s, 0), math.MaxInt64/1000) * 1000)
}

// objective is what was measured. Nothing was where it did not pass and there is no number.
func (l language) objective(o Objective) string {
	if o.Actual < 0 || o.Actual == 0 && o.Verdict != Pass {
		return l.text("not measured")
	}
	return l.duration(o.Actual)
}

func (l language) target(o Objective) string {
	if o.Target <= 0 {
		return l.text("target none")
	}
	return l.text("target", l.duration(o.Target))
}

func size(n int64) string {
	if n < 0 {
		return "-"
	}
	return humanize.IBytes(uint64(n))
}

func comma(n int64) string { return humanize.Comma(n) }

func percent(share float64) string { return fmt.Sprintf("%.1f %%", share*100) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// short is enough of a digest to compare it with another by eye.
func short(digest string) string {
	if len(digest) > 16 {
		return strings.ToValidUTF8(digest[:16], "") + "…"
	}
	return digest
}

func join(sep string, parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, sep)
}

// class is the style of a verdict, and mark its sign: nobody has to tell colours apart. What is not known is no pass.
func class(v Verdict) string {
	if v == Pass || v == Fail {
		return string(v)
	}
	return string(Inconclusive)
}

func mark(v Verdict) string {
	return map[string]string{"pass": "✓", "fail": "✕", "inconclusive": "?"}[class(v)]
}
