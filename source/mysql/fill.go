package mysql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lifeboat/restore"
)

// The files in a data directory while a server of ours runs in it.
const (
	fillConfig = "lifeboat-fill.cnf"
	fillInit   = "lifeboat-fill.sql"
	fillLog    = "lifeboat-fill.log"
	fillZone   = "lifeboat-fill.tz"
)

// fill lets a server run in dir, where SQL that stands there is loaded into it, if it is a new one, and the log is replayed.
func (p Programs) fill(ctx context.Context, l Layout, m Manifest, r *restore.Replay, dir string) (err error) {
	sql := map[string]*os.File{}
	if m.Mode == Logical {
		for _, name := range []string{dataFile, accountsFile} {
			f, err := os.Open(filepath.Join(dir, name))
			if errors.Is(err, os.ErrNotExist) && name == dataFile {
				continue // there was no database
			}
			if err != nil {
				return err
			}
			defer f.Close()
			sql[name] = f
			if err := os.Remove(f.Name()); err != nil { // the directory must be empty
				return err
			}
		}
		if err := run(ctx, l.Owner, dir, p.install, "--no-defaults", "--datadir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"); err != nil {
			return fmt.Errorf("make a new server: %w", err)
		}
	}
	// The original's accounts are there, or come, root's too: who works here has one that is not among them.
	user := "lifeboat_" + strings.ToLower(rand.Text()[:12])
	account, password := user+"@localhost", "Lb-1"+rand.Text() // of every kind of character, where a plugin of the original asks for them
	for name, text := range map[string]string{
		fillConfig: l.configuration(m) + "skip_networking\nsecure_file_priv = performance_schema\nmax_allowed_packet = 1G\ninnodb_flush_log_at_trx_commit = 0\ndatadir = .\ntmpdir = .\nlog_error = " + fillLog + "\npid_file = lifeboat-fill.pid\ninit_file = " + fillInit + "\n",
		fillZone:   string(zoneFile(m.Zone)),
		fillInit: "CREATE USER " + account + " IDENTIFIED BY '" + password + "';\nGRANT ALL PRIVILEGES ON *.* TO " + account + " WITH GRANT OPTION;\n" +
			"INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor) VALUES ('localhost', '" + user + "', '%', '', 1, '');\nFLUSH PRIVILEGES;\n", // whoever runs this may not GRANT PROXY
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		if l.Owner != nil {
			if err := os.Chown(path, l.Owner.UID, l.Owner.GID); err != nil {
				return err
			}
		}
	}
	cmd := exec.Command(p.server, "--defaults-file="+filepath.Join(dir, fillConfig))
	cmd.SysProcAttr = dying(l.Owner)
	cmd.Env = append(environment(), "TZ=:"+filepath.Join(dir, fillZone))
	ended, err := serve(ctx, cmd, dir, filepath.Join(dir, fillLog))
	if err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it writes everything down
		select {
		case how := <-ended:
			err = errors.Join(err, how)
		case <-time.After(stopWithin):
			err = errors.Join(err, fmt.Errorf("the server in the restored files does not end within %s", stopWithin), cmd.Process.Kill())
		}
		for _, name := range []string{fillConfig, fillInit, fillLog, fillZone} {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}()
	c := &runner{program: p.client, binlog: p.binlog, args: []string{"--protocol=SOCKET", "--socket=" + socketFile, "--user=" + user}, password: password, dir: dir, owner: l.Owner}
	for _, name := range []string{dataFile, accountsFile} {
		if sql[name] == nil {
			continue
		}
		if err := c.run(ctx, sql[name]); err != nil {
			return fmt.Errorf("load the restored SQL, %s, into a new server: %w", name, err)
		}
	}
	if len(r.Log) > 0 {
		last, err := c.replay(ctx, m, r)
		if err != nil {
			return err
		}
		if err := noteReached(dir, last); err != nil {
			return err
		}
	}
	return c.run(ctx, strings.NewReader("DROP USER "+account+";"))
}

// stopWithin is how long a server may take to end in order.
const stopWithin = 10 * time.Minute
