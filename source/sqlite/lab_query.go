package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"lifeboat/internal/phrase"
)

// maxValue bounds the answer of a statement, bytes.
const maxValue = 64 << 10

// Query implements verify.Database. Only what begins with SELECT, WITH or VALUES is a question: SQLite has other statements that write files beside the
// database. A session of its own knows nothing of the statement before.
func (d *Restored) Query(ctx context.Context, query string) (value string, null bool, err error) {
	if err := question(query); err != nil {
		return "", false, err
	}
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return "", false, d.say("ask", err)
	}
	defer conn.Close()
	v, err := one(ctx, conn, query)
	if ctx.Err() != nil {
		return "", false, fmt.Errorf("%s: %w", phrase.StatementLate.Say(), ctx.Err())
	}
	if err != nil {
		return "", false, d.say("ask", err)
	}
	switch v := v.(type) {
	case nil:
		return "", true, nil
	case float64:
		value = strconv.FormatFloat(v, 'g', -1, 64)
	case []byte:
		value = string(v)
	default:
		value = fmt.Sprint(v)
	}
	return value, false, nil
}

// one is the first column of the only row.
func one(ctx context.Context, conn *sql.Conn, query string) (v any, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	into := make([]any, len(columns))
	for i := range into {
		into[i] = new(sql.RawBytes)
	}
	into[0] = &v
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), errors.New(phrase.StatementNoRow.Say()))
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	size := 0
	switch v := v.(type) {
	case string:
		size = len(v)
	case []byte:
		size = len(v)
	}
	switch {
	case size > maxValue:
		return nil, errors.New(phrase.ValueLarge.Say(maxValue))
	case rows.Next():
		return nil, errors.New(phrase.StatementRows.Say())
	}
	return v, rows.Err()
}

// question makes sure that a text is one statement that asks. The driver would run several.
func question(query string) error {
	text := plain(query)
	text = strings.TrimSpace(strings.TrimRight(text, "; \t\r\n\f"))
	if strings.Contains(text, ";") {
		return errors.New(phrase.Statements.Say())
	}
	word := strings.ToUpper(text)
	if n := strings.IndexFunc(word, func(r rune) bool { return r < 'A' || r > 'Z' }); n >= 0 {
		word = word[:n]
	}
	switch word {
	case "SELECT", "WITH", "VALUES":
		return nil
	}
	return fmt.Errorf("the statement begins with %q, and may only read: SELECT, WITH or VALUES", word)
}

// plain is a statement with a blank in place of each comment and a name in place of what is in quotes, by https://sqlite.org/lang_comment.html and SQLite's
// tokenizer. What has no end goes to the end of the text.
func plain(query string) string {
	ends := map[byte]string{'\'': "'", '"': `"`, '`': "`", '[': "]"}
	var b strings.Builder
	for i := 0; i < len(query); {
		rest, end, with := query[i:], "", "x"
		switch {
		case strings.HasPrefix(rest, "--"):
			end, with = "\n", " "
		case strings.HasPrefix(rest, "/*"):
			end, with = "*/", " "
			rest = rest[1:]
			i++
		default:
			end = ends[query[i]]
		}
		if end == "" {
			b.WriteByte(query[i])
			i++
			continue
		}
		b.WriteString(with)
		n := strings.Index(rest[1:], end)
		if n < 0 {
			break
		}
		i += 1 + n + len(end)
	}
	return b.String()
}
