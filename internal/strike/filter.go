//go:build linux && amd64

package strike

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data; the low half of an argument comes first.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// filter is a seccomp program that hands the calls of shapes to the tracer and lets all others pass untouched.
func filter() []unix.SockFilter {
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	trace := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE}
	// A jump skips Jt instructions when it holds and Jf when not.
	skipUnless := func(test uint16, k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jf: skip, K: k}
	}
	program := []unix.SockFilter{
		load(offArch), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.AUDIT_ARCH_X86_64}, allow,
		load(offNumber),
	}
	for number, s := range shapes {
		if s.flags == none {
			program = append(program, skipUnless(unix.BPF_JEQ, uint32(number), 1), trace)
			continue
		}
		program = append(program, skipUnless(unix.BPF_JEQ, uint32(number), 4),
			load(offArgs+8*uint32(s.flags)), skipUnless(unix.BPF_JSET, creating, 1), trace, allow)
	}
	return append(program, allow)
}

// install puts the filter into a program that has just been executed and has run nothing yet, by making it call
// seccomp(2) itself: what a thread inherits, it needs to have been given by itself or a parent.
func install(pid int) error {
	var saved unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &saved); err != nil {
		return fmt.Errorf("read registers: %w", err)
	}
	program := filter()
	// Below the stack pointer, past what the red zone of its ABI keeps: first the fprog, then the instructions.
	at := saved.Rsp - 8192
	var image bytes.Buffer
	parts := []any{uint64(len(program)), uint64(at + 16), program}
	for _, part := range parts {
		if err := binary.Write(&image, binary.LittleEndian, part); err != nil {
			return fmt.Errorf("lay out filter: %w", err)
		}
	}
	if _, err := unix.PtracePokeData(pid, uintptr(at), image.Bytes()); err != nil {
		return fmt.Errorf("write filter: %w", err)
	}
	set := [6]uint64{unix.SECCOMP_SET_MODE_FILTER, 0, at}
	err := inject(pid, saved, unix.SYS_SECCOMP, set)
	if errors.Is(err, unix.EACCES) { // without privileges, the program has to give up gaining any
		err = inject(pid, saved, unix.SYS_PRCTL, [6]uint64{unix.PR_SET_NO_NEW_PRIVS, 1})
		if err == nil {
			err = inject(pid, saved, unix.SYS_SECCOMP, set)
		}
	}
	if err != nil {
		return fmt.Errorf("install filter: %w", err)
	}
	return nil
}

// inject makes the stopped process do one system call and puts everything back.
func inject(pid int, saved unix.PtraceRegs, number uint64, args [6]uint64) error {
	syscallInstruction := []byte{0x0f, 0x05}
	pc := uintptr(saved.Rip)
	code := make([]byte, len(syscallInstruction))
	if _, err := unix.PtracePeekText(pid, pc, code); err != nil {
		return fmt.Errorf("read code: %w", err)
	}
	if _, err := unix.PtracePokeText(pid, pc, syscallInstruction); err != nil {
		return fmt.Errorf("write code: %w", err)
	}
	r := saved
	r.Rax, r.Orig_rax = number, ^uint64(0)
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = args[0], args[1], args[2], args[3], args[4], args[5]
	if err := unix.PtraceSetRegs(pid, &r); err != nil {
		return fmt.Errorf("set registers: %w", err)
	}
	if err := unix.PtraceSingleStep(pid); err != nil {
		return fmt.Errorf("step: %w", err)
	}
	var ws unix.WaitStatus
	if _, err := wait(pid, &ws); err != nil {
		return fmt.Errorf("wait for step: %w", err)
	}
	if !ws.Stopped() || ws.StopSignal() != unix.SIGTRAP {
		return fmt.Errorf("step ended with status %#x", uint32(ws))
	}
	if err := unix.PtraceGetRegs(pid, &r); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	if _, err := unix.PtracePokeText(pid, pc, code); err != nil {
		return fmt.Errorf("restore code: %w", err)
	}
	if err := unix.PtraceSetRegs(pid, &saved); err != nil {
		return fmt.Errorf("restore registers: %w", err)
	}
	if n := errnoOf(r.Rax); n != 0 {
		return n
	}
	return nil
}
