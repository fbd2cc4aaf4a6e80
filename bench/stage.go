package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// stage lets testenv start servers here as it does for tests, and stops them when what needs them is over.
type stage struct {
	ctx  context.Context
	dir  string
	dirs int
	ends []func()
	mu   sync.Mutex
	errs []error
}

// perform runs f with servers whose files are below dir.
func perform(ctx context.Context, dir string, f func(*stage) error) error {
	if err := os.RemoveAll(dir); err != nil { // of a run that was killed
		return err
	}
	s := &stage{ctx: ctx, dir: dir}
	s.try(func() { s.note(f(s)) })
	for _, end := range slices.Backward(s.ends) {
		s.try(end)
	}
	s.note(os.RemoveAll(dir))
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

// try runs f until its end, or until something fatal.
func (s *stage) try(f func()) {
	var wait sync.WaitGroup
	wait.Go(f)
	wait.Wait()
}

func (s *stage) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

// Helper implements testenv.TB.
func (s *stage) Helper() {}

// Context implements testenv.TB.
func (s *stage) Context() context.Context { return s.ctx }

// Cleanup implements testenv.TB.
func (s *stage) Cleanup(f func()) { s.ends = append(s.ends, f) }

// Errorf implements testenv.TB.
func (s *stage) Errorf(format string, args ...any) { s.note(fmt.Errorf(format, args...)) }

// Fatalf implements testenv.TB.
func (s *stage) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

// Fatal implements testenv.TB.
func (s *stage) Fatal(args ...any) { s.Fatalf("%s", fmt.Sprint(args...)) }

// TempDir implements testenv.TB.
func (s *stage) TempDir() string {
	s.dirs++
	dir := filepath.Join(s.dir, strconv.Itoa(s.dirs))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.Fatal(err)
	}
	return dir
}
