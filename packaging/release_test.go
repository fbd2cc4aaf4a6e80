package main

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
)

// run runs a command in dir and returns what it printed.
func run(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), args[0], args[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// origin is a repository with the sources as they are here, committed or not, as version 0.9.0.
func origin(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "origin")
	files := run(t, root, nil, "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.TrimRight(files, "\x00"), "\x00") {
		copyFile(t, filepath.Join(root, name), filepath.Join(dir, name))
	}
	git := []string{"git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"}
	run(t, dir, nil, append(git, "init", "--quiet")...)
	run(t, dir, nil, append(git, "add", "--all")...)
	run(t, dir, []string{"GIT_COMMITTER_DATE=2026-01-02T03:04:05+08:00"}, append(git, "commit", "--quiet", "--message", "Test")...)
	run(t, dir, nil, append(git, "tag", "v0.9.0")...)
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Lstat(from)
	if os.IsNotExist(err) {
		return // removed, and not yet committed
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}

// TestRelease makes a release of these sources for this machine, and finds out whether it is one that can be published.
func TestRelease(t *testing.T) {
	program, from := filepath.Join(t.TempDir(), "release"), origin(t)
	run(t, "", nil, "go", "build", "-o", program, ".")
	build := func(name, shell string) string {
		clone, out := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), "dist")
		run(t, "", nil, "sh", "-c", shell+` && git clone --quiet "$0" "$1" && "$2" -dir "$1/packaging" -out "$3" -arch "$4"`, from, clone, program, out, runtime.GOARCH)
		return out
	}
	one := build("one", "umask 022")
	two := build("another place", "umask 077; export TZ=Asia/Shanghai LC_ALL=C GOFLAGS=-buildvcs=false GOAMD64=v2")
	t.Run("again", func(t *testing.T) { same(t, one, two) })
	t.Run("sums", func(t *testing.T) { run(t, one, nil, "sha256sum", "--check", "--strict", "SHA256SUMS") })
	t.Run("binary", func(t *testing.T) { static(t, binary(one), lifeboat, "version") })
	t.Run("bill of materials", func(t *testing.T) { complete(t, binary(one)) })
	alone := filepath.Join(one, "lifeboat-verify_0.9.0_linux_"+runtime.GOARCH)
	t.Run("program for auditors", func(t *testing.T) {
		static(t, alone, verifier, "--version")
		complete(t, alone)
		if text := read(t, alone+".licences.txt"); !bytes.Contains(text, []byte("==== filippo.io/age ")) || len(read(t, alone)) > 15<<20 {
			t.Errorf("it is not small, or its licences are %.200s", text)
		}
	})
	t.Run("refused", func(t *testing.T) { uncommitted(t, program, from) })
	for _, format := range []string{"deb", "rpm"} {
		t.Run(format, func(t *testing.T) { install(t, one, format) })
	}
}

func binary(dist string) string { return filepath.Join(dist, "lifeboat_0.9.0_linux_"+runtime.GOARCH) }

// same compares two releases byte by byte.
func same(t *testing.T, one, two string) {
	files := list(t, one)
	if got := list(t, two); !slices.Equal(files, got) || len(files) != 8 {
		t.Fatalf("the releases have %q and %q, want binary, deb, rpm, bill of materials and sums of both, and the program for auditors with two files", files, got)
	}
	for _, name := range files {
		if !bytes.Equal(read(t, filepath.Join(one, name)), read(t, filepath.Join(two, name))) {
			t.Errorf("%s is another one when it is built again", name)
		}
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// static finds nothing in the binary that it would need another file for.
func static(t *testing.T, path, program, version string) {
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a segment %v: it is not static", p.Type)
		}
	}
	if got := run(t, "", nil, path, version); !strings.HasPrefix(got, program+" v0.9.0") {
		t.Errorf("its version is %q", got)
	}
}

// complete compares the bill of materials with what Go says of the binary.
func complete(t *testing.T, path string) {
	doc, err := json.Read(bytes.NewReader(read(t, path+".spdx.json")))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]*spdx.Package{}
	for _, p := range doc.Packages {
		listed[p.PackageName+" "+p.PackageVersion] = p
		if p.PackageLicenseDeclared == "" || p.PackageLicenseDeclared == unsaid {
			t.Errorf("%s has no licence", p.PackageName)
		}
	}
	linked := 0
	for line := range strings.Lines(run(t, "", nil, "go", "version", "-m", path)) {
		fields := strings.Fields(line)
		if fields[0] != "dep" {
			continue
		}
		linked++
		p := listed[fields[1]+" "+fields[2]]
		if p == nil {
			t.Errorf("%s %s is linked and not listed", fields[1], fields[2])
			continue
		}
		if want, err := checksum(fields[3]); err != nil || len(p.PackageChecksums) != 1 || p.PackageChecksums[0].Value != want {
			t.Errorf("the checksum of %s is %v, want %s (%v)", fields[1], p.PackageChecksums, want, err)
		}
	}
	if linked < 10 || len(doc.Packages) != linked+2 || len(doc.Relationships) != linked+2 {
		t.Errorf("%d modules are linked, %d packages listed, with %d relationships: want Lifeboat and Go beside the modules", linked, len(doc.Packages), len(doc.Relationships))
	}
}

// uncommitted tries to release what no commit has, and into a directory that is in use.
func uncommitted(t *testing.T, program, from string) {
	if err := os.WriteFile(filepath.Join(from, "new.go"), []byte("package lifeboat\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{t.TempDir(): "not committed", from: "not empty"} {
		got, err := exec.CommandContext(t.Context(), program, "-dir", filepath.Join(from, "packaging"), "-out", out, "-arch", runtime.GOARCH).CombinedOutput()
		if err == nil || !strings.Contains(string(got), want) {
			t.Errorf("a release into %s: %v, %s, want %q", out, err, got, want)
		}
	}
}

// install runs testdata/FORMAT.sh, as root, in a throw-away copy of this machine's root.
func install(t *testing.T, dist, format string) {
	script := string(read(t, "testdata/use.sh")) + string(read(t, filepath.Join("testdata", format+".sh")))
	c := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "testdata/root.sh", t.TempDir(), dist, script)
	out, err := c.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "finished\n") {
		t.Errorf("%s.sh: %v; it needs root and a kernel that has overlay file systems\n%s", format, err, out)
	}
}
