//go:build !linux

package postgres

import (
	"errors"
	"os"
	"syscall"

	"lifeboat/restore"
)

// attributes let a child run as owner. Only Linux ends it with this process, and sets it apart.
func attributes(owner *restore.Owner, _ bool) *syscall.SysProcAttr { return as(owner) }

func ownNetwork(int) (bool, error) {
	return false, errors.New("that of the host: only Linux has others")
}

func processes() []int            { return nil }
func worksIn(int, string) bool    { return false }
func isPostgres(int) bool         { return false }
func reachable(d *os.File) string { return d.Name() }
