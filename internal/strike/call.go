package strike

import (
	"fmt"
	"syscall"
)

// Call is one system call that modifies files or makes them durable. Paths are absolute and as the kernel knew them
// when the call began.
type Call struct {
	TID   int    // the thread that made it
	Name  string // of the system call
	Path  string // the file or directory; the old name of a rename or link
	To    string // the new name of a rename, link or symlink
	Bytes int64  // asked for at entry by write, pwrite64, copy_file_range and sendfile; written, in what Trace returns
	Err   syscall.Errno
}

// String is the call as a line of a listing.
func (c Call) String() string {
	s := c.Name + " " + c.Path
	if c.To != "" {
		s += " -> " + c.To
	}
	if c.Bytes != 0 {
		s += fmt.Sprintf(" (%d bytes)", c.Bytes)
	}
	if c.Err != 0 {
		s += ": " + c.Err.Error()
	}
	return s
}

// Result is how a program under Run ended.
type Result struct {
	Calls  int                // that began, the one struck included
	Struck bool               // false when the program ended before the call at which it was to be killed
	Call   Call               // the one struck
	Kept   int64              // bytes that a torn call wrote; -1 when the call did not happen at all
	Status syscall.WaitStatus // of the program itself
}
