package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestLock holds a note from its first moment to its last: nobody takes it while its maker lives.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes", "1.json")
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if l, err := Hold(path); l != nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
				done <- fmt.Errorf("held it as well: %v, %w", l, err)
				return
			}
		}
	}()
	for range 50 {
		l, err := Lock(path, []byte("x"))
		if err != nil || l == nil {
			t.Fatalf("lock: %v, %v", l, err)
		}
		if err := l.End(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHold takes a note of who died, and leaves what stands there already.
func TestHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.json")
	l, err := Lock(path, []byte("first"))
	if err != nil || l.Name() != path {
		t.Fatal(err)
	}
	if o, err := Hold(path); o != nil || err != nil {
		t.Errorf("taken from who lives: %v, %v", o, err)
	}
	if o, err := Lock(path, []byte("second")); o != nil || !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v, %v", o, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Hold(path); err != nil || l == nil {
		t.Fatalf("of who died: %v, %v", l, err)
	}
	if b, err := io.ReadAll(l); string(b) != "first" || err != nil {
		t.Errorf("it holds %q, %v", b, err)
	}
	if err := l.End(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := Hold(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
