package main

import (
	"context"
	"net"
	"net/url"
	"os/user"
	"path"
	"strconv"
	"strings"

	"lifeboat/config"
	"lifeboat/internal/bandwidth"
	"lifeboat/target"
	"lifeboat/target/sftp"
)

// openSFTP opens a configured directory on another host; create makes it. Connecting is bounded in time.
func openSFTP(ctx context.Context, t config.Target, create bool, limit *bandwidth.Limit) (target.Target, error) {
	c := sftp.Config{Host: t.Host, Port: t.Port, User: t.User, Path: t.Path, KeyFile: t.KeyFile, KnownHosts: t.KnownHosts, Limit: limit}
	opener := sftp.Open
	if create {
		opener = sftp.Create
	}
	opened, err := opener(ctx, c)
	if err != nil {
		return nil, err // and no *sftp.Target that is nil
	}
	return opened, nil
}

// openSFTPURL opens sftp://user@host:port/path; /~/path is below the account's home directory.
func openSFTPURL(ctx context.Context, s string, u *url.URL) (target.Target, error) {
	const form = "sftp://user@host:port/path?key_file=FILE&known_hosts=FILE"
	t := config.Target{Type: config.SFTP, Host: u.Hostname(), User: u.User.Username(), Path: u.Path}
	if t.Host == "" || t.Path == "" || u.Fragment != "" {
		return nil, usagef("--from %q: write %s", s, form)
	}
	if _, set := u.User.Password(); set {
		return nil, usagef("--from: there is no password in a URL for SFTP: use a key, as in %s", form)
	}
	if port := u.Port(); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return nil, usagef("--from %q: port %s is not between 1 and 65535", s, port)
		}
		t.Port = n
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, usagef("--from %q: %w", s, err)
	}
	for key, values := range query {
		switch key {
		case "key_file":
			t.KeyFile = values[len(values)-1]
		case "known_hosts":
			t.KnownHosts = values[len(values)-1]
		default:
			return nil, usagef("--from %q: unknown %q: write %s", s, key, form)
		}
	}
	return openSFTP(ctx, t, false, nil)
}

// placeSFTP is where a target's objects are, as far as the configuration tells, in the form of sftp.Target.Place. Accounts are kept apart: each
// can have a root directory of its own.
func placeSFTP(t config.Target) string {
	if t.User == "" {
		if u, err := user.Current(); err == nil {
			t.User = u.Username
		}
	}
	dir := path.Clean(strings.TrimPrefix(strings.TrimPrefix(t.Path, "/~/"), "~/"))
	if !path.IsAbs(dir) {
		dir = "~/" + strings.ReplaceAll(dir, "../", "up/")
	}
	return path.Join("sftp:", net.JoinHostPort(strings.ToLower(t.Host), strconv.Itoa(t.Port)), t.User, dir)
}
