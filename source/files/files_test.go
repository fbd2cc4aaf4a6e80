package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

// later is a clock by which nothing was written to lately.
func later() time.Time { return time.Now().Add(time.Minute) }

// tree makes files below a new directory: "name/" is a directory, "name -> x" a link, anything else a file that holds its name.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		name, link, isLink := strings.Cut(n, " -> ")
		at := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		switch {
		case isLink:
			must(t, os.Symlink(link, at))
		case strings.HasSuffix(n, "/"):
			must(t, os.MkdirAll(at, 0o755))
		default:
			must(t, os.WriteFile(at, []byte(n), 0o640))
		}
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seen is what a view yielded: by name below the directory of the test, what stands for it.
type seen struct {
	items   map[string]string
	names   []string
	states  map[string]string
	voids   int
	summary snapshot.Summary
	reads   func(done int) // called before more of a body is read, with how many bytes were
}

// asked is a body of which it is told when more of it is read.
type asked struct {
	io.Reader
	reads func(done int)
	done  int
}

// Read implements io.Reader.
func (a *asked) Read(b []byte) (int, error) {
	if a.reads != nil {
		a.reads(a.done)
	}
	n, err := a.Reader.Read(b)
	a.done += n
	return n, err
}

// view opens a source and reads all of it as the snapshot pipeline does; each is called for each item before its body is read.
func (s *seen) view(t *testing.T, o Options, dir string, prior *snapshot.Prior, each func(item snapshot.Item)) {
	t.Helper()
	if o.Now == nil {
		o.Now = later
	}
	src, err := New(o)
	must(t, err)
	v, err := src.Open(t.Context(), prior)
	must(t, err)
	s.items, s.states, s.names = map[string]string{}, map[string]string{}, nil
	for item, err := range v.Items(t.Context()) {
		must(t, err)
		if each != nil {
			each(item)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(item.Name, itemName(dir)), "/")
		what := string(item.Kind)
		switch item.Kind {
		case snapshot.Link:
			what = "-> " + item.Link
		case snapshot.Stream:
			b, err := io.ReadAll(&asked{item.Body, s.reads, 0})
			if errors.Is(err, snapshot.ErrVoid) {
				s.voids++
				continue
			}
			must(t, err)
			if item.Size >= 0 && item.Size != int64(len(b)) {
				t.Errorf("%s: %d bytes announced, %d read", item.Name, item.Size, len(b))
			}
			what = string(b)
		}
		s.items[name], s.states[name] = what, item.State
		s.names = append(s.names, item.Name)
	}
	if !slices.IsSorted(s.names) {
		t.Errorf("not in order: %q", s.names)
	}
	s.summary, err = v.Summary()
	must(t, errors.Join(err, v.Close()))
}

// found reports whether there is a finding with such a text.
func (s *seen) found(level snapshot.Level, text string) bool {
	return slices.ContainsFunc(s.summary.Findings, func(f snapshot.Finding) bool {
		return f.Level == level && strings.Contains(f.Name+": "+f.Detail, text)
	})
}

func look(t *testing.T, o Options, dir string) *seen {
	t.Helper()
	s := &seen{}
	s.view(t, o, dir, nil, nil)
	return s
}

