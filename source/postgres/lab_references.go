package postgres

import (
	"context"
	"fmt"
	"strings"

	"lifeboat/internal/phrase"
)

// keys lists the foreign keys that hold by the server's word: name, the two tables, whether a row has a key, how it finds the other row, and whether it is
// one over time. What a partitioned table hands down to its partitions is checked once.
const keys = `SELECT k.conname, n.nspname, c.relname, CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, pn.nspname, p.relname, CASE p.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END,
	coalesce((to_jsonb(k) ->> 'conperiod')::bool, false),
	string_agg(format('c.%I IS NOT NULL', ca.attname), CASE k.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY x.i),
	string_agg(format('p.%I OPERATOR(%I.%s) c.%I', pa.attname, opn.nspname, op.oprname, ca.attname), ' AND ' ORDER BY x.i)
	FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
	CROSS JOIN unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS x(ck, pk, op, i)
	JOIN pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = x.ck JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = x.pk
	JOIN pg_operator op ON op.oid = x.op JOIN pg_namespace opn ON opn.oid = op.oprnamespace
	WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0
	GROUP BY k.oid, k.conname, n.nspname, c.relname, c.relkind, pn.nspname, p.relname, p.relkind, k.confmatchtype ORDER BY n.nspname, c.relname, k.conname`

// orphans bounds how many rows without the row that they refer to are told of one foreign key.
const orphans = 3

// References implements verify.Database: each foreign key is looked through as the server does when one is made. Rows are told by their place, not by what
// stands in them.
func (d *Restored) References(ctx context.Context) (how string, faults []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	databases, err := d.databases(ctx, false)
	if err != nil {
		return "", nil, err
	}
	looked, skipped := 0, 0
	for _, database := range databases {
		err := d.in(ctx, database, func(c *conn) error {
			rows, err := c.ask(ctx, keys)
			if err != nil {
				return err
			}
			for _, k := range rows {
				if k[7] == "t" { // the other side is several rows
					skipped++
					continue
				}
				fault, err := c.orphans(ctx, database, k)
				if err != nil {
					return fmt.Errorf("%s of %s: %w", k[0], qualified(database, k[1], k[2]), err)
				}
				if looked++; fault != "" && len(faults) < maxFaults {
					faults = append(faults, fault)
				}
			}
			return nil
		})
		if err != nil {
			return "", faults, fmt.Errorf("look through the foreign keys of database %s: %w", database, err)
		}
	}
	how = phrase.AntiJoins.Say(looked, len(databases))
	if skipped > 0 {
		how += "; " + phrase.PeriodsNot.Say(skipped)
	}
	return how, faults, nil
}

// orphans looks through one foreign key.
func (c *conn) orphans(ctx context.Context, database string, k []string) (fault string, err error) {
	child := table{schema: k[1], name: k[2], only: k[3]}
	parent := table{schema: k[4], name: k[5], only: k[6]}
	rows, err := c.ask(ctx, fmt.Sprintf("SELECT c.ctid FROM %s AS c WHERE (%s) AND NOT EXISTS (SELECT FROM %s AS p WHERE %s) LIMIT %d",
		child.from(), k[8], parent.from(), k[9], orphans))
	if err != nil || len(rows) == 0 {
		return "", err
	}
	var at []string
	for _, r := range rows {
		at = append(at, r[0])
	}
	say := phrase.Orphans
	if len(rows) == orphans {
		say = phrase.OrphansAndMore
	}
	return say.Say(qualified(database, k[1], k[2]), strings.Join(at, ", "), k[0], qualified(database, k[4], k[5])), nil
}
