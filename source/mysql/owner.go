package mysql

import (
	"os"
	"syscall"

	"lifeboat/restore"
)

// as lets a child run as owner, where that is somebody else.
func as(owner *restore.Owner) *syscall.SysProcAttr {
	if owner == nil || owner.UID == os.Geteuid() {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(owner.UID), Gid: uint32(owner.GID)}}
}
