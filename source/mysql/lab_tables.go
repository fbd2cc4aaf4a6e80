package mysql

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lifeboat/internal/phrase"
	"lifeboat/verify"
)

// systemList are the server's own databases, for a statement.
const systemList = "'mysql', 'information_schema', 'performance_schema', 'sys'"

// table is one of the restored server.
type table struct{ database, name string }

func (t table) from() string { return identifier(t.database) + "." + identifier(t.name) }

// identifier quotes a name for SQL.
func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// qualified is the name of an object in an inventory: its parts with dots between them. One that holds what could be taken for that is quoted as in SQL.
func qualified(parts ...string) string {
	var out []string
	for _, p := range parts {
		p = strings.ToValidUTF8(p, "\ufffd")
		if p == "" || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == '.' || r == '`' || r == 0x7f }) {
			p = identifier(p)
		}
		out = append(out, p)
	}
	return strings.Join(out, ".")
}

// objects lists what stands in the databases but the server's own: kind, database, name, what else belongs to the name, size, rows.
const objects = `SELECT CASE TABLE_TYPE WHEN 'VIEW' THEN 'view' WHEN 'SEQUENCE' THEN 'sequence' ELSE 'table' END, TABLE_SCHEMA, TABLE_NAME, '',
		COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0), IF(TABLE_TYPE IN ('VIEW', 'SEQUENCE'), -1, COALESCE(TABLE_ROWS, -1))
		FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN (` + systemList + `)
	UNION ALL SELECT DISTINCT 'index', TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, 0, -1 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN (` + systemList + `)
	UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, ROUTINE_NAME, '', 0, -1 FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA NOT IN (` + systemList + `)
	UNION ALL SELECT 'trigger', TRIGGER_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME, 0, -1 FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA NOT IN (` + systemList + `)
	UNION ALL SELECT 'event', db, name, '', 0, -1 FROM mysql.event WHERE db NOT IN (` + systemList + `)`

// Inventory implements verify.Database.
func (d *Restored) Inventory(ctx context.Context) (out []verify.Object, err error) {
	tables := map[string]table{}
	err = d.with(ctx, "", func(s *session) error {
		rows, err := s.rows(objects)
		if err != nil {
			return err
		}
		for _, r := range rows {
			parts := []string{r[1], r[2]}
			if r[3] != "" {
				parts = append(parts, r[3])
			}
			o := verify.Object{Kind: r[0], Name: qualified(parts...)}
			o.Size, _ = strconv.ParseInt(r[4], 10, 64) // numbers, as the statement has them
			o.Rows, _ = strconv.ParseInt(r[5], 10, 64)
			if o.Kind == "table" {
				tables[o.Name] = table{r[1], r[2]}
			}
			out = append(out, o)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list what the restored server has: %w", err)
	}
	slices.SortFunc(out, func(x, y verify.Object) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Kind, y.Kind))
	})
	d.mu.Lock()
	d.tables = tables
	d.mu.Unlock()
	return out, nil
}

// find is the table of a name of the inventory.
func (d *Restored) find(ctx context.Context, name string) (table, error) {
	for try := 0; ; try++ {
		d.mu.Lock()
		t, ok := d.tables[name]
		d.mu.Unlock()
		if ok {
			return t, nil
		}
		if try > 0 {
			return t, fmt.Errorf("there is no table %s", name)
		}
		if _, err := d.Inventory(ctx); err != nil {
			return t, err
		}
	}
}

// Integrity implements verify.Database: the server looks through every table and its indexes.
func (d *Restored) Integrity(ctx context.Context) (how string, faults []string, err error) {
	const most = 200
	checked, not, databases := 0, 0, map[string]bool{}
	err = d.with(ctx, "", func(s *session) error {
		rows, err := s.rows("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema')")
		if err != nil {
			return err
		}
		for _, r := range rows {
			answer, err := s.rows("CHECK TABLE " + table{r[0], r[1]}.from())
			if err != nil {
				return fmt.Errorf("check %s: %w", qualified(r...), err)
			}
			checked++
			databases[r[0]] = true
			for _, a := range answer {
				kind, text := a[2], a[3]
				switch {
				case kind == "status" && (text == "OK" || text == "Table is already up to date"):
				case kind == "note" && strings.Contains(text, "doesn't support check"):
					not, checked = not+1, checked-1
				case kind == "note" || kind == "info":
				case len(faults) < most:
					faults = append(faults, qualified(r...)+": "+kind+": "+text)
				}
			}
		}
		return nil
	})
	how = phrase.CheckTables.Say(checked, len(databases))
	if not > 0 {
		how += "; " + phrase.CheckNot.Say(not)
	}
	return how, faults, err
}

