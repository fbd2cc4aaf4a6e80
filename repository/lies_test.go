package repository_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"filippo.io/age"

	"lifeboat/crypto"
	"lifeboat/repository"
	"lifeboat/target/local"
	"lifeboat/verify"
)

// lie is a repository of which every signature, digest and ID is right, and something is not true.
type lie struct {
	what string
	edits
	harmless bool // the snapshot restores all the same
}

func swap(old, with string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, old, with) }
}

func re(pattern, with string) func(string) string {
	return func(s string) string { return regexp.MustCompile(pattern).ReplaceAllString(s, with) }
}

// other exchanges the hexadecimal digit at the end of what the pattern finds for another one.
func other(pattern string) func(string) string {
	return func(s string) string {
		return regexp.MustCompile(pattern).ReplaceAllStringFunc(s, func(found string) string {
			last := len(found) - 1
			return found[:last] + map[bool]string{true: "1", false: "0"}[found[last] == '0']
		})
	}
}

func whole(s string) func(string) string { return func(string) string { return s } }

const huge = "9223372036854775807"

// bomb is a zstd frame of 4 MiB of zeros that does not announce its size, in 100 bytes.
func bomb() string {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 12 << 3}
	for i := range 32 {
		header := 128<<10<<3 | 1<<1 | i/31 // a run of 128 KiB
		b = append(b, byte(header), byte(header>>8), byte(header>>16), 0)
	}
	return string(b)
}

// claim is the header of a zstd frame that announces 2^50 bytes.
const claim = "\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x04\x00"

func lies() []lie {
	var all []lie
	add := func(part, what string, edit func(string) string) *lie {
		all = append(all, lie{what: part + ": " + what, edits: edits{part: edit}})
		return &all[len(all)-1]
	}
	for what, size := range map[string]string{"too large": "12193", "too small": "12191", "negative": "-12192", "huge": huge, "no number": `"12192"`, "beyond int64": "1e30"} {
		add("root", "size "+what, swap(`"size":12192`, `"size":`+size))
	}
	add("root", "format unknown", swap(`"format":1`, `"format":2`))
	add("root", "not a tree", swap(`"tree"`, `"bush"`))
	add("root", "no JSON", swap("{", "["))
	for what, ref := range map[string]string{"negative": "-1", "beyond the frame": "5000", "huge": huge} {
		for _, member := range []string{"off", "len"} {
			for _, part := range []string{"root", "files", "record"} {
				add(part, member+" "+what, re(`"`+member+`":\d+`, `"`+member+`":`+ref))
			}
		}
	}
	for _, name := range []string{"", ".", "..", "../a", "/a", "a/../../b", "a/./b", "a//b", "a/", "%2e%2e/a", "%2Fa", "a%00", "%2", "%zz", ".lifeboat-partial", ".lifeboat-partial/plan"} {
		add("files", fmt.Sprintf("name %q", name), swap(`"a.db"`, `"`+name+`"`))
	}
	add("files", "name twice", swap(`"b.txt"`, `"a.db"`))
	add("files", "names unordered", swap(`"a.db"`, `"c.db"`))
	add("files", "a file in a file", swap(`"b.txt"`, `"a.db/b.txt"`))
	add("files", "kind unknown", swap(`"stream"`, `"river"`))
	add("files", "mode", swap(`"600"`, `"4755"`))
	for _, page := range []string{"0", "-512", "511", "256", "131072", huge, "1024"} {
		add("files", "page size "+page, swap(`"page":512`, `"page":`+page))
	}
	for _, size := range []string{"8191", "8193", "0", "-8192", huge} {
		add("files", "size "+size, swap(`"size":8192`, `"size":`+size))
		add("files", "extents of "+size, swap(`"bytes":8192`, `"bytes":`+size))
		add("files", "both "+size, swap(`:8192`, `:`+size))
	}
	add("extents", "version unknown", swap("extents 1", "extents 2"))
	add("extents", "nothing", whole(""))
	add("extents", "another frame", other(`f \w`))
	add("extents", "another ID", other(`8192 \w`))
	for _, d := range []string{"0 1 8192", "0 4000 8192", "0 8192 8192", "0 4194304 8192", "0 4190000 8192", "0 -1 8192", "0 " + huge + " 8192", "0 99999999999999999999 8192", "1 0 8192", "-1 0 8192",
		"0 0 0", "0 0 -8192", "0 0 8191", "0 0 8193", "0 0 4194305", "0 0 " + huge, "0 0", "0 0 8192 8192"} {
		add("extents", "d "+d, swap("d 0 0 8192", "d "+d))
	}
	for _, p := range []string{"1 8192", "8192 8192", "0 8193", "-1 8192", "0 -8192", "0 0", "0 " + huge, huge + " 8192", huge + " " + huge, "0 8191"} {
		add("extents", "p "+p, re(`d (0 0 8192 \w+)`, "p $1 "+p))
	}
	for _, z := range []string{"0", "-1000", "999", "1001", huge, "x"} {
		add("extents b", "z "+z, swap("z 1000", "z "+z))
	}
	add("frame", "a bomb", whole(bomb()+bomb()))
	add("frame", "a great bomb", whole(strings.Repeat(bomb(), 4000)))
	add("frame", "a claim", whole(claim+bomb()))
	add("frame", "cut", func(s string) string { return s[:len(s)/2] })
	add("frame", "nothing", whole(""))
	add("frame", "no zstd", whole("plain text"))
	for _, at := range []string{"0", "-16", "15", "99999999", huge} {
		add("lines", "frame at "+at, re(`(?m) 16 (\d+)$`, " "+at+" $1"))
	}
	for _, n := range []string{"0", "-1", "1", "5242881", "99999999", huge} {
		add("lines", "frame of "+n, re(`(?m) 16 \d+$`, " 16 "+n))
	}
	add("lines", "frames overlap", func(s string) string { return s + strings.Repeat("0", 32) + " 16 100\n" })
	add("lines", "a frame is missing", re(`^.*\n`, ""))
	all = append(all, inIndex()...)
	all = append(all, inJournal()...)
	return append(all,
		lie{what: "files: sizes beyond int64", edits: edits{
			"root":      swap(`"size":12192`, `"size":-2`),
			"files":     func(s string) string { return swap(":4000", ":"+huge)(swap(":8192", ":"+huge)(s)) },
			"extents":   whole("lifeboat extents 1\nz " + huge + "\n"),
			"extents b": whole("lifeboat extents 1\nz " + huge + "\n"),
		}})
}

