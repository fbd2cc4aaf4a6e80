package evidence

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var verb = regexp.MustCompile(`%(?:\[\d\])?([a-z])`)

// TestWords has every text in both languages, with the same values in it.
func TestWords(t *testing.T) {
	all := maps.Clone(valueWords)
	maps.Copy(all, allWords)
	for code, m := range limits {
		all["limit "+code] = m
	}
	for _, c := range controls {
		all["control "+c.framework+c.clause] = c.about
	}
	if len(allWords) != len(words)+len(identityWords) {
		t.Error("a key is in both tables")
	}
	for key, m := range all {
		if m.en == "" || m.zh == "" {
			t.Errorf("%s: one language is missing: %+v", key, m)
		}
		if strings.IndexFunc(m.en, func(r rune) bool { return unicode.Is(unicode.Han, r) }) >= 0 || strings.IndexFunc(m.zh, func(r rune) bool { return unicode.Is(unicode.Han, r) }) < 0 {
			t.Errorf("%s: not in the language that it should be in: %+v", key, m)
		}
		en, zh := verbs(m.en), verbs(m.zh)
		if !slices.Equal(en, zh) {
			t.Errorf("%s: %v in one language, %v in the other", key, en, zh)
		}
		if strings.Contains(strings.ToLower(m.en), "compliant") {
			t.Errorf("%s: claims something", key)
		}
	}
}

// verbs are the verbs of a format, sorted.
func verbs(format string) []string {
	var out []string
	for _, m := range verb.FindAllStringSubmatch(format, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return out
}

// TestWordsUsed has no text that nothing shows, and no value of the contract without words.
func TestWordsUsed(t *testing.T) {
	files, err := os.ReadDir(".")
	must(t, err)
	var code strings.Builder
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "page") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		b, err := os.ReadFile(f.Name())
		must(t, err)
		code.Write(b)
	}
	for key := range allWords {
		if !strings.Contains(code.String(), `"`+key+`"`) {
			t.Errorf("nothing shows %q", key)
		}
	}
	for _, key := range []string{"verdict." + string(Pass), "verdict." + string(Fail), "verdict." + string(Inconclusive), "severity." + string(Critical), "severity." + string(Warning),
		"phase." + PhaseQueue, "phase." + PhasePlan, "phase." + PhaseRestore, "phase." + PhaseReplay, "phase." + PhaseChecks, "phase." + PhaseTeardown} {
		if valueWords[key].en == "" {
			t.Errorf("no words for %s", key)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, code := range []string{"application", "users", "other-copies", "other-points", "production-hardware", "network-path", "companions", "sampling", "baseline", "canary", "performance"} {
		l := Limits(code)[0]
		if l.Code != code || l.Text == code || limitIn(l, Chinese) == l.Text || limitIn(l, English) != l.Text {
			t.Errorf("%s: %+v, %q", code, l, limitIn(l, Chinese))
		}
	}
	if l := Limits("moon"); !slices.Equal(l, []Limit{{"moon", "moon"}}) || limitIn(l[0], Chinese) != "moon" {
		t.Errorf("a code that is not known: %+v", l)
	}
	if l := (Limit{"users", "Two people logged in."}); limitIn(l, Chinese) != l.Text {
		t.Error("another text under a known code was replaced")
	}
}

// TestControls names fields that a report has.
func TestControls(t *testing.T) {
	for _, c := range Controls() {
		if len(c.Fields) == 0 || c.Framework == "" || c.Clause == "" || c.About == "" || aboutIn(c, Chinese) == c.About {
			t.Errorf("%+v: not complete", c)
		}
		for _, f := range c.Fields {
			if !hasField(reflect.TypeFor[Report](), strings.Split(f, ".")) {
				t.Errorf("%s %s: a report has no field %s", c.Framework, c.Clause, f)
			}
		}
	}
	Controls()[0].Fields[0] = "changed"
	if Controls()[0].Fields[0] == "changed" {
		t.Error("the table can be changed from outside")
	}
}

func hasField(of reflect.Type, path []string) bool {
	for i := range of.NumField() {
		if f := of.Field(i); f.Tag.Get("json") == path[0] {
			return len(path) == 1 || hasField(f.Type, path[1:])
		}
	}
	return false
}
