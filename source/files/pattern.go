package files

import (
	"fmt"
	"path"
	"strings"
)

// Pattern says what of the paths is left out.
type Pattern struct {
	glob     string
	anchored bool // it is of the whole name below a configured path; else of the last element
	dir      bool // it is of directories only
}

// ParsePattern reads a pattern. *, ? and [a-z] are as in path.Match, and never match a slash. Without a slash it fits a name at any depth;
// with one it is relative to each of the configured paths. One at the end means directories only. What is in a directory that fits is left
// out with it.
func ParsePattern(text string) (Pattern, error) {
	glob, dir := strings.CutSuffix(text, "/")
	if _, err := path.Match(glob, ""); err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", text, err)
	}
	for element := range strings.SplitSeq(glob, "/") {
		if element == "" || element == "." || element == ".." || element == "**" {
			return Pattern{}, fmt.Errorf("pattern %q: %q in it fits nothing: write NAME for any depth, DIR/NAME from each of the paths on, NAME/ for directories; * fits within one name", text, element)
		}
	}
	return Pattern{glob, strings.Contains(glob, "/"), dir}, nil
}

// fits reports whether the pattern is of a name below a configured path.
func (p Pattern) fits(name string, dir bool) bool {
	if p.dir && !dir {
		return false
	}
	if !p.anchored {
		name = path.Base(name)
	} else if strings.Count(name, "/") != strings.Count(p.glob, "/") {
		return false // for path.Match, [^a] fits a slash
	}
	ok, err := path.Match(p.glob, name)
	return ok && err == nil // ParsePattern has seen that there is none
}
