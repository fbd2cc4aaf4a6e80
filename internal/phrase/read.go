package phrase

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Piece is a stretch of a text.
type Piece struct {
	Text    string
	English bool // words that are not ours, and so are in the language in which they came
}

// Chinese is a text in simplified Chinese, line by line, as far as it is ours. Phrases may stand in each other, and behind each other: first what was done or
// looked at, then after a colon, a comma or a semicolon what came of it.
func Chinese(text string) (out []Piece) {
	r := reading{}
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			out = append(out, Piece{Text: "\n"})
		}
		out = append(out, r.line(line).pieces...)
	}
	return merged(out)
}

// form is a phrase as it is recognised and rendered.
type form struct {
	prefix   string // with which it begins in English
	english  *regexp.Regexp
	texts    []bool // which places hold another text
	literals int    // characters of the phrase itself
	chinese  []part
}

// part is a literal, or a place by its number from 1 on.
type part struct {
	text  string
	verb  string
	place int
}

var place = regexp.MustCompile(`%(?:\[(\d)\])?(20s|1s|[dsv])|%%`)

// tokens takes a template apart.
func tokens(template string) (out []part) {
	at, n := 0, 0
	for _, m := range place.FindAllStringSubmatchIndex(template, -1) {
		out = append(out, part{text: template[at:m[0]]})
		at = m[1]
		if m[4] < 0 {
			out = append(out, part{text: "%"})
			continue
		}
		if n++; m[2] >= 0 {
			n, _ = strconv.Atoi(template[m[2]:m[3]]) // a digit
		}
		out = append(out, part{verb: template[m[4]:m[5]], place: n})
	}
	return append(out, part{text: template[at:]})
}

// places are what values look like. A text reaches as far as it can, a value no further than it must.
var places = map[string]string{"d": `(-?\d+)`, "s": `(.+?)`, "1s": `(\S+)`, "20s": `(\d{4}-\d\d-\d\dT\S{9,})`, "v": `(.*)`}

func formOf(english, chinese string) (f form) {
	var b strings.Builder
	for _, t := range tokens(english) {
		b.WriteString(regexp.QuoteMeta(t.text))
		f.literals += len(t.text)
		if t.place > 0 {
			b.WriteString(places[t.verb])
			f.texts = append(f.texts, t.verb == "v")
		}
	}
	f.prefix, _, _ = strings.Cut(english, "%")
	f.english, f.chinese = regexp.MustCompile("^"+b.String()+"$"), tokens(chinese)
	return f
}

// forms are all phrases, those that are derived from nouns and kinds too.
var forms = sync.OnceValue(func() (out []form) {
	for english, chinese := range chinese {
		out = append(out, formOf(string(english), chinese))
	}
	for n, chinese := range nouns {
		out = append(out, formOf(n.Count(1), "1 "+chinese), formOf("%d "+string(n)+"s", "%d "+chinese))
	}
	for kind, chinese := range kinds {
		out = append(out, formOf(kind+" %d", chinese+" %d"))
	}
	slices.SortFunc(out, func(a, b form) int { return strings.Compare(a.english.String(), b.english.String()) })
	return out
})

// Bounds of a line that is looked at, and of each part of a text that is looked at by itself, bytes: reports may be anybody's.
const (
	longestLine = 128 << 10
	longest     = 1 << 10
)

// word tells words from numbers, times and the like.
var word = regexp.MustCompile(`\p{Latin}{2}`)

// reading keeps what was found of texts, because the same is asked several times.
type reading map[string]found

// found is a text as far as it is ours.
type found struct {
	ours     bool
	literals int // characters that are ours
	pieces   []Piece
}

// line is a line, which may end with a full stop that no phrase has.
func (r reading) line(text string) found {
	f := r.find(text)
	if sentence, ok := strings.CutSuffix(text, "."); ok {
		if s := r.find(sentence); s.ours && s.literals >= f.literals {
			s.pieces = append(slices.Clip(s.pieces), Piece{Text: "。"})
			return s
		}
	}
	return f
}

// find recognises a text. Of several ways the one counts by which most of it is ours.
func (r reading) find(text string) found {
	if f, ok := r[text]; ok {
		return f
	}
	best := unknown(text)
	better := func(f found) {
		if !best.ours || f.literals > best.literals {
			best = f
		}
	}
	for _, f := range forms() {
		if len(text) > longestLine || !strings.HasPrefix(text, f.prefix) {
			continue
		}
		if m := f.english.FindStringSubmatch(text); m != nil {
			better(r.fill(f, m[1:]))
		}
	}
	for _, s := range [][2]string{{": ", "："}, {"; ", "；"}, {", ", "，"}} {
		r.chained(text, s[0], s[1], better)
	}
	r[text] = best
	return best
}

// unknown is a text that is not ours.
func unknown(text string) found {
	return found{pieces: []Piece{{Text: text, English: word.MatchString(text)}}}
}

// fill puts values into the Chinese.
func (r reading) fill(f form, values []string) found {
	out := found{ours: true, literals: f.literals}
	for _, t := range f.chinese {
		switch {
		case t.place == 0:
			out.pieces = append(out.pieces, Piece{Text: t.text})
		case f.texts[t.place-1] && len(values[t.place-1]) <= longest:
			in := r.find(values[t.place-1])
			out.literals += in.literals
			out.pieces = append(out.pieces, in.pieces...)
		default:
			out.pieces = append(out.pieces, Piece{Text: values[t.place-1]})
		}
	}
	return out
}

// chained takes a text apart at the first separators, where the left side is ours. Behind a comma only what is ours may follow: it stands in names, too.
func (r reading) chained(text, separator, chinese string, better func(found)) {
	const most = 10
	for at, n := 0, 0; n < most; n++ {
		i := strings.Index(text[at:], separator)
		if i < 0 {
			return
		}
		if at += i + len(separator); at > longest {
			return
		}
		left := r.find(text[:at-len(separator)])
		if !left.ours {
			continue
		}
		right := unknown(text[at:])
		if len(text)-at <= longest {
			right = r.find(text[at:])
		}
		if separator == ", " && !right.ours {
			continue
		}
		pieces := append(slices.Clone(left.pieces), Piece{Text: chinese})
		both := found{ours: true, literals: left.literals + right.literals, pieces: append(pieces, right.pieces...)}
		if right.ours {
			both.literals += len(separator)
		}
		better(both)
	}
}

// merged puts pieces of one kind together.
func merged(all []Piece) (out []Piece) {
	for _, p := range all {
		switch last := len(out) - 1; {
		case p.Text == "":
		case last >= 0 && out[last].English == p.English:
			out[last].Text += p.Text
		default:
			out = append(out, p)
		}
	}
	return out
}