// inIndex are lies in the index alone, which the packs' footers contradict.
func inIndex() (all []lie) {
	add := func(part, what string, edit func(string) string) {
		all = append(all, lie{part + ": " + what, edits{part: edit}, true})
	}
	add("index", "version unknown", swap("index 1", "index 2"))
	add("index", "nothing", whole(""))
	add("index", "no pack", re(`pack.*\n`, ""))
	for _, size := range []string{"-1", "67108865", huge, "16"} {
		add("index", "pack of "+size, re(`(pack \w+) \d+`, "$1 "+size))
	}
	add("index", "name of a pack", re(`pack \w+`, "pack ../../../../etc/passwd"))
	add("index", "a bomb", func(s string) string { return s + strings.Repeat("0", 8<<20) })
	add("index object", "no zstd", whole("lifeboat index 1\n"))
	add("index object", "a bomb", whole(strings.Repeat(bomb(), 1000)))
	add("index object", "a claim", whole(claim+bomb()))
	return all
}

// inJournal are lies in the record, the marker and the bundle.
func inJournal() (all []lie) {
	add := func(part, what string, harmless bool, edit func(string) string) {
		all = append(all, lie{part + ": " + what, edits{part: edit}, harmless})
	}
	add("record", "format unknown", false, swap(`"format":1`, `"format":2`))
	add("record", "no details", false, swap(`"snapshot":{`, `"snapshots":{`))
	add("record", "no JSON", false, swap("{", "["))
	add("record", "another number", false, swap(`"seq":`, `"seq":1`))
	for _, size := range []string{"-1", "0", "1", huge} {
		add("record", "objects of "+size, true, re(`"size":\d+}(,|\])`, `"size":`+size+`}$1`))
	}
	for _, name := range []string{"", "../../../etc/passwd", "/etc/passwd", "packs", "journal/writer/000000000001/x", strings.Repeat("x", 70)} {
		add("record", fmt.Sprintf("object %q", name), true, re(`"name":"packs[^"]+`, `"name":"`+name))
	}
	for d, harmless := range map[string]bool{"": false, "x": false, "../" + strings.Repeat("0", 64): false, strings.Repeat("0", 64): true} {
		add("record", fmt.Sprintf("index %q", d), harmless, re(`"indexes":\[[^]]+`, `"indexes":["`+d+`"`))
	}
	for _, member := range []string{"condemn", "sweep"} {
		for _, digest := range []string{"", "x", strings.Repeat("Z", 64)} {
			add("record", fmt.Sprintf("%s %q", member, digest), false, swap(`"type":`, `"`+member+`":{"packs":["`+digest+`"],"indexes":["`+digest+`"]},"type":`))
		}
	}
	add("marker", "format unknown", false, swap(`"format":1`, `"format":2`))
	add("marker", "another repository", false, re(`"repository":"..`, `"repository":"00`))
	for _, n := range []string{"-1", huge} {
		add("bundle", "record of "+n, true, re(`(?m)^3 \d+$`, "3 "+n))
	}
	add("bundle", "no checkpoint", true, re(`(?s)checkpoint \d+\n.*`, ""))
	return all
}

