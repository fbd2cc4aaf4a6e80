package mysql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// load makes a new server in dir, lets it run the SQL that stands there, and removes that.
func (p Programs) load(ctx context.Context, l Layout, m Manifest, dir string) (err error) {
	sql := map[string]*os.File{}
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
		return err
	}
	private := filepath.Join(dir, "lifeboat-load.cnf")
	if err := os.WriteFile(private, []byte(l.configuration(m)+"skip_networking\nmax_allowed_packet = 1G\ninnodb_flush_log_at_trx_commit = 0\ndatadir = .\ntmpdir = .\nlog_error = lifeboat-load.log\npid_file = lifeboat-load.pid\n"), 0o600); err != nil {
		return err
	}
	if l.Owner != nil {
		if err := os.Chown(private, l.Owner.UID, l.Owner.GID); err != nil {
			return err
		}
	}
	cmd := exec.Command(p.server, "--defaults-file="+private)
	cmd.SysProcAttr = dying(l.Owner)
	ended, err := serve(ctx, cmd, dir, filepath.Join(dir, "lifeboat-load.log"))
	if err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it writes everything down
		select {
		case how := <-ended:
			err = errors.Join(err, how)
		case <-time.After(stopWithin):
			err = errors.Join(err, fmt.Errorf("the server that loads does not end within %s", stopWithin), cmd.Process.Kill())
		}
		for _, name := range []string{"lifeboat-load.cnf", "lifeboat-load.log"} {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}()
	// The accounts replace those that are there, root's too: who loads them has one that is not among them.
	loader := "lifeboat_" + strings.ToLower(rand.Text()[:12])
	account := loader + "@localhost"
	if err := p.feed(ctx, l, dir, "root", strings.NewReader("CREATE USER "+account+"; GRANT ALL PRIVILEGES ON *.* TO "+account+" WITH GRANT OPTION; GRANT PROXY ON ''@'%' TO "+account+" WITH GRANT OPTION;")); err != nil {
		return err
	}
	for _, name := range []string{dataFile, accountsFile} {
		if sql[name] == nil {
			continue
		}
		if err := p.feed(ctx, l, dir, loader, sql[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return p.feed(ctx, l, dir, loader, strings.NewReader("DROP USER "+account+";"))
}

// stopWithin is how long a server may take to end in order.
const stopWithin = 10 * time.Minute

// feed runs SQL as a user.
func (p Programs) feed(ctx context.Context, l Layout, dir, user string, sql io.Reader) error {
	var said tail
	cmd := exec.CommandContext(ctx, p.client, "--no-defaults", "--protocol=SOCKET", "--socket="+socketFile, "--user="+user, "--binary-mode", "--max-allowed-packet=1G", "--default-character-set=utf8mb4")
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, environment(), sql, &said, &said
	cmd.SysProcAttr = dying(l.Owner)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s", err, said.reason())
	}
	return nil
}
