// Package strike is a library for tests that kills a program at a chosen file-modifying system call, so that a test can
// visit every moment at which a crash leaves something different on disk. It also lists those calls, so that a test can
// check the order in which a program makes its writes durable.
//
// The program runs under ptrace, with a seccomp filter that stops it only at the calls that matter: it runs almost at
// full speed. Its threads and the processes that it starts are followed; together they have one count. A kill ends all
// of them. What the kernel holds survives it: this is a crash of the process, not of the machine. For the latter, check
// what Trace returns with Undurable.
//
// A program built for the race detector sleeps for a second when it ends: give it GORACE=atexit_sleep_ms=0.
//
// Calls that modify anything but regular files and directories (pipes, sockets, terminals, /dev, /proc, /sys, memfd) do
// not count, and neither do stores through mmap. Linux on amd64 only: elsewhere this package has no functions that run
// anything, and tests that use it carry the same build constraint.
package strike
