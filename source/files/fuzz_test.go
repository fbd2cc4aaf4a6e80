package files

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzPattern offers any text as a pattern for any name: what is accepted fits a name or does not, and never the name above it.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{"*.tmp", "cache/", "a/*.log", "[a-z]?", `\*`, "**", "a//b", "["} {
		f.Add(p, "deep/cache/x.tmp")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := ParsePattern(text)
		if err != nil {
			return
		}
		if p.dir && p.fits(name, false) {
			t.Errorf("%q fits the file %q", text, name)
		}
		if p.anchored && p.fits(name, true) && strings.Count(name, "/") != strings.Count(p.glob, "/") {
			t.Errorf("%q fits %q", text, name)
		}
	})
}

// FuzzFingerprints offers any bytes as a restored list.
func FuzzFingerprints(f *testing.F) {
	f.Add([]byte(`{"lifeboat":"fingerprints","format":1,"files":[{"path":"/k","sha256":"00","size":1,"mode":"600","mtime":"2026-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"lifeboat":"fingerprints","format":2}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, fingerprintsName), b, 0o600))
		list, err := ReadFingerprints(dir)
		if err != nil {
			return
		}
		again, err := json.Marshal(fingerprints{"fingerprints", 1, list})
		must(t, errors.Join(err, os.WriteFile(filepath.Join(dir, fingerprintsName), again, 0o600)))
		if second, err := ReadFingerprints(dir); err != nil || !slices.EqualFunc(second, list, func(a, b Fingerprint) bool {
			return a.Path == b.Path && a.SHA256 == b.SHA256 && a.ModTime.Equal(b.ModTime)
		}) {
			t.Errorf("%q is %v, and then %v (%v)", b, list, second, err)
		}
	})
}
