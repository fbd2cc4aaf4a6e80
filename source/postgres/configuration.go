package postgres

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// A base backup has what stands in the data directory. Some packages keep the configuration elsewhere, and a setting may come from
// a command line: what the server tells this role of both goes into the tree, for people. A restored cluster does not use it.
const (
	settingsFile = ours + "/settings.conf"
	outside      = ours + "/files" // files outside of the data directory, by their paths
	maxConfig    = 1 << 20         // bytes of one file

	configurationLimit = time.Minute // for all of it
)

// configuration is what a server tells of its configuration.
type configuration struct {
	settings string
	files    map[string]string // by path
	unread   []string          // what this role could not read, and why
}

// readConfiguration asks on an ordinary connection. That nothing can be read stops no backup: it is said in unread.
func readConfiguration(ctx context.Context, replication *pgconn.Config) (*configuration, error) {
	out := &configuration{files: map[string]string{}}
	within, cancel := context.WithTimeout(ctx, configurationLimit)
	defer cancel()
	c, err := ordinary(within, replication)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		out.unread = append(out.unread, "all settings: "+err.Error())
		return out, nil
	}
	defer finish(c)
	ask := func(what, sql string) ([][]string, error) {
		rows, err := query(within, c, sql)
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused):
			out.unread = append(out.unread, what+": "+refused.Message)
			return nil, nil
		case within.Err() != nil && ctx.Err() == nil:
			out.unread = append(out.unread, what+": no answer in time")
			return nil, nil
		}
		return rows, err
	}
	rows, err := ask("settings", `SELECT name, current_setting(name) FROM pg_settings WHERE source NOT IN ('default', 'override', 'client', 'session') AND name <> 'application_name' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		out.settings += fmt.Sprintf("%s = '%s'\n", row[0], strings.ReplaceAll(row[1], "'", "''"))
	}
	rows, err = ask("the paths of the configuration", `SELECT current_setting('data_directory')`)
	if err != nil || rows == nil {
		return out, err
	}
	data := rows[0][0]
	rows, err = ask("the paths of the configuration", `SELECT DISTINCT f FROM (SELECT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL
		UNION SELECT setting FROM pg_settings WHERE name IN ('config_file', 'hba_file', 'ident_file')) AS files(f) ORDER BY f`)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if file := row[0]; path.IsAbs(file) && !strings.HasPrefix(path.Clean(file), path.Clean(data)+"/") {
			content, err := ask(file, fmt.Sprintf(`SELECT pg_read_file('%s', 0, %d)`, strings.ReplaceAll(file, "'", "''"), maxConfig))
			if err != nil {
				return nil, err
			}
			if content != nil {
				out.files[file] = content[0][0]
			}
		}
	}
	return out, nil
}

// emit yields the configuration as items.
func (c *configuration) emit(emit func(snapshot.Item) error) error {
	files := map[string]string{settingsFile: c.settings}
	for name, text := range c.files {
		files[outside+path.Clean("/"+name)] = text
	}
	for name, text := range files {
		if err := emit(snapshot.Item{Name: name, Kind: snapshot.Stream, Size: int64(len(text)), Mode: 0o600, Body: strings.NewReader(text)}); err != nil {
			return err
		}
	}
	return nil
}

// query runs one statement and returns its rows; NULL is empty.
func query(ctx context.Context, c *pgconn.PgConn, sql string) ([][]string, error) {
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errors.New("an answer of " + strconv.Itoa(len(results)) + " results")
	}
	out := [][]string{}
	for _, row := range results[0].Rows {
		var fields []string
		for _, f := range row {
			fields = append(fields, string(f))
		}
		out = append(out, fields)
	}
	return out, nil
}
