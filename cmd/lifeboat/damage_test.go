package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// replacements say what stands in the place of an object: nothing means that it is deleted.
func replacements(x, foreign *fixture, name string, body []byte) map[string][]byte {
	out := map[string][]byte{"deleted": nil, "truncated": spoil("truncate", body), "flipped": spoil("flip", body), "emptied": {}, "longer": append(bytes.Clone(body), 0)}
	class, _, _ := strings.Cut(name, "/")
	for _, other := range x.objects("disk") { // one of the same class, or an older state of the same name
		if other != name && strings.HasPrefix(other, class) {
			out["swapped"] = x.read("disk", other)
		}
	}
	for _, other := range foreign.objects("disk") {
		if strings.HasPrefix(other, class) {
			out["foreign"] = foreign.read("disk", other)
		}
	}
	return out
}

func (x *fixture) read(elem ...string) []byte {
	x.t.Helper()
	b, err := os.ReadFile(x.path(elem...))
	x.must(err)
	return b
}

// put makes body the content of a file; nil deletes it.
func (x *fixture) put(body []byte, elem ...string) {
	x.t.Helper()
	if body == nil {
		x.must(os.Remove(x.path(elem...)))
		return
	}
	x.must(os.MkdirAll(filepath.Dir(x.path(elem...)), 0o700))
	x.must(os.WriteFile(x.path(elem...), body, 0o600))
}

// TestDamage spoils each object of a repository in every way. A check must name it, a restore must bring the right
// bytes or none, and the next backup must be right again or say why it cannot be taken.
func TestDamage(t *testing.T) {
	foreign := newFixture(t, "disk")
	foreign.want(0, "backup", "crm")
	x := newFixture(t, "disk")
	x.want(0, "backup", "crm")
	first := x.database()
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	second := x.database()
	x.must(os.Rename(x.path("state"), x.path("state-kept")))
	key := []string{"--identity", x.path("key")}
	url := "file://" + x.path("disk")
	for _, name := range x.objects("disk") {
		whole := x.read("disk", name)
		for how, body := range replacements(x, foreign, name, whole) {
			t.Run(how+" "+name, func(t *testing.T) {
				x.t = t
				x.must(copyDir(x.path("state-kept"), x.path("state")))
				x.put(body, "disk", name)
				defer func() {
					x.put(whole, "disk", name)
					x.must(os.RemoveAll(x.path("state")))
				}()
				// On the backup host, which knows where the journal ends, and elsewhere without a key.
				x.named(name, x.run(append([]string{"check"}, key...)...))
				if _, lost := lastRecord(x, name); !lost || body != nil {
					x.named(name, x.run("check", "--from", url))
				}
				for at, want := range map[string][]byte{"snapshot:s2": first, "snapshot:s3": second} {
					to := filepath.Join(t.TempDir(), "out")
					s := x.run("restore", "crm", "--from", url, "--identity", x.path("key"), "--to", to, "--at", at)
					if s.code != 0 {
						if entries, err := os.ReadDir(to); err == nil {
							t.Errorf("a restore that failed left %v: %s", entries, s)
						}
						continue
					}
					if got, err := os.ReadFile(filepath.Join(to, "crm.db")); err != nil || !bytes.Equal(got, want) {
						t.Errorf("a restore from damage gave other bytes: %v, %s", err, s)
					}
				}
				x.must(copyDir(x.path("disk"), x.path("disk-kept")))
				if s := x.run("backup", "crm"); s.code == 0 {
					if !bytes.Equal(x.restored("--from", url), second) {
						t.Error("the backup after it restores to something else")
					}
				} else if !strings.Contains(s.err, "`lifeboat init") && !strings.Contains(s.err, "is the right disk mounted") && name != "lifeboat.json" {
					t.Errorf("a backup that is not taken does not say what to do: %s", s)
				}
				x.must(os.RemoveAll(x.path("disk")))
				x.must(os.Rename(x.path("disk-kept"), x.path("disk")))
			})
		}
	}
}

// named wants a check to have found the damage and to say where.
func (x *fixture) named(name string, s said) {
	x.t.Helper()
	if name == "lifeboat.json" { // without a marker there is nothing to check
		if s.code != 4 || !strings.Contains(s.err, name) && !strings.Contains(s.err, "the marker of") {
			x.t.Errorf("check with a spoiled marker: %s", s)
		}
		return
	}
	word := name
	if strings.HasPrefix(name, "journal/") {
		word = "journal"
	}
	if s.code != 3 && s.code != 4 || s.code == 3 && !strings.Contains(s.out, word) {
		x.t.Errorf("check does not name %s: %s", name, s)
	}
}

// lastRecord reports whether name is the newest record: to lose it looks like being older.
func lastRecord(x *fixture, name string) (string, bool) {
	last := ""
	for _, o := range append(x.objects("disk"), name) {
		if strings.HasPrefix(o, "journal/writer/0") {
			last = max(last, o)
		}
	}
	return last, name == last
}