func TestItems(t *testing.T) {
	names := []string{"a/c/d", "a/c-d", "a/c.d/x", "a/c0", "a-b", "a.b", "a.b.c/y", "a0", "ab/z", "\xff\xfe", "new\nline", "é", "A", "empty/", strings.Repeat("n", 255),
		"out -> /etc/passwd", "up -> ../../..", "dangling -> nowhere", "todir -> a"}
	dir := tree(t, names...)
	must(t, os.Chmod(filepath.Join(dir, "a0"), 0o604))
	at := time.Date(2021, 2, 3, 4, 5, 6, 789_012_345, time.UTC)
	must(t, os.Chtimes(filepath.Join(dir, "a0"), at, at))
	s := &seen{}
	s.view(t, Options{Paths: []string{dir}}, dir, nil, func(item snapshot.Item) {
		if strings.HasSuffix(item.Name, "/a0") && (item.Mode != 0o604 || !item.ModTime.Equal(at) || item.Owner == nil || int(item.Owner.UID) != os.Getuid()) {
			t.Errorf("a0: %+v", item)
		}
	})
	want := map[string]string{"": "dir"}
	for _, n := range names {
		name, link, isLink := strings.Cut(n, " -> ")
		if isLink {
			want[name] = "-> " + link
		} else if !strings.HasSuffix(n, "/") {
			want[name] = n
		}
		for d := filepath.Dir(strings.TrimSuffix(n, "/") + "/x"); d != "."; d = filepath.Dir(d) {
			if _, file := want[d]; !file && !isLink {
				want[d] = "dir"
			}
		}
	}
	if fmt.Sprint(s.items) != fmt.Sprint(want) {
		t.Errorf("items %q\nwant %q", s.items, want)
	}
	if len(s.summary.Findings) > 0 {
		t.Errorf("findings %v", s.summary.Findings)
	}
}

// TestSeveralPaths has a path whose name comes between another's and what is in that one.
func TestSeveralPaths(t *testing.T) {
	dir := tree(t, "up/x", "up-old/y", "up.php", "zz/z")
	paths := []string{}
	for _, n := range []string{"up.php", "zz", "up-old", "up"} {
		paths = append(paths, filepath.Join(dir, n))
	}
	s := look(t, Options{Paths: paths, Fingerprints: []string{filepath.Join(dir, "up", "x")}}, dir)
	if len(s.items) != 7 || s.items["up-old/y"] != "up-old/y" || s.items["up.php"] != "up.php" {
		t.Errorf("items %q", s.items)
	}
}

func TestLargeDirectoryIsListedInParts(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 5000 {
		want = append(want, fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)})))
		must(t, os.WriteFile(filepath.Join(dir, want[i]), nil, 0o600))
	}
	slices.Sort(want)
	file, err := os.Open(dir)
	must(t, err)
	defer file.Close()
	for _, most := range []int{1700, 4999, 5000, 5001} {
		var got []string
		last, parts := "", 0
		for more := true; more; parts++ {
			var names []string
			names, more, err = list(file, last, most)
			must(t, err)
			if len(names) > most {
				t.Fatalf("%d names at once", len(names))
			}
			got, last = append(got, names...), names[len(names)-1]
		}
		if !slices.Equal(got, want) || parts != (len(want)+most-1)/most {
			t.Errorf("%d at once: %d names in %d parts", most, len(got), parts)
		}
	}
}

