package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lifeboat/internal/phrase"
	"lifeboat/verify"
)

// maxFaults bounds how many faults are told one by one, perRelation those of one relation.
const (
	maxFaults   = 200
	perRelation = 5
)

// examined is what a check of integrity has looked at.
type examined struct {
	databases, heaps, indexes int
	version                   string         // of amcheck
	others                    map[string]int // indexes of kinds that cannot be checked
	faults, unchecked         []string
}

// Integrity implements verify.Database by the server's own extension amcheck: every table of every database, the system's too, with the values that are
// stored out of line, and every B-tree, in which each row of its table must be. It is what pg_amcheck calls, with the order of whole trees besides. The
// extension is created where it is missing, in a transaction that is rolled back.
//
// Where faults were found there is no error, whatever else could not be looked at.
func (d *Restored) Integrity(ctx context.Context) (how string, faults []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	databases, err := d.databases(ctx, true)
	if err != nil {
		return "", nil, err
	}
	e := &examined{others: map[string]int{}}
	for _, database := range databases {
		if err := d.in(ctx, database, func(c *conn) error { return e.database(ctx, c, database) }); err != nil {
			return e.how(), e.faults, fmt.Errorf("check database %s: %w", database, err)
		}
		e.databases++
	}
	if len(e.faults) == 0 && len(e.unchecked) > 0 {
		err = fmt.Errorf("%w: %d relations: %s", verify.ErrUnavailable, len(e.unchecked), strings.Join(e.unchecked[:min(len(e.unchecked), maxFaults)], "; "))
	}
	return e.how(), e.faults, err
}

func (e *examined) how() string {
	text := phrase.Amcheck.Say(e.version, e.databases, e.heaps, e.indexes)
	for _, kind := range slices.Sorted(maps.Keys(e.others)) {
		text += "; " + phrase.IndexesNot.Say(e.others[kind], kind)
	}
	if n := len(e.unchecked); n > 0 {
		text += "; " + phrase.RelationsNot.Say(n)
	}
	return text
}

// checked lists what can be checked: OID, kind, name, of which table it is a part.
const checked = `SELECT c.oid, a.amname, n.nspname, c.relname, CASE WHEN c.relkind = 't' THEN (SELECT o.oid::regclass::text FROM pg_class o WHERE o.reltoastrelid = c.oid) END
	FROM pg_class c JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
	WHERE c.relkind IN ('r', 'm', 't', 'i') AND c.relpersistence <> 't' AND (i.indexrelid IS NULL OR i.indisvalid AND i.indisready AND i.indislive) ORDER BY c.oid`

// database checks all relations of one.
func (e *examined) database(ctx context.Context, c *conn, database string) error {
	// Functions in the expressions of an index may count on the usual path.
	if err := c.run(ctx, `BEGIN READ WRITE; SET LOCAL search_path = "$user", public`); err != nil {
		return err
	}
	schema, err := e.extension(ctx, c)
	if err != nil {
		return err
	}
	rows, err := c.ask(ctx, checked)
	if err != nil {
		return err
	}
	for _, r := range rows {
		name := qualified(database, r[2], r[3])
		if r[4] != "" {
			name += " (TOAST of " + r[4] + ")"
		}
		sql := fmt.Sprintf("SELECT coalesce('block ' || blkno, '') || coalesce(', row ' || offnum, '') || coalesce(', column ' || attnum, '') || ': ' || msg FROM %s.verify_heapam(%s, check_toast => true) LIMIT %d", schema, r[0], perRelation)
		switch r[1] {
		case "heap":
			e.heaps++
		case "btree":
			e.indexes++
			sql = fmt.Sprintf("SELECT %s.bt_index_parent_check(%s, true)", schema, r[0])
		default:
			e.others[r[1]]++
			continue
		}
		if err := e.relation(ctx, c, name, r[1], sql); err != nil {
			return err
		}
		if len(e.faults) >= maxFaults {
			break
		}
	}
	return c.run(ctx, "ROLLBACK")
}

// extension is the schema of amcheck, which is created where it is missing.
func (e *examined) extension(ctx context.Context, c *conn) (schema string, err error) {
	const find = `SELECT n.nspname, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'`
	rows, err := c.ask(ctx, find)
	if err == nil && len(rows) == 0 {
		name := identifier("lifeboat_drill_" + token())
		if err = c.run(ctx, "CREATE SCHEMA "+name+"; CREATE EXTENSION amcheck SCHEMA "+name); err != nil && code(err) != "" {
			return "", fmt.Errorf("%w: the extension amcheck cannot be created: %w", verify.ErrUnavailable, err)
		}
		if err == nil {
			rows, err = c.ask(ctx, find)
		}
	}
	if err != nil {
		return "", err
	}
	e.version = rows[0][1]
	return identifier(rows[0][0]), nil
}

// relation runs the check of one. What the server says about corruption is a fault; what it says otherwise means that it could not look.
func (e *examined) relation(ctx context.Context, c *conn, name, kind, sql string) error {
	if err := c.run(ctx, "SAVEPOINT relation"); err != nil {
		return err
	}
	rows, err := c.ask(ctx, sql)
	switch state := code(err); {
	case err == nil && kind == "heap":
		for _, r := range rows {
			e.faults = append(e.faults, name+": "+r[0])
		}
	case err == nil:
	case state == "" || state == cancelled || ctx.Err() != nil:
		return errors.Join(ctx.Err(), err)
	case damage(state):
		e.faults = append(e.faults, name+": "+err.Error())
	default:
		e.unchecked = append(e.unchecked, name+": "+err.Error())
	}
	return c.run(ctx, "ROLLBACK TO relation")
}

// damage reports whether an SQLSTATE is that of damage: internal error, data corrupted, index corrupted; a file is missing.
func damage(state string) bool { return strings.HasPrefix(state, "XX") || state == undefinedFile }
