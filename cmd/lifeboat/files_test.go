package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newFilesFixture has a source crm-files of the directory files, and a clock by which nothing was written to lately.
func newFilesFixture(t *testing.T, options string) *fixture {
	t.Helper()
	x := newFixture(t, "disk")
	x.shift = time.Minute
	b, err := os.ReadFile(x.path("lifeboat.yaml"))
	x.must(err)
	source := fmt.Sprintf("sources:\n  crm-files: {engine: files, paths: [%s]%s}\n", x.path("files"), options)
	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(strings.Replace(string(b), "sources:\n", source, 1)), 0o600))
	x.must(os.Mkdir(x.path("files"), 0o755))
	return x
}

// manifest is what a directory holds: of each name the kind, mode, time, owner, and digest or what it leads to.
func (x *fixture) manifest(dir string) map[string]string {
	x.t.Helper()
	out := map[string]string{}
	x.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content any
		switch {
		case info.Mode().IsRegular():
			var b []byte
			b, err = os.ReadFile(path)
			content = sha256.Sum256(b)
		case info.Mode().Type() == fs.ModeSymlink:
			content, err = os.Readlink(path)
		}
		st := info.Sys().(*syscall.Stat_t)
		out[strings.TrimPrefix(path, dir)] = fmt.Sprintf("%v %v %d:%d %x", info.Mode(), info.ModTime().UTC(), st.Uid, st.Gid, content)
		return err
	}))
	return out
}

// restoresFiles restores the newest snapshot, which must be what the directory holds.
func (x *fixture) restoresFiles() {
	x.t.Helper()
	to := filepath.Join(x.t.TempDir(), "out")
	x.want(0, "restore", "crm-files", "--identity", x.path("key"), "--to", to)
	got, want := x.manifest(filepath.Join(to, x.path("files"))), x.manifest(x.path("files"))
	for name := range want {
		if got[name] != want[name] {
			x.t.Errorf("%q is\n%s, want\n%s", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		x.t.Errorf("%d names, want %d", len(got), len(want))
	}
}

// backupFiles takes a snapshot.
func (x *fixture) backupFiles(args ...string) (row snapshotRow) {
	x.t.Helper()
	x.must(json.Unmarshal([]byte(x.want(0, append([]string{"backup", "crm-files", "--json"}, args...)...).out), &row))
	return row
}

// TestFilesRoundTrip has everything that a directory can hold, changes it, and restores each state.
func TestFilesRoundTrip(t *testing.T) {
	x := newFilesFixture(t, "")
	rng := rand.New(rand.NewPCG(1, 9))
	put := func(name string, n int) {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		at := x.path("files", name)
		mode := fs.FileMode(rng.IntN(0o1000)) | 0o400
		when := time.Unix(rng.Int64N(1<<30), rng.Int64N(1e9))
		x.must(errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, b, 0o600), os.Chmod(at, mode), os.Chtimes(at, when, when)))
		if os.Geteuid() == 0 {
			x.must(os.Lchown(at, rng.IntN(70000), rng.IntN(70000)))
		}
	}
	for i := range 2000 {
		put(fmt.Sprintf("many/%d/%d.txt", i%7, i), rng.IntN(300))
	}
	for i, name := range []string{"a/c", "a-b", "a.b/c", "new\nline", "\xff\xfe%", "é", " -rf *", strings.Repeat("n", 255), "empty", strings.Repeat("deep/", 300) + "file"} {
		put(name, i*1000)
	}
	put("large", 3<<20)
	x.must(os.Truncate(x.path("files", "large"), 5<<20))
	for name, where := range map[string]string{"link": "a/c", "abs": "/etc/passwd", "up": "../../../..", "dangling": "no\n\xff", "many/dir": "../a"} {
		x.must(os.Symlink(where, x.path("files", name)))
	}
	for _, dir := range []string{"hollow", "a", "many"} {
		x.must(errors.Join(os.MkdirAll(x.path("files", dir), 0o755), os.Chmod(x.path("files", dir), 0o750), os.Chtimes(x.path("files", dir), time.Time{}, time.Unix(1e9, 7))))
	}
	first := x.backupFiles()
	x.restoresFiles()

	if again := x.backupFiles(); again.Read != 0 || again.Stored != 0 || again.Size != first.Size || first.Read != first.Size {
		t.Errorf("nothing changed, and %d bytes were read and %d stored, after %d of %d", again.Read, again.Stored, first.Read, first.Size)
	}
	if full := x.backupFiles("--full"); full.Read != first.Size {
		t.Errorf("a full one read %d bytes of %d", full.Read, first.Size)
	}
	put("many/3/3.txt", 1234)
	put("many/3/new", 77)
	x.must(errors.Join(os.Remove(x.path("files", "a-b")), os.Rename(x.path("files", "a.b"), x.path("files", "b")), os.Remove(x.path("files", "link")), os.Symlink("b", x.path("files", "link"))))
	if third := x.backupFiles(); third.Read != 1234+77+2000 { // what was renamed has another name
		t.Errorf("%d bytes were read", third.Read)
	}
	x.restoresFiles()
	x.want(0, "check", "--identity", x.path("key"))
}

