package mysql

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"time"

	"lifeboat/restore"
)

// runner runs SQL on a server, with the server's own program.
type runner struct {
	program, binlog string
	args            []string // that lead to the server
	password        string
	dir             string         // for temporary files
	owner           *restore.Owner // who runs it
}

// run runs SQL to its end, or to the first error.
func (c *runner) run(ctx context.Context, sql io.Reader) error {
	var said tail
	cmd := exec.CommandContext(ctx, c.program, append([]string{"--no-defaults", "--binary-mode", "--max-allowed-packet=1G", "--default-character-set=utf8mb4"}, c.args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.dir, c.environment(), sql, &said, &said
	cmd.SysProcAttr = dying(c.owner)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s", err, said.reason())
	}
	return nil
}

func (c *runner) environment() []string {
	e := append(environment(), "TMPDIR="+c.dir)
	if c.password != "" {
		e = append(e, "MYSQL_PWD="+c.password)
	}
	return e
}
