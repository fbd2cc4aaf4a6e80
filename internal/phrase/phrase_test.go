package phrase

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// samples are values for places, each time others.
var samples = map[string][]any{"d": {11, 22, 33, 44}, "s": {"Aa.aa", "Bb", "Cc", "Dd"}, "1s": {"Ee", "Ff", "Gg"}, "20s": {"2026-11-01T00:00:00Z", "2026-11-02T00:00:00.000Z"}, "v": {"no faults", "a number", "an answer", "off"}}

func valuesOf(template string) (out []any) {
	n := map[string]int{}
	for _, t := range tokens(template) {
		if t.place > 0 {
			out = append(out, samples[t.verb][n[t.verb]])
			n[t.verb]++
		}
	}
	return out
}

func plain(pieces []Piece) (s string) {
	for _, p := range pieces {
		s += p.Text
	}
	return s
}

// TestPhrases renders every phrase in English, recognises it, and finds the same values in the Chinese. That is so for one phrase only: of two that fit
// equally well, either would count.
func TestPhrases(t *testing.T) {
	for english, chinese := range chinese {
		values := valuesOf(string(english))
		said := english.Say(values...)
		var translated []any
		for _, v := range values {
			if s, ok := v.(string); ok {
				v = plain(Chinese(s))
			}
			translated = append(translated, v)
		}
		if got, want := plain(Chinese(said)), fmt.Sprintf(chinese, translated...); got != want || strings.Contains(got+said, "%!") {
			t.Errorf("%q became %q, want %q", said, got, want)
		}
		fitting := 0
		for _, f := range forms() {
			if f.english.MatchString(said) && f.literals >= formOf(string(english), chinese).literals {
				fitting++
			}
		}
		if fitting != 1 {
			t.Errorf("%q fits %d phrases", said, fitting)
		}
		if strings.ContainsFunc(string(english), han) || !strings.ContainsFunc(chinese, han) || english == "" {
			t.Errorf("%q is %q: not in the languages that they should be in", english, chinese)
		}
	}
	for n := range nouns {
		for k, text := range map[int]string{1: n.Count(1), 12: n.Count(12)} {
			if got := plain(Chinese(text)); got != fmt.Sprintf("%d %s", k, nouns[n]) {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

func han(r rune) bool { return unicode.Is(unicode.Han, r) }

func TestChinese(t *testing.T) {
	orphan := Orphans.Say("crm.public.a", "(0,1), (0,2)", "fk", "crm.public.b")
	far := strings.Repeat("unreadable, ", longest)
	for english, want := range map[string]string{
		Preparing.Say() + ": " + far: chinese[Preparing] + "：[" + far + "]",
		"":                           "",
		"42":                         "42",
		"客户":                         "客户",
		"psql: no such file":         "[psql: no such file]",
		"No faults":                  "[No faults]",
		"no faults at all":           "[no faults at all]",
		"digests: expected no faults, observed 3 faults":               "digests：预期 未发现错误，实测 发现 3 处错误",
		"assertion:open: expected equal to 5, at most 7, observed yes": "assertion:open：预期 等于 5，不大于 7，实测 [yes]",
		"assertion:open: expected equal to a, b, observed ":            "assertion:open：预期 等于 a, b，实测 ",
		"index 3, materialized view 1, table 12":                       "索引 3，物化视图 1，表 12",
		"restore: it took too long: more than 2m0s: read vault: gone":  "恢复：耗时过长：超过 2m0s：[read vault: gone]",
		"it did not end within 1m0s: ERROR, with a comma":              "未在 1m0s 内结束：[ERROR, with a comma]",
		orphan + "\nblock 3: damaged\na is empty, and had 3 rows":      "crm.public.a：位于 (0,1), (0,2) 的行按外键 fk 引用了 crm.public.b 中不存在的行\n[block 3: damaged]\na 为空，原有 3 行",
		"restore from disk (3 drills): 1s and 1 s for each 30 MiB of content; replay (1 drill): 2s, however much log; the rest: 5ms; it is not known how far that is off: from half to double.": "从 disk 恢复（3 次演练）：1s，另加每 30 MiB 数据 1 秒；回放（1 次演练）：2s，与日志量无关；其余：5ms；误差未知，区间取一半至两倍。",
		"outside of the window of 30 days": "在 30 天的选取窗口之外",
	} {
		got := ""
		for _, p := range Chinese(english) {
			if p.English {
				p.Text = "[" + p.Text + "]"
			}
			got += p.Text
		}
		if got != want {
			t.Errorf("%q became\n%s, want\n%s", english, got, want)
		}
	}
}

// TestHostileTexts come to an end.
func TestHostileTexts(t *testing.T) {
	for _, text := range []string{"unknown: ", "restore: ", "restore a, ", "at most 5, ", "no faults; ", "x: expected ", "1 day before 2026-11-01T00:00:00Z after "} {
		for _, n := range []int{longest / len(text), 1 << 20 / len(text)} {
			Chinese(strings.Repeat(text, n))
		}
	}
}

// TestPhrasesUsed has a Chinese text and a writer for each phrase, and every writer gives as many values as it has places.
func TestPhrasesUsed(t *testing.T) {
	declared, used, fset := map[string]string{}, map[string]bool{}, token.NewFileSet()
	tree, err := parser.ParseFile(fset, "said.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && fmt.Sprint(v.Type) == "Phrase" {
			s, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			declared[v.Names[0].Name] = s
			if chinese[Phrase(s)] == "" {
				t.Errorf("%s has no Chinese", v.Names[0].Name)
			}
		}
		return true
	})
	if len(declared) != len(chinese) {
		t.Errorf("%d phrases, %d of them in Chinese", len(declared), len(chinese))
	}
	root := filepath.Join("..", "..")
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && file != root && strings.HasPrefix(d.Name(), ".") || d.IsDir() && slices.Contains([]string{"bin", "dist", "tmp", "packaging"}, d.Name()) {
			if err == nil {
				return fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		tree, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == "phrase" {
				used[s.Sel.Name] = true
			}
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if say, ok := c.Fun.(*ast.SelectorExpr); ok && say.Sel.Name == "Say" {
				if s, ok := say.X.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == "phrase" && len(c.Args) != len(valuesOf(declared[s.Sel.Name])) {
					t.Errorf("%s: %s with %d values", fset.Position(c.Pos()), s.Sel.Name, len(c.Args))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range declared {
		if !used[name] {
			t.Errorf("nobody says %s", name)
		}
	}
}