// TestSignedLies restores and checks what a host with the right keys would write to do harm. Nothing panics, no size that
// is only claimed is allocated, and nothing stands in the destination.
func TestSignedLies(t *testing.T) {
	v := newVessel(t, 6, "disk")
	forge := newForge(t, v.path("state"))
	for i, l := range append([]lie{{what: "the truth", harmless: true}}, lies()...) {
		t.Run(l.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "disk")
			if err := os.CopyFS(dir, os.DirFS(v.path("disk"))); err != nil {
				t.Fatal(err)
			}
			to, err := local.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			r, err := repository.Open(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			f := forge.at(t, dir, r, l.edits)
			if _, ok := l.edits["bundle"]; ok {
				f.fill()
			}
			f.snapshot()
			f.write("lifeboat.json", []byte(f.part("marker", string(fileOf(t, dir, "lifeboat.json")))))
			if len(f.done) != len(l.edits) {
				t.Fatalf("only %v were changed", f.done)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, restoring, checking := v.believe(t, to)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 { // what does not open is read and opened once more, and decoders that rest may be collected
				t.Errorf("%d MiB were allocated", n>>20)
			}
			if (restoring == nil) != l.harmless {
				t.Errorf("restore: %v", restoring)
			}
			if restoring == nil && !maps.EqualFunc(got, forged(), bytes.Equal) {
				t.Error("other bytes were restored")
			}
			if (checking == nil) != (i == 0) {
				t.Errorf("check: %v", checking)
			}
		})
	}
}

// believe restores the newest snapshot of a copy and checks the copy as the program does. What the check finds is an error.
func (v *vessel) believe(t *testing.T, to *local.Target) (got cargo, restoring, checking error) {
	t.Helper()
	r, err := repository.Open(t.Context(), to)
	if err != nil {
		return nil, err, err
	}
	job := verify.Job{Target: to, Chain: r.Chain, Broken: r.Broken, Objects: r.Objects(), Share: 1}
	err = r.Unlock(t.Context(), []age.Identity{v.master})
	switch {
	case err == nil:
		job.Frames, job.IDs, job.Contents = r.Frames, r.IDs, true
		got, restoring = newest(t, r)
	case errors.Is(err, crypto.ErrDamaged):
		job.Failed, restoring = err, err
	default:
		return nil, err, err
	}
	report, checking := verify.Check(t.Context(), job)
	if checking == nil && len(report.Damage) > 0 {
		checking = fmt.Errorf("%v", report.Damage)
	}
	return got, errors.Join(restoring, r.Broken), checking // the program restores what stands before a break, and warns
}

// newest restores the newest snapshot.
func newest(t *testing.T, r *repository.Reader) (cargo, error) {
	t.Helper()
	all, err := r.Snapshots(t.Context(), vesselSource)
	if err != nil {
		return nil, err
	}
	return restored(t, r, all[len(all)-1].Root)
}
