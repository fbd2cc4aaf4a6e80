package mysql

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/go-mysql-org/go-mysql/mysql"

	"lifeboat/internal/phrase"
)

// maxValue bounds the answer of a statement, bytes.
const maxValue = 64 << 10

// Query implements verify.Database. The statement runs in a transaction that only reads, by an account that may read everything and do nothing else: no files, no settings, no
// definitions.
func (d *Restored) Query(ctx context.Context, sql string) (value string, null bool, err error) {
	n := 0
	var unfit error
	err = d.as(ctx, d.reader, d.target, func(s *session) error {
		var r mysql.Result
		err := s.ExecuteSelectStreaming(sql, &r, func(row []mysql.FieldValue) error {
			switch n++; {
			case n > 1:
				unfit = errors.New(phrase.StatementRows.Say())
			case len(row) == 0:
				unfit = errors.New(phrase.StatementNoColumn.Say())
			default:
				value, null, unfit = text(row[0])
			}
			return unfit // which ends the answer
		}, nil)
		if unfit != nil {
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return "", false, explain(err)
	case unfit != nil:
		return "", false, unfit
	case n == 0:
		return "", false, errors.New(phrase.StatementNoRow.Say())
	}
	return value, null, nil
}

// text is a value as the server writes it.
func text(v mysql.FieldValue) (string, bool, error) {
	switch v := v.Value().(type) {
	case nil:
		return "", true, nil
	case []byte:
		if len(v) > maxValue {
			return "", false, errors.New(phrase.ValueLarge.Say(maxValue))
		}
		return string(v), false, nil
	default:
		return fmt.Sprint(v), false, nil
	}
}

// quotedText is what a message quotes: it may be a value of a table.
var quotedText = regexp.MustCompile(`(?s)'.*'|".*"`)

// explain says in plain words what a statement did wrong, without what stands in tables.
func explain(err error) error {
	var server *mysql.MyError
	if !errors.As(err, &server) {
		return err
	}
	reason := fmt.Errorf("%s (error %d)", quotedText.ReplaceAllString(server.Message, "…"), server.Code)
	switch server.Code {
	case mysql.ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, mysql.ER_TABLEACCESS_DENIED_ERROR, mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR, mysql.ER_DBACCESS_DENIED_ERROR, mysql.ER_ACCESS_DENIED_ERROR:
		return fmt.Errorf("%s: %w", phrase.StatementWrites.Say(), reason)
	}
	return reason
}