func TestExclude(t *testing.T) {
	for _, c := range []struct{ pattern, name string }{
		{"*.tmp", "x.tmp"}, {"*.tmp", "deep/er/x.tmp"}, {"cache/", "cache/file"}, {"cache/", "deep/cache/file"}, {"logs/*.log", "logs/a.log"},
		{"a?c", "abc"}, {"[x-z]*", "zoo"}, {"logs", "logs/all/of/it"}, {"deep/cache", "deep/cache/x"}, {`\*`, "*"},
	} {
		dir := tree(t, c.name, "kept")
		s := look(t, Options{Paths: []string{dir}, Exclude: []string{c.pattern}}, dir)
		if _, there := s.items[c.name]; there || s.items["kept"] != "kept" {
			t.Errorf("%q: %q", c.pattern, s.items)
		}
	}
	for _, c := range []struct{ pattern, name string }{
		{"cache/", "cache"}, {"logs/*.log", "deep/logs/a.log"}, {"logs/*.log", "logs/deep/a.log"}, {"*.tmp", "x.tmp.gz"}, {"deep/cache", "cache/x"}, {"?", "ab"}, {"x[^a]y/z", "x/y/z"},
	} {
		dir := tree(t, c.name)
		if s := look(t, Options{Paths: []string{dir}, Exclude: []string{c.pattern}}, dir); s.items[c.name] != c.name {
			t.Errorf("%q: %q", c.pattern, s.items)
		}
	}
	for _, bad := range []string{"", "/", "/abs", "a//b", "../x", "a/./b", "**/x", "a/**", "[", `\`, "x//"} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("pattern %q is accepted", bad)
		}
	}
}

func TestRefusedPaths(t *testing.T) {
	dir := tree(t, "up/deep/x", "state/", "link -> up", "file")
	p := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Paths: []string{"up"}}, "from / on"},
		{Options{Paths: []string{"/"}}, "everything is too much"},
		{Options{Paths: []string{"/.lifeboat-fingerprints.json"}}, "lifeboat's own"},
		{Options{Paths: []string{p("up"), p("up", "deep")}}, "one lies in the other"},
		{Options{Paths: []string{p("up"), p("up") + "/"}}, "one lies in the other"},
		{Options{Paths: []string{p("up"), p("link", "deep")}}, "one lies in the other"},
		{Options{Paths: []string{p("state", "not", "yet")}, Private: []string{p("state")}}, "backups of backups"},
		{Options{Paths: []string{dir}, Private: []string{p("state")}}, "backups of backups"},
		{Options{Paths: []string{p("up")}, Private: []string{p("link", "deep", "backup")}}, "backups of backups"},
		{Options{Paths: []string{p("up")}, Fingerprints: []string{"key"}}, "from / on"},
		{Options{Paths: []string{p("up")}, Exclude: []string{"["}}, "pattern"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	for name, want := range map[string]string{"absent": "nothing is backed up", "link": "name what it leads to", "file/x": "not a directory"} {
		src, err := New(Options{Paths: []string{p("state"), p(name)}, Now: later})
		must(t, err)
		if _, err := src.Open(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestSpecialFilesAndHardLinks(t *testing.T) {
	dir := tree(t, "file")
	must(t, errors.Join(unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "second"))))
	s := look(t, Options{Paths: []string{dir}}, dir)
	if s.items["second"] != "file" || len(s.items) != 3 || !s.found(snapshot.Warn, "special files: 1 sockets, pipes and devices, left out: "+dir+"/pipe") || !s.found(snapshot.Warn, "hard links: 2 ") {
		t.Errorf("%q %v", s.items, s.summary.Findings)
	}
}

func TestChanging(t *testing.T) {
	dir := tree(t, "a", "b", "c", "d", "gone", "twice", "zz")
	at := func(name string) string { return filepath.Join(dir, name) }
	tries := map[string]int{}
	s := &seen{}
	s.view(t, Options{Paths: []string{dir}}, dir, nil, func(item snapshot.Item) {
		name := filepath.Base(item.Name)
		tries[name]++
		var err error
		switch {
		case name == "a": // it grows once
			if tries[name] == 1 {
				err = os.WriteFile(at(name), []byte("a grew"), 0o640)
			}
		case name == "b": // it is another one each time
			err = os.WriteFile(at(name), fmt.Appendf(nil, "b %d", tries[name]), 0o640)
		case name == "c": // it vanishes when it is about to be read
			err = errors.Join(os.Remove(at("c")), os.Remove(at("gone")))
		case name == "d": // it is a link meanwhile
			err = errors.Join(os.Remove(at(name)), os.Symlink("zz", at(name)))
		case name == "twice" && tries[name] < 3: // it is replaced
			must(t, os.WriteFile(at("new"), []byte("replaced"), 0o640))
			err = os.Rename(at("new"), at(name))
		}
		must(t, err)
	})
	want := map[string]string{"": "dir", "a": "a grew", "b": "b 3", "twice": "replaced", "zz": "zz"}
	if fmt.Sprint(s.items) != fmt.Sprint(want) || s.states["b"] != "" || s.states["zz"] == "" {
		t.Errorf("items %q, want %q; states %q", s.items, want, s.states)
	}
	if !s.found(snapshot.Warn, "vanished: 3 ") || s.voids != 7 {
		t.Errorf("%d voids, findings %v", s.voids, s.summary.Findings)
	}
}

// TestWriters reads files that somebody rewrites in place all the time: one to which a write begins while it is read is of one piece, or told
// to have changed. (One that the writer left half written when it was looked at is no other than one at rest.)
func TestWriters(t *testing.T) {
	dir := tree(t, "0", "1", "2", "3")
	const size = 2 << 20
	write := func(name string, stamp byte) error {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		for off := int64(0); off < size && err == nil; off += 64 << 10 {
			_, err = f.WriteAt([]byte(strings.Repeat(string(rune('a'+stamp%26)), 64<<10)), off)
		}
		return errors.Join(err, f.Close())
	}
	for i := range 4 {
		must(t, write(fmt.Sprint(i), 0))
	}
	var begun [4]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan error)
	go func() {
		var err error
		for n := byte(0); ctx.Err() == nil && err == nil; n++ {
			begun[n%4].Add(1)
			if err = write(fmt.Sprint(n%4), n); n%3 == 0 {
				time.Sleep(time.Duration(n) * 100 * time.Microsecond)
			}
		}
		wrote <- err
	}()
	torn, whole, voids := 0, 0, 0
	for round := 0; round < 20 || voids == 0 && round < 500; round++ {
		from, during, reading := [4]int64{}, [4]bool{}, -1
		// A write that begins when all has been read, or is under way when the file is looked at, tells nothing.
		s := &seen{reads: func(done int) {
			if done < size {
				during[reading] = begun[reading].Load() > from[reading]
			}
		}}
		s.view(t, Options{Paths: []string{dir}, Now: time.Now}, dir, nil, func(item snapshot.Item) {
			if item.Kind == snapshot.Stream {
				reading = int(item.Name[len(item.Name)-1] - '0')
				from[reading], during[reading] = begun[reading].Load(), false
			}
		})
		voids += s.voids
		for name, content := range s.items {
			switch {
			case name == "":
			case strings.Trim(content, content[:1]) == "":
				whole++
			case s.found(snapshot.Warn, "changed") && s.found(snapshot.Warn, "/"+name):
				torn++
			case during[name[0]-'0']:
				t.Errorf("%s is of several writes, and nothing says so: %v", name, s.summary.Findings)
			}
			if s.states[name] != "" {
				t.Errorf("%s was written to just now, and has a state", name)
			}
		}
	}
	stop()
	must(t, <-wrote)
	t.Logf("%d files of one piece, %d told to be torn, %d read again", whole, torn, voids)
	if whole == 0 || voids == 0 {
		t.Errorf("no file was read as a whole, or no write met a read: %d, %d", whole, voids)
	}
}

func TestStateIsOfTheFile(t *testing.T) {
	dir := tree(t, "a", "b")
	a := filepath.Join(dir, "a")
	first := look(t, Options{Paths: []string{dir}}, dir)
	if again := look(t, Options{Paths: []string{dir}}, dir); first.states["a"] == "" || first.states["a"] == first.states["b"] || again.states["a"] != first.states["a"] {
		t.Errorf("states %q, then %q", first.states, again.states)
	}
	info, err := os.Stat(a)
	must(t, err)
	time.Sleep(tick)
	must(t, os.WriteFile(a, []byte("b"), 0o640)) // as long as it was, and then of the same time
	must(t, os.Chtimes(a, info.ModTime(), info.ModTime()))
	if s := look(t, Options{Paths: []string{dir}}, dir); s.states["a"] == first.states["a"] || s.states["b"] != first.states["b"] {
		t.Errorf("states %q, then %q", first.states, s.states)
	}
	if s := look(t, Options{Paths: []string{dir}, Now: time.Now}, dir); s.states["a"] != "" {
		t.Errorf("written to just now: state %q", s.states["a"])
	}
}

func TestUnreadable(t *testing.T) {
	dir := tree(t, "file", "closed/x", "open/y")
	must(t, errors.Join(os.Chmod(filepath.Join(dir, "file"), 0), os.Chmod(filepath.Join(dir, "closed"), 0)))
	ordinary(t)
	s := look(t, Options{Paths: []string{dir}}, dir)
	if len(s.items) != 4 || s.items["open/y"] == "" || s.items["closed"] != "dir" {
		t.Errorf("items %q", s.items)
	}
	if !s.found(snapshot.Fail, dir+"/file: permission denied") || !s.found(snapshot.Fail, dir+"/closed: permission denied") {
		t.Errorf("findings %v", s.summary.Findings)
	}
	src, err := New(Options{Paths: []string{dir}, Now: later})
	must(t, err)
	s.summary.Findings = src.Doctor(t.Context())
	if !s.found(snapshot.OK, "1 file with ") || !s.found(snapshot.Fail, dir+"/file: permission denied") || !s.found(snapshot.Fail, dir+"/closed: permission denied") {
		t.Errorf("doctor %v", s.summary.Findings)
	}
}

// ordinary makes this goroutine an ordinary user to the file system, until the test ends.
func ordinary(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for d := t.TempDir(); d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	runtime.LockOSThread()
	_, err := unix.SetfsuidRetUid(65534)
	must(t, err)
	t.Cleanup(func() {
		_, err := unix.SetfsuidRetUid(0)
		must(t, err)
		runtime.UnlockOSThread()
	})
}

func TestEmptied(t *testing.T) {
	dir := tree(t, "up/a", "up/b", "other/x")
	o := Options{Paths: []string{filepath.Join(dir, "up"), filepath.Join(dir, "other")}}
	first := look(t, o, dir)
	must(t, errors.Join(os.Remove(filepath.Join(dir, "up/a")), os.Remove(filepath.Join(dir, "up/b"))))
	prior := &snapshot.Prior{Manifest: first.summary.Manifest}
	for range 2 { // and again, until somebody says that it is meant
		s := &seen{}
		s.view(t, o, dir, prior, nil)
		if !s.found(snapshot.Fail, "/up: it is empty and held 2 entries before") || s.found(snapshot.Fail, "/other") || s.items["other/x"] == "" {
			t.Fatalf("%q %v", s.items, s.summary.Findings)
		}
		prior.Manifest = s.summary.Manifest
	}
	prior.Anew = true
	s := &seen{}
	s.view(t, o, dir, prior, nil)
	prior = &snapshot.Prior{Manifest: s.summary.Manifest}
	s.view(t, o, dir, prior, nil)
	if len(s.summary.Findings) > 0 {
		t.Errorf("meant, and still: %v", s.summary.Findings)
	}
}

func TestFingerprints(t *testing.T) {
	dir := tree(t, "up/app.key", "up/x", "up/sub/", "keys/real.key", "keys/link.key -> real.key", "keys/other.key", "up/linked.key -> ../keys/real.key")
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Link(at("keys/other.key"), at("up/sub/backup-of-key")))
	prints := []string{at("up/app.key"), at("keys/link.key"), at("keys/other.key")}
	s := look(t, Options{Paths: []string{at("up")}, Fingerprints: append(prints, at("keys/none"))}, dir)
	text := s.items[fingerprintsName]
	delete(s.items, fingerprintsName)
	want := map[string]string{"up": "dir", "up/x": "up/x", "up/sub": "dir", "up/linked.key": "-> ../keys/real.key"}
	if fmt.Sprint(s.items) != fmt.Sprint(want) {
		t.Errorf("items %q", s.items)
	}
	for _, secret := range []string{"up/app.key", "keys/real.key", "keys/other.key"} {
		sum := sha256.Sum256([]byte(secret))
		if !strings.Contains(text, hex.EncodeToString(sum[:])) {
			t.Errorf("no fingerprint of %s in %s", secret, text)
		}
	}
	if !s.found(snapshot.Warn, "fingerprints: 2 left out") || !s.found(snapshot.Fail, "/keys/none: take its fingerprint") {
		t.Errorf("findings %v", s.summary.Findings)
	}
	out := t.TempDir()
	if list, err := ReadFingerprints(out); list != nil || err != nil {
		t.Errorf("none: %v %v", list, err)
	}
	must(t, os.WriteFile(filepath.Join(out, fingerprintsName), []byte(text), 0o600))
	list, err := ReadFingerprints(out)
	must(t, err)
	slices.Sort(prints)
	for i, f := range list {
		if f.Path != prints[i] || f.Mode != "640" || f.ModTime.IsZero() || f.Size == 0 {
			t.Errorf("fingerprint %+v", f)
		}
	}
	if len(list) != 3 {
		t.Errorf("%d fingerprints", len(list))
	}
	must(t, errors.Join(os.Remove(filepath.Join(out, fingerprintsName)), os.Symlink("/etc/passwd", filepath.Join(out, fingerprintsName))))
	if _, err := ReadFingerprints(out); err == nil {
		t.Error("a link is followed")
	}
}

// TestKeyThatIsReplaced has a key that gets another file under its name while the walk is under way.
func TestKeyThatIsReplaced(t *testing.T) {
	dir := tree(t, "a", "app.key", "new.key")
	s := &seen{}
	s.view(t, Options{Paths: []string{dir}, Exclude: []string{"new.key"}, Fingerprints: []string{filepath.Join(dir, "app.key")}}, dir, nil, func(item snapshot.Item) {
		if strings.HasSuffix(item.Name, "/a") {
			must(t, os.Rename(filepath.Join(dir, "new.key"), filepath.Join(dir, "app.key")))
		}
	})
	if _, there := s.items["app.key"]; there || s.items["a"] != "a" {
		t.Errorf("items %q", s.items)
	}
}

// TestKeyThatTakesAPlace has a key that gets the name of a file which is about to be read for the last time.
func TestKeyThatTakesAPlace(t *testing.T) {
	dir := tree(t, "a", "keys/app.key")
	n := 0
	s := &seen{}
	s.view(t, Options{Paths: []string{dir}, Fingerprints: []string{filepath.Join(dir, "keys/app.key")}}, dir, nil, func(item snapshot.Item) {
		if !strings.HasSuffix(item.Name, "/a") {
			return
		}
		if n++; n < tries {
			must(t, os.WriteFile(filepath.Join(dir, "a"), fmt.Append(nil, "a ", n), 0o640))
		} else {
			must(t, os.Rename(filepath.Join(dir, "keys/app.key"), filepath.Join(dir, "a")))
		}
	})
	if what, there := s.items["a"]; there || n != tries {
		t.Errorf("after %d tries it is %q", n, what)
	}
}

func TestInterrupted(t *testing.T) {
	dir := tree(t, "a", "b", "c")
	src, err := New(Options{Paths: []string{dir}, Now: later})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v, err := src.Open(ctx, nil)
	must(t, err)
	var last error
	n := 0
	for _, err := range v.Items(ctx) {
		if last = err; err == nil {
			n++
			cancel()
		}
	}
	if n != 1 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d items, then %v", n, last)
	}
	for _, err := range v.Items(t.Context()) {
		must(t, err)
		break // and nothing is asked for any more
	}
}

func TestManifest(t *testing.T) {
	dir := tree(t, "a", "sub/bb", "link -> a")
	s := look(t, Options{Paths: []string{dir}}, dir)
	var m manifest
	must(t, json.Unmarshal(s.summary.Manifest, &m))
	if want := (counted{Path: dir, Entries: 4, Bytes: 7}); len(m.Paths) != 1 || m.Paths[0] != want {
		t.Errorf("manifest %s", s.summary.Manifest)
	}
}
