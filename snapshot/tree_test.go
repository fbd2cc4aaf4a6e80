package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/crypto"
	"lifeboat/journal"
)

// oddNames are names that a file system can hold, in ascending order.
var oddNames = []string{
	"\x01", " ", "%", "%25", "%2", "-", "...", "..a", "A", "a", "a b", "a%2Fb", "a.b", "a/b", "a/b/c", "a\n", "a\xff", "ab", "c\\d", "new\nline",
	strings.Repeat("x", 255), "\x7f", "\u00a0", "é", "\u2028", "\ufffd", "日本", "\xc3", "\xff", "\xff\xfe",
}

func TestNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	names := slices.Clone(oddNames)
	for range 500 {
		b := make([]byte, 1+r.IntN(20))
		for i := range b {
			b[i] = byte(1 + r.IntN(255))
		}
		if name := string(b); checkName(name) == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		e := Escape(name)
		if got, err := unescapeName(e); err != nil || got != name {
			t.Errorf("%q is written %q and read %q (%v)", name, e, got, err)
		}
		if strings.ContainsFunc(e, func(c rune) bool { return c < 0x20 || c == 0x7f }) || strings.ToValidUTF8(e, "") != e {
			t.Errorf("%q is written %q", name, e)
		}
	}
	for _, e := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a", "%", "%2", "%zz", "a%", "%00", "a%00b", "%2E%2E", "%2E%2E/a", "%2Fetc/passwd", "a%2F%2E%2E%2Fb", reserved, reserved + "/x"} {
		if got, err := unescapeName(e); err == nil {
			t.Errorf("%q is the name %q", e, got)
		}
	}
}

func randomFile(r *rand.Rand, name string) File {
	f := File{Name: name, Kind: Stream, Mode: 0o640, ModTime: time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC(), Extents: []ExtentsRef{}}
	if r.IntN(2) == 0 {
		f.Owner = &Owner{UID: r.Uint32() >> 1, GID: r.Uint32() >> 1}
	}
	switch r.IntN(4) {
	case 0, 1:
		f.Kind, f.PageSize = Pages, 512<<r.IntN(8)
	case 2:
		f.Kind, f.Link = Link, oddNames[r.IntN(len(oddNames))]
		return f
	default:
		f.State = oddNames[r.IntN(len(oddNames))][:1]
	}
	for range r.IntN(4) {
		x := ExtentsRef{1 + r.Int64N(1<<24), journal.Ref{ID: randomID(r), Frame: randomID(r), Off: r.IntN(1000), Len: 1 + r.IntN(1000)}}
		f.Extents = append(f.Extents, x)
		f.Size += x.Bytes
	}
	return f
}

func TestFilesRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 7))
	names := slices.Sorted(slices.Values(oddNames))
	var want []File
	var node []byte
	for _, name := range names {
		f := randomFile(r, name)
		line, err := encodeFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(line, []byte("\n")) != 1 {
			t.Errorf("%q takes several lines: %q", name, line)
		}
		want, node = append(want, f), append(node, line...)
	}
	got, err := decodeFiles(node)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%d files of %d: %v", len(got), len(want), err)
	}
	lines := bytes.SplitAfter(node, []byte("\n"))
	lines[0], lines[1] = lines[1], lines[0]
	if _, err := decodeFiles(bytes.Join(lines, nil)); !errors.Is(err, crypto.ErrDamaged) {
		t.Errorf("out of order: %v", err)
	}
	if _, err := decodeFiles(append(bytes.Clone(lines[0]), lines[0]...)); !errors.Is(err, crypto.ErrDamaged) {
		t.Errorf("twice: %v", err)
	}
	empty, err := encodeFile(File{Name: "e", Kind: Stream})
	if err != nil || !strings.Contains(string(empty), `"extents":[]`) {
		t.Errorf("an empty file: %s (%v)", empty, err)
	}
}

