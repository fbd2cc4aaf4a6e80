package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lifeboat/config"
)

var (
	fence       = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	span        = regexp.MustCompile("`([^`\n]+)`")
	commandLine = regexp.MustCompile(`^(?:[$>] )*(?:cd / && )?(?:sudo -u lifeboat |runuser -u lifeboat -- )?lifeboat((?: .*)?)$`)
	redirected  = regexp.MustCompile(` (?:[|>&]|&&|#) ?.*$`)
)

// TestManual looks each command that a page names up in the program: its words, its flags, and in blocks how many arguments it takes.
func TestManual(t *testing.T) {
	pages, err := filepath.Glob("../../doc/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	found := map[string]bool{}
	pages = slices.DeleteFunc(pages, func(p string) bool { return filepath.Base(p) == "format.md" }) // what objects begin with looks like commands
	for _, page := range append(pages, "../../README.md", "../../deploy/prometheus/lifeboat.rules.yml") {
		text := string(source(t, strings.TrimPrefix(page, "../../")))
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(block[2]) {
				manual(t, page, strings.TrimLeft(strings.TrimSpace(line), "> "), true, found)
			}
		}
		for _, code := range span.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			manual(t, page, code[1], false, found)
		}
	}
	for _, word := range []string{"init", "restore", "heal", "notify test", "hold release"} {
		if !found[word] {
			t.Errorf("no page names `lifeboat %s`: the test does not see what it should", word)
		}
	}
}

// manual looks one command up; exact is where it is to be typed as it stands.
func manual(t *testing.T, page, line string, exact bool, found map[string]bool) {
	t.Helper()
	m := commandLine.FindStringSubmatch(strings.TrimPrefix(line, "$ "))
	if m == nil {
		return
	}
	args := strings.Fields(redirected.ReplaceAllString(m[1], ""))
	if len(args) > 0 && args[0] == "..." {
		return
	}
	root := (&app{}).root()
	root.InitDefaultHelpCmd()
	c, rest, err := root.Find(args)
	if err != nil || c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		t.Errorf("%s: there is no `lifeboat %s`: %v", page, strings.Join(args, " "), err)
		return
	}
	found[strings.TrimPrefix(c.CommandPath(), "lifeboat ")] = true
	if err := c.ParseFlags(rest); err != nil {
		t.Errorf("%s: `%s`: %v", page, line, err)
		return
	}
	if exact && !strings.Contains(line, "...") {
		if err := c.ValidateArgs(c.Flags().Args()); err != nil {
			t.Errorf("%s: `%s`: %v", page, line, err)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	marks   = regexp.MustCompile(`[^\pL\pN _-]`)
)

// TestManualLinks follows each link from one page of the project to another.
func TestManualLinks(t *testing.T) {
	pages, err := filepath.Glob("../../doc/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		for _, m := range link.FindAllStringSubmatch(string(source(t, strings.TrimPrefix(page, "../../"))), -1) {
			to := page
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(page), m[1])
			}
			b, err := os.ReadFile(to)
			if info, serr := os.Stat(to); serr == nil && info.IsDir() && m[2] == "" {
				continue
			}
			if seen++; err != nil {
				t.Errorf("%s leads to %s: %v", page, m[0], err)
				continue
			}
			if m[2] != "" && !slices.ContainsFunc(heading.FindAllStringSubmatch(string(b), -1), func(h []string) bool {
				return strings.ReplaceAll(marks.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == m[2]
			}) {
				t.Errorf("%s leads to %s, where there is no such heading", page, m[0])
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d links", seen)
	}
}

// TestManualConfiguration reads the first configuration on each page, and the later ones in the place of those parts of it.
func TestManualConfiguration(t *testing.T) {
	section := regexp.MustCompile(`(?m)^(\w+):`)
	parts := func(text string) map[string]string {
		out := map[string]string{}
		at := section.FindAllStringSubmatchIndex(text, -1)
		for i, a := range at {
			end := len(text)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			out[text[a[2]:a[3]]] = text[a[0]:end]
		}
		return out
	}
	for page, blocks := range map[string]int{"README.md": 3, "doc/operations.md": 2} {
		var first map[string]string
		for _, block := range fence.FindAllStringSubmatch(string(source(t, page)), -1) {
			if block[1] != "yaml" {
				continue
			}
			blocks--
			whole := parts(block[2])
			if first == nil {
				first = whole
			}
			for name, body := range first {
				if _, ok := whole[name]; !ok {
					whole[name] = body
				}
			}
			text := strings.Join(slices.Collect(maps.Values(whole)), "")
			c, err := config.Parse(page, []byte(text), func(string) (string, bool) { return "x", true })
			if err != nil || len(c.Sources) == 0 || len(c.Targets) == 0 {
				t.Errorf("%v\n%s", err, text)
			}
		}
		if blocks != 0 {
			t.Errorf("%s shows %d configurations fewer than it did", page, blocks)
		}
	}
}

// TestManualMessages finds each message that the table of the page explains in the program, with any name in the place of the example's.
func TestManualMessages(t *testing.T) {
	var program strings.Builder
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		program.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// What the system says, and places.
	outside := regexp.MustCompile(`no space left on device|(?:open lifeboat.yaml: )?permission denied|address already in use|lifeboat.yaml(?::LINE:COLUMN)?|/var/lib/lifeboat`)
	name := regexp.MustCompile(`\b(?:crm|cloud|disk)\b`)
	_, table, _ := strings.Cut(string(source(t, "doc/operations.md")), "\n## What to do when\n")
	seen := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		for _, code := range span.FindAllStringSubmatch(cells[1], -1) {
			for piece := range strings.SplitSeq(name.ReplaceAllString(code[1], "%s"), "...") {
				piece = strings.Trim(outside.ReplaceAllString(piece, ""), " :")
				if seen++; !strings.Contains(program.String(), piece) {
					t.Errorf("nothing says %q (of %q)", piece, code[1])
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d messages were looked for", seen)
	}
}