// keys lists the columns of all foreign keys: name, database and table, its column, database and table that it refers to, the column there.
const keys = `SELECT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE
	WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA NOT IN (` + systemList + `) ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION`

// References implements verify.Database: each foreign key is looked through as the server does when one is made. Rows are counted, not shown.
func (d *Restored) References(ctx context.Context) (how string, faults []string, err error) {
	looked, databases := 0, map[string]bool{}
	err = d.with(ctx, "", func(s *session) error {
		rows, err := s.rows(keys)
		if err != nil {
			return err
		}
		for len(rows) > 0 {
			first := rows[0]
			var has, same []string
			for len(rows) > 0 && rows[0][0] == first[0] && rows[0][1] == first[1] && rows[0][2] == first[2] {
				r := rows[0]
				has = append(has, "c."+identifier(r[3])+" IS NOT NULL")
				same = append(same, "p."+identifier(r[6])+" = c."+identifier(r[3]))
				rows = rows[1:]
			}
			child, parent := table{first[1], first[2]}, table{first[4], first[5]}
			n, err := s.value("SELECT COUNT(*) FROM " + child.from() + " c WHERE " + strings.Join(has, " AND ") + " AND NOT EXISTS (SELECT 1 FROM " + parent.from() + " p WHERE " + strings.Join(same, " AND ") + ")")
			if err != nil {
				return fmt.Errorf("%s of %s: %w", first[0], qualified(first[1], first[2]), err)
			}
			looked++
			databases[first[1]] = true
			if count, err := strconv.Atoi(n); err != nil || count > 0 {
				faults = append(faults, phrase.OrphanRows.Say(qualified(first[1], first[2]), count, first[0], qualified(first[4], first[5])))
			}
		}
		return nil
	})
	return phrase.AntiJoins.Say(looked, len(databases)), faults, err
}

// Count implements verify.Database.
func (d *Restored) Count(ctx context.Context, name string) (n int64, err error) {
	t, err := d.find(ctx, name)
	if err == nil {
		err = d.with(ctx, "", func(s *session) error {
			v, err := s.value("SELECT COUNT(*) FROM " + t.from())
			if err == nil {
				n, err = strconv.ParseInt(v, 10, 64)
			}
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", name, err)
	}
	return n, nil
}

// Digest implements verify.Database: the sums of the two halves of a hash of each row, which is that of the hashes of its values: the order of rows does not matter, equal rows do not cancel each
// other out, and no value is too long. It finds mistakes, and is no proof against somebody who makes rows up. A share of the rows are those whose hash is small.
func (d *Restored) Digest(ctx context.Context, name string, share float64) (digest string, err error) {
	t, err := d.find(ctx, name)
	if err == nil {
		err = d.with(ctx, "", func(s *session) error {
			columns, err := s.rows("SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = " + quoted(t.database) + " AND TABLE_NAME = " + quoted(t.name) + " ORDER BY ORDINAL_POSITION")
			if err != nil {
				return err
			}
			var parts []string
			for _, c := range columns {
				parts = append(parts, "IFNULL(MD5("+identifier(c[0])+"), 'n')")
			}
			where := ""
			if share < 1 {
				where = fmt.Sprintf(" WHERE CAST(CONV(LEFT(h, 8), 16, 10) AS UNSIGNED) < %d", uint64(max(0, share)*(1<<32)))
			}
			row, err := s.rows("SELECT COUNT(*), SUM(CAST(CONV(LEFT(h, 16), 16, 10) AS UNSIGNED)), SUM(CAST(CONV(RIGHT(h, 16), 16, 10) AS UNSIGNED)) FROM (SELECT MD5(CONCAT(" + strings.Join(parts, ", ") + ")) h FROM " + t.from() + ") hashes" + where)
			if err == nil {
				sum := sha256.Sum256(fmt.Appendf(nil, "rows %q", row[0])) // an aggregate has one row
				digest = hex.EncodeToString(sum[:])
			}
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("hash the rows of %s: %w", name, err)
	}
	return digest, nil
}
