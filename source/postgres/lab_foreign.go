package postgres

import (
	"context"
	"fmt"
	"strings"

	"lifeboat/verify"
)

// nowhere is the library of functions that were cut off. There is none.
const nowhere = "$libdir/lifeboat-cut-off"

// ties lists the statements that cut a database off from others: a network of its own does not, because sockets are files. A foreign table without a handler
// cannot be read, whoever asks and whatever the wrapper reads; no password is left to whatever else uses a server's; and dblink has no code.
const ties = `SELECT format('ALTER FOREIGN DATA WRAPPER %I NO HANDLER', fdwname) FROM pg_foreign_data_wrapper WHERE fdwhandler <> 0
	UNION ALL SELECT format('DROP USER MAPPING FOR %s SERVER %I', CASE umuser WHEN 0 THEN 'PUBLIC' ELSE format('%I', usename) END, srvname) FROM pg_user_mappings
	UNION ALL SELECT 'UPDATE pg_proc SET probin = $$` + nowhere + `$$ WHERE probin ~ ''dblink''' WHERE EXISTS (SELECT FROM pg_proc WHERE probin ~ 'dblink')`

// cutOff cuts every database off from others, templates too: code in an index may run when that is checked. It stays so: the copy is thrown away.
//
// Where that is not possible nothing may be asked, which says nothing of the backup unless the server speaks of damage.
func (d *Restored) cutOff(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	databases, err := d.databases(ctx, true)
	if err != nil {
		return err
	}
	for _, database := range databases {
		err := d.in(ctx, database, func(c *conn) error {
			rows, err := c.ask(ctx, ties)
			if err != nil || len(rows) == 0 {
				return err
			}
			sql := []string{"BEGIN READ WRITE"}
			for _, r := range rows {
				sql = append(sql, r[0])
			}
			err = c.run(ctx, strings.Join(append(sql, "COMMIT"), ";\n"))
			if state := code(err); state != "" && !damage(state) {
				return fmt.Errorf("%w: %w", verify.ErrUnavailable, err)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("cut database %s off from other servers: %w", database, err)
		}
	}
	return nil
}
