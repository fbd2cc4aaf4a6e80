package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"lifeboat/verify"
)

// table is where a table of the inventory is.
type table struct {
	database, schema, name string
	only                   string // ONLY, for one that holds its rows itself, or of which parts are elsewhere: those that inherit from it are tables of their own
	oid                    string
}

// from is the table in a statement.
func (t table) from() string { return t.only + identifier(t.schema) + "." + identifier(t.name) }

// own leaves out what is not anybody's but the server's, or passing; tables, with c as pg_class, what is Lifeboat's, too. n is pg_namespace.
const own = `n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'`
const ownTables = own + ` AND NOT (n.nspname = '` + canarySchema + `' AND c.relname IN ('canary', 'canary_pkey'))`

// relations lists what stands in pg_class: kind, schema, name, size, rows, OID, ONLY.
const relations = `SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'S' THEN 'sequence'
		WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE CASE c.relpersistence WHEN 'u' THEN 'unlogged table' ELSE 'table' END END,
	n.nspname, c.relname,
	CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) WHEN c.relkind IN ('i', 'S') THEN pg_relation_size(c.oid) ELSE 0 END,
	CASE WHEN c.relkind IN ('r', 'p', 'm') THEN greatest(c.reltuples, -1)::bigint ELSE -1 END, c.oid,
	CASE WHEN c.relkind = 'r' OR c.relkind = 'p' AND EXISTS (SELECT FROM pg_partition_tree(c.oid) x JOIN pg_class l ON l.oid = x.relid WHERE l.relkind = 'f') THEN 'ONLY ' ELSE '' END
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'i', 'I', 'S', 'f', 'c') AND c.relpersistence <> 't' AND ` + ownTables

// others lists the rest: kind, schema, name, what else belongs to the name, and arguments. What an extension brings is counted as the extension.
const others = `SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, n.nspname, p.proname, NULL,
		'(' || pg_get_function_identity_arguments(p.oid) || ')'
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE ` + own + ` AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
	UNION ALL SELECT 'type', n.nspname, t.typname, NULL, '' FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
	WHERE t.typtype IN ('e', 'd', 'r') AND ` + own + ` AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
	UNION ALL SELECT 'trigger', n.nspname, c.relname, t.tgname, '' FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE NOT t.tgisinternal AND ` + own + `
	UNION ALL SELECT 'extension', NULL, extname, NULL, '' FROM pg_extension`

// Inventory implements verify.Database: what stands in all databases but the templates. Tables without a log are of a kind of their own: they come back empty.
func (d *Restored) Inventory(ctx context.Context) ([]verify.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inventory(ctx)
}

// inventory is Inventory, with d.mu held.
func (d *Restored) inventory(ctx context.Context) (out []verify.Object, err error) {
	databases, err := d.databases(ctx, false)
	if err != nil {
		return nil, err
	}
	tables := map[string]table{}
	for _, database := range databases {
		err := d.in(ctx, database, func(c *conn) error {
			rows, err := c.ask(ctx, relations)
			if err != nil {
				return err
			}
			for _, r := range rows {
				o := verify.Object{Kind: r[0], Name: qualified(database, r[1], r[2])}
				o.Size, _ = strconv.ParseInt(r[3], 10, 64) // numbers, as the statement has them
				o.Rows, _ = strconv.ParseInt(r[4], 10, 64)
				out = append(out, o)
				switch o.Kind {
				case "table", "unlogged table", "materialized view":
					tables[o.Name] = table{database: database, schema: r[1], name: r[2], oid: r[5], only: r[6]}
				}
			}
			if rows, err = c.ask(ctx, others); err != nil {
				return err
			}
			for _, r := range rows {
				out = append(out, verify.Object{Kind: r[0], Name: nameOf(database, r), Rows: -1})
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list database %s: %w", database, err)
		}
	}
	slices.SortFunc(out, func(a, b verify.Object) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind)) })
	d.tables = tables
	return out, nil
}

// nameOf is the name of a row of others.
func nameOf(database string, r []string) string {
	parts := []string{database}
	if r[0] != "extension" {
		parts = append(parts, r[1])
	}
	if parts = append(parts, r[2]); r[0] == "trigger" {
		parts = append(parts, r[3])
	}
	return qualified(parts...) + r[4]
}

// databases are those that can be connected to; with d.mu held.
func (d *Restored) databases(ctx context.Context, templates bool) (out []string, err error) {
	err = d.in(ctx, d.home, func(c *conn) error {
		rows, err := c.ask(ctx, `SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 AND ($1::bool OR datname NOT IN ('template0', 'template1')) ORDER BY datname`,
			strconv.FormatBool(templates))
		for _, row := range rows {
			out = append(out, row[0])
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the databases: %w", err)
	}
	return out, nil
}

// find looks a table up by its name in the inventory; with d.mu held.
func (d *Restored) find(ctx context.Context, name string) (table, error) {
	if d.tables == nil {
		if _, err := d.inventory(ctx); err != nil {
			return table{}, err
		}
	}
	t, ok := d.tables[name]
	if !ok {
		return t, fmt.Errorf("the restored cluster has no table %s", name)
	}
	return t, nil
}
