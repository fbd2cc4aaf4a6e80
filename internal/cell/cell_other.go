//go:build !linux

package cell

import (
	"errors"
	"os"
	"syscall"
)

// attributes let a child run as somebody. Only Linux ends it with this process, and sets it apart.
func attributes(u *User, _ bool, _ syscall.Signal) *syscall.SysProcAttr { return As(u) }

func ownNetwork(int) (bool, error) {
	return false, errors.New("that of the host: only Linux has others")
}

func processes() []int         { return nil }
func worksIn(int, string) bool { return false }
func called(int) string        { return "" }

// Reachable is a name for an open directory.
func Reachable(d *os.File) string { return d.Name() }