func TestHostileFiles(t *testing.T) {
	ref := `{"id":"` + strings.Repeat("ab", 16) + `","frame":"` + strings.Repeat("cd", 16) + `","off":0,"len":5}`
	line := func(name, kind string, page, size int64, mode, extents string) string {
		return fmt.Sprintf(`{"name":%q,"kind":%q,"page":%d,"size":%d,"mode":%q,"mtime":"2026-01-01T00:00:00Z","extents":[%s]}`, name, kind, page, size, mode, extents) + "\n"
	}
	more := func(line, members string) string { return strings.TrimSuffix(line, "}\n") + "," + members + "}\n" }
	ten := `{"bytes":10,"ref":` + ref + `}`
	for _, good := range []string{line("a", "pages", 512, 10, "644", ten), more(line("a", "link", 0, 0, "777", ""), `"link":"../../etc/passwd","owner":{"uid":0,"gid":7},"later":{}`),
		more(line("a", "stream", 0, 10, "644", ten), `"state":"1.2.3"`)} {
		if _, err := decodeFiles([]byte(good)); err != nil {
			t.Fatal(err)
		}
	}
	for name, node := range map[string]string{
		"not JSON": "x\n", "blank": "\n", "climbs": line("../a", "stream", 0, 10, "644", ten), "absolute": line("/a", "stream", 0, 10, "644", ten), "no name": line("", "stream", 0, 10, "644", ten),
		"kind": line("a", "device", 0, 10, "644", ten), "directory with content": line("a", "dir", 0, 10, "755", ten), "no kind": line("a", "", 0, 10, "644", ten), "page 0": line("a", "pages", 0, 10, "644", ten), "page 513": line("a", "pages", 513, 10, "644", ten),
		"page 256": line("a", "pages", 256, 10, "644", ten), "page 131072": line("a", "pages", 131072, 10, "644", ten), "negative page": line("a", "pages", -512, 10, "644", ten),
		"setuid": line("a", "stream", 0, 10, "4755", ten), "not octal": line("a", "stream", 0, 10, "888", ten), "no mode": line("a", "stream", 0, 10, "", ten),
		"more than the size": line("a", "stream", 0, 9, "644", ten), "less than the size": line("a", "stream", 0, 11, "644", ten), "negative size": line("a", "stream", 0, -10, "644", ""),
		"negative extents": line("a", "stream", 0, 10, "644", `{"bytes":20,"ref":`+ref+`},{"bytes":-10,"ref":`+ref+`}`), "empty extents": line("a", "stream", 0, 10, "644", ten+`,{"bytes":0,"ref":`+ref+`}`),
		"short ID": line("a", "stream", 0, 10, "644", `{"bytes":10,"ref":{"id":"ab","frame":"cd","off":0,"len":5}}`), "too large": strings.Repeat(" ", maxNode+1),
		"no link": line("a", "link", 0, 0, "777", ""), "link with content": more(line("a", "link", 0, 10, "777", ten), `"link":"b"`), "empty link": more(line("a", "link", 0, 0, "777", ""), `"link":""`),
		"link of a file": more(line("a", "stream", 0, 10, "644", ten), `"link":"b"`), "link of a directory": more(line("a", "dir", 0, 0, "755", ""), `"link":"b"`),
		"long link": more(line("a", "link", 0, 0, "777", ""), `"link":"`+strings.Repeat("x", maxLink+1)+`"`), "NUL in a link": more(line("a", "link", 0, 0, "777", ""), `"link":"a%00b"`),
		"escape of a link": more(line("a", "link", 0, 0, "777", ""), `"link":"a%0"`), "escape of a state": more(line("a", "stream", 0, 10, "644", ten), `"state":"%zz"`),
		"owner that means none": more(line("a", "stream", 0, 10, "644", ten), `"owner":{"uid":4294967295,"gid":0}`), "negative owner": more(line("a", "stream", 0, 10, "644", ten), `"owner":{"uid":-1,"gid":0}`),
		"group that means none": more(line("a", "stream", 0, 10, "644", ten), `"owner":{"uid":0,"gid":4294967295}`), "long state": more(line("a", "stream", 0, 10, "644", ten), `"state":"`+strings.Repeat("x", maxState+1)+`"`),
		"overflow": line("a", "stream", 0, 10, "644", `{"bytes":9223372036854775807,"ref":`+ref+`},{"bytes":9223372036854775807,"ref":`+ref+`}`),
	} {
		if files, err := decodeFiles([]byte(node)); !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, files, err)
		}
	}
}

func TestPos(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 7))
	for range 200 {
		p, q := Pos{r.Uint64N(3), r.Uint64()}, Pos{r.Uint64N(3), r.Uint64()}
		if got, err := ParsePos(p.String()); err != nil || got != p {
			t.Fatalf("%s: %s, %v", p, got, err)
		}
		order, ok := p.Compare(q)
		if ok != (p.Line == q.Line) || ok && !p.IsZero() && !q.IsZero() && order != strings.Compare(p.String(), q.String()) {
			t.Fatalf("%s and %s: %d, %t", p, q, order, ok)
		}
	}
	for _, s := range []string{"0", "-", "0000000000000001-000000000000000", "0000000000000001-000000000000000A", "00000000000000010000000000000001", "0000000000000000-0000000000000000", "+000000000000001-0000000000000001", " 000000000000001-0000000000000001"} {
		if p, err := ParsePos(s); err == nil {
			t.Errorf("%q is %s", s, p)
		}
	}
}
