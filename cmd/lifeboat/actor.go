package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"strings"

	"golang.org/x/term"

	"lifeboat/journal"
)

// by names who acts, for the journal: by the account, and, behind sudo, who uses it.
func by() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" && sudo != name && os.Geteuid() == 0 {
		name = fmt.Sprintf("%s (%s by sudo)", name, sudo)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return journal.Plain(name + "@" + host)
}

// noTerminal is where a script or a timer acts from.
const noTerminal = "no terminal"

// origin is where who acts sits, for the journal: the address that an SSH session comes from, or else the terminal. It is what the environment says.
func origin() string {
	if client, _, _ := strings.Cut(os.Getenv("SSH_CONNECTION"), " "); client != "" {
		if addr, err := netip.ParseAddr(client); err == nil {
			return addr.String()
		}
	}
	for _, f := range []*os.File{os.Stdin, os.Stderr, os.Stdout} {
		if !term.IsTerminal(int(f.Fd())) {
			continue
		}
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil {
			return journal.Plain(strings.TrimPrefix(name, "/dev/"))
		}
	}
	return noTerminal
}
