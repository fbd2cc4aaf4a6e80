package targettest

import (
	"strings"
	"testing"

	"lifeboat/target"
)

func testValidNames(t *testing.T, tg target.Target) {
	long := strings.Repeat("x", 127)
	for i, name := range []string{
		"0", "-", "_", "-rf", "a..b", "a...", "con", "nul.txt", "a.lock", "tmp", "x/tmp/y", "a-b_c.d/e-f_g.h",
		strings.Repeat("d/", 255) + "e",
		strings.Join([]string{long, long, long, long + "y"}, "/"), // 512 bytes
	} {
		if err := target.CheckName(name); err != nil {
			t.Fatal(err)
		}
		want := content(uint64(i), 100)
		put(t, tg, name, want)
		wantObject(t, tg, name, want)
		wantNames(t, tg, name, name)
		if err := tg.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete(%s): %v", clip(name), err)
		}
	}
	wantNames(t, tg, "")
}

var hostile = []string{
	"", ".", "..", "/", "//", "a/", "/a", "/etc/passwd", "../a", "a/../b", "a/..", "./a", "a/./b", "a//b", ".hidden", ".tmp",
	".tmp/a", "a/.b", "A", "a/B", "a b", "a\x00b", "\x00", "a\nb", "a\\b", "..\\a", "c:a", "c:\\a", "ä", "a\xff", "a*", "a?b=c",
	"a#b", "a%2fb", "%2e%2e/a", "~", "$HOME", strings.Repeat("a", 600), strings.Repeat("a/", 300) + "a",
}

// testHostileNames expects every method to refuse every name that CheckName refuses, and nothing to come of it.
func testHostileNames(t *testing.T, tg target.Target) {
	put(t, tg, "a0", content(1, 10))
	for _, name := range hostile {
		wantError(t, "Put of "+clip(name), tg.Put(t.Context(), name, section([]byte("bad"))), target.ErrName)
		_, err := get(t.Context(), tg, name, 0, -1)
		wantError(t, "Get of "+clip(name), err, target.ErrName)
		wantError(t, "Delete of "+clip(name), tg.Delete(t.Context(), name), target.ErrName)
	}
	wantNames(t, tg, "", "a0")
}

// testHostilePrefixes expects an empty listing for what no object's name can begin with.
func testHostilePrefixes(t *testing.T, tg target.Target) {
	put(t, tg, "a/b/c", nil)
	for _, prefix := range hostile {
		if prefix == "" || prefix == "a/" {
			continue // these are prefixes of a good name
		}
		wantNames(t, tg, prefix)
	}
}