// TestFilesAreReadAgainAfterLoss takes content over only as long as the repository has it.
func TestFilesAreReadAgainAfterLoss(t *testing.T) {
	x := newFilesFixture(t, "")
	for i := range 40 {
		x.must(os.WriteFile(x.path("files", fmt.Sprint(i)), []byte(strings.Repeat(fmt.Sprint(i), 5000)), 0o600))
	}
	first := x.backupFiles()
	packs := slices.DeleteFunc(x.objects("disk"), func(name string) bool { return !strings.HasPrefix(name, "packs/") })
	lost := 0
	for _, name := range packs {
		if info, err := os.Stat(x.path("disk", name)); err == nil && info.Size() > 4<<10 {
			x.must(os.Remove(x.path("disk", name)))
			lost++
		}
	}
	if lost == 0 {
		t.Fatalf("no pack of %v was removed", packs)
	}
	if again := x.backupFiles(); again.Read != first.Size {
		t.Errorf("%d bytes of %d were read", again.Read, first.Size)
	}
	x.restoresFiles()
}

// TestFilesOfAnotherUser is a backup by somebody who may not read everything: it holds the rest, and says so by its exit code.
func TestFilesOfAnotherUser(t *testing.T) {
	x := newFilesFixture(t, "")
	x.real = true
	x.must(errors.Join(os.WriteFile(x.path("files", "open"), []byte("o"), 0o644), os.WriteFile(x.path("files", "closed"), []byte("c"), 0o644), os.Mkdir(x.path("files", "shut"), 0o755)))
	x.backupFiles()
	x.must(errors.Join(os.Chmod(x.path("files", "closed"), 0), os.Chmod(x.path("files", "shut"), 0)))
	if os.Geteuid() == 0 {
		x.as = &syscall.Credential{Uid: 65534, Gid: 65534}
		x.must(errors.Join(os.Chmod(filepath.Dir(x.dir), 0o755), os.Chmod(built, 0o755)))
		x.must(filepath.WalkDir(x.dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, 65534, 65534))
		}))
	}
	s := x.want(3, "backup", "crm-files")
	for _, want := range []string{"NOT IN THE BACKUP: " + x.path("files/closed") + ": permission denied", "NOT IN THE BACKUP: " + x.path("files/shut") + ": permission denied", "is committed without"} {
		if !strings.Contains(s.err, want) {
			t.Errorf("no %q: %s", want, s)
		}
	}
	x.want(3, "doctor", "crm-files")
	x.policy("policies: {p: {sources: [crm-files], schedule: {incremental: '* * * * *'}}}\n")
	l := x.daemon()
	l.says("found=\"" + x.path("files/closed"))
	l.says(`msg="files of crm-files are not in the backup" kind=copy_damaged`)
	if l.end(syscall.SIGTERM); strings.Contains(l.log.String(), "database") {
		t.Errorf("files are taken for a database: %s", l.log)
	}
	to := filepath.Join(x.dir, "out")
	if s = x.want(0, "restore", "crm-files", "--identity", x.path("key"), "--to", to); !strings.Contains(s.err, "only root can give files back") {
		t.Errorf("no word of owners: %s", s)
	}
	got := slices.Sorted(maps.Keys(x.manifest(filepath.Join(to, x.path("files")))))
	if !slices.Equal(got, []string{"", "/open"}) && !slices.Equal(got, []string{"", "/open", "/shut"}) {
		t.Errorf("restored %q", got)
	}
}
