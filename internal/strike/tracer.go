//go:build linux && amd64

package strike

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC |
	unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL

// tracer follows one program to its end. It lives on one thread.
type tracer struct {
	at      int        // strike the call with this number, from 1; 0 never
	torn    *rand.Rand // tear it, where it can be
	listing bool       // keep all calls, with their results

	root   int
	seen   map[int]bool // threads that are past their first stop
	inside map[int]*Call
	struck bool // from here on nothing is let run, but the torn call
	tid    int  // the thread that has the torn call to finish; 0 none

	result Result
	calls  []Call
}

// run starts cmd and follows it. cmd is waited for on return.
func (t *tracer) run(cmd *exec.Cmd) error {
	return onOwnThread(func() error {
		attr := syscall.SysProcAttr{}
		if cmd.SysProcAttr != nil {
			attr = *cmd.SysProcAttr
		}
		attr.Ptrace = true
		cmd.SysProcAttr = &attr
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s: %w", cmd.Path, err)
		}
		err := t.follow(cmd.Process.Pid)
		// The process is reaped already, which Wait reports; it still has to collect the output. Any error of that
		// is one of copying, and comes joined with the other.
		if waited := cmd.Wait(); waited != nil && !errors.Is(waited, unix.ECHILD) {
			err = errors.Join(err, waited)
		}
		if err != nil {
			return fmt.Errorf("trace %s: %w", cmd.Path, err)
		}
		return nil
	})
}

func (t *tracer) follow(pid int) error {
	t.root, t.seen, t.inside = pid, map[int]bool{pid: true}, map[int]*Call{}
	err := t.begin(pid)
	if err != nil {
		t.kill()
	}
	for {
		var ws unix.WaitStatus
		tid, werr := wait(-1, &ws)
		if errors.Is(werr, unix.ECHILD) {
			return err
		}
		if werr != nil {
			return errors.Join(err, fmt.Errorf("wait: %w", werr))
		}
		if serr := t.step(tid, ws); serr != nil && err == nil {
			err = serr
			t.kill()
		}
	}
}

// begin takes the program at its first stop, before it has run anything.
func (t *tracer) begin(pid int) error {
	var ws unix.WaitStatus
	if _, err := wait(pid, &ws); err != nil {
		return fmt.Errorf("wait for start: %w", err)
	}
	if !ws.Stopped() {
		t.result.Status = syscall.WaitStatus(ws)
		return fmt.Errorf("ended before it began, with status %#x", uint32(ws))
	}
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return fmt.Errorf("set options: %w", err)
	}
	if err := install(pid); err != nil {
		return err
	}
	return resume(unix.PtraceCont(pid, 0))
}

// step deals with one report of one thread.
func (t *tracer) step(tid int, ws unix.WaitStatus) error {
	if ws.Exited() || ws.Signaled() {
		t.ended(tid)
		if tid == t.root {
			t.result.Status = syscall.WaitStatus(ws)
		}
		return nil
	}
	if !ws.Stopped() {
		return nil
	}
	first := !t.seen[tid]
	t.seen[tid] = true
	switch sig := ws.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		return t.leave(tid)
	case t.struck:
		if t.tid == 0 {
			killOne(tid)
		}
		return nil
	case sig == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		return t.enter(tid)
	case sig == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_EXEC:
		if old, err := unix.PtraceGetEventMsg(tid); err == nil && int(old) != tid {
			delete(t.seen, int(old)) // it became tid and never reports again
		}
		return resume(unix.PtraceCont(tid, 0))
	case sig == unix.SIGTRAP && ws.TrapCause() > 0, sig == unix.SIGSTOP && first:
		return resume(unix.PtraceCont(tid, 0)) // news of a thread, which will report itself; or that report
	case stopped(tid, sig):
		return resume(unix.PtraceCont(tid, 0))
	default:
		return resume(unix.PtraceCont(tid, int(sig)))
	}
}

// enter is called when tid is about to do a call that may count.
func (t *tracer) enter(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return resume(err)
	}
	c, s, counts, err := describe(tid, &regs)
	if err != nil && !gone(err) {
		return err
	}
	if !counts {
		return resume(unix.PtraceCont(tid, 0))
	}
	t.result.Calls++
	if t.result.Calls == t.at {
		return t.strike(tid, c, s, &regs)
	}
	if t.listing {
		t.inside[tid] = &c
		return resume(unix.PtraceSyscall(tid, 0))
	}
	return resume(unix.PtraceCont(tid, 0))
}

// strike kills everything at call c, or lets a part of c happen first.
func (t *tracer) strike(tid int, c Call, s shape, regs *unix.PtraceRegs) error {
	t.struck, t.result.Struck, t.result.Call = true, true, c
	if t.torn == nil || !s.tearing || c.Bytes <= 0 {
		t.kill()
		return nil
	}
	t.tid = tid
	regs.Rdx = uint64(t.torn.Int64N(c.Bytes))
	if err := unix.PtraceSetRegs(tid, regs); err != nil {
		return resume(err)
	}
	return resume(unix.PtraceSyscall(tid, 0))
}

// leave is called when tid has done the call that it was seen to enter.
func (t *tracer) leave(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return resume(err)
	}
	if tid == t.tid {
		if errnoOf(regs.Rax) == 0 {
			t.result.Kept = int64(regs.Rax)
		}
		t.tid = 0
		t.kill()
		return nil
	}
	if c := t.inside[tid]; c != nil {
		c.finish(regs.Rax)
		t.calls = append(t.calls, *c)
		delete(t.inside, tid)
	}
	if t.struck {
		return nil
	}
	return resume(unix.PtraceCont(tid, 0))
}

// finish enters the result of a call.
func (c *Call) finish(result uint64) {
	c.Err = errnoOf(result)
	switch c.Name {
	case "write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile":
		c.Bytes = 0
		if c.Err == 0 {
			c.Bytes = int64(result)
		}
	}
}

func (t *tracer) ended(tid int) {
	delete(t.seen, tid)
	delete(t.inside, tid)
	if tid == t.tid { // something else killed it in the middle of the torn call
		t.tid = 0
		t.kill()
	}
}

// kill ends all that is known to live; what reports later is killed then.
func (t *tracer) kill() {
	t.struck = true
	killOne(t.root)
	for tid := range t.seen {
		killOne(tid)
	}
}
