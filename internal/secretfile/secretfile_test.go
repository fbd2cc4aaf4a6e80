package secretfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeboat/internal/secretfile"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for _, tt := range []struct{ content, want string }{{"hush", "hush"}, {"hush\n", "hush"}, {"hu sh \r\nmore\n", "hu sh "}} {
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := secretfile.Read(path, "password file"); err != nil || got != tt.want {
			t.Errorf("%q: %q, %v", tt.content, got, err)
		}
	}
	for _, content := range []string{"", "\r\nsecond"} { // it was made, and not filled
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := secretfile.Read(path, "password file"); err == nil || got != "" || !strings.Contains(err.Error(), "the password file "+path+" has nothing in its first line") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	for _, size := range []int{64 << 10, 64<<10 + 1} {
		if err := os.WriteFile(path, []byte(strings.Repeat("a\n", size)[:size]), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := secretfile.ReadAll(path, "key file")
		if whole := size == 64<<10; (err == nil) != whole || whole && len(got) != size {
			t.Errorf("all of %d bytes: %d, %v", size, len(got), err)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secretfile.Read(path, "password file"); err == nil || !strings.Contains(err.Error(), "the password file "+path+" can be read by others (mode 0640): chmod 600 "+path) {
		t.Errorf("that the group can read: %v", err)
	}
	if _, err := secretfile.Read(path+"x", "password file"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "read the password file: ") {
		t.Errorf("that is not there: %v", err)
	}
	if got, err := secretfile.Read("", "password file"); err != nil || got != "" {
		t.Errorf("none: %q, %v", got, err)
	}
	for _, other := range []string{filepath.Dir(path), pipe(t)} {
		if _, err := secretfile.Read(other, "password file"); err == nil || !strings.Contains(err.Error(), other+" is no regular file") {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// pipe is one into which nobody writes: reading it would wait for ever.
func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
