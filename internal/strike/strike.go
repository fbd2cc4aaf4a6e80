//go:build linux && amd64

package strike

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
)

// Count runs cmd to its end and counts its calls. With several threads the number may vary from run to run. A command
// that fails, or is killed (by its context, say), is an error.
func Count(cmd *exec.Cmd) (int, error) {
	t := &tracer{}
	if err := t.run(cmd); err != nil {
		return 0, err
	}
	return t.result.Calls, t.outcome(cmd)
}

// Run runs cmd and kills it, its threads and the processes that it started, with SIGKILL, at the call with number at,
// from 1: before it happens; or, with torn given and if it is a write or pwrite64, after a part of it, from nothing to
// all but a byte, has been written. A program that ends before that many calls is not an error, whatever its status;
// one that cannot be started or followed is.
func Run(cmd *exec.Cmd, at int, torn *rand.Rand) (Result, error) {
	if at < 1 {
		return Result{}, fmt.Errorf("run %s: calls are counted from 1, not %d", cmd.Path, at)
	}
	t := &tracer{at: at, torn: torn, result: Result{Kept: -1}}
	err := t.run(cmd)
	return t.result, err
}

// Trace runs cmd to its end and lists its calls in the order in which they were done. A command that fails is an error,
// with the calls that it did.
func Trace(cmd *exec.Cmd) ([]Call, error) {
	t := &tracer{listing: true}
	if err := t.run(cmd); err != nil {
		return t.calls, err
	}
	return t.calls, t.outcome(cmd)
}

// errFailed is wrapped by the error for a program that did not end well by itself.
var errFailed = errors.New("program failed")

func (t *tracer) outcome(cmd *exec.Cmd) error {
	switch s := t.result.Status; {
	case s.Signaled():
		return fmt.Errorf("trace %s: %w: killed by %v", cmd.Path, errFailed, s.Signal())
	case s.ExitStatus() != 0:
		return fmt.Errorf("trace %s: %w: exit status %d", cmd.Path, errFailed, s.ExitStatus())
	}
	return nil
}
