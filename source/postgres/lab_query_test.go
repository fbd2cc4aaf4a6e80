package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/internal/testenv"
)

// TestLabQueryDiscreet lets statements fail on values of the tables, which are nobody's who reads a report.
func TestLabQueryDiscreet(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", `CREATE TABLE account (name text, n int); INSERT INTO account VALUES ('49-1', 1), ('it''s "Zhang" 49-1', 2), ('{"a": 49-1', 3); ALTER DATABASE postgres SET lc_messages = 'C.UTF-8';
		CREATE FUNCTION tell(what text, state text) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING message = ''customer '' || what, errcode = state, detail = what, hint = what; END'`)
	d := labOf(t, pg)
	if got, _, err := d.Query(t.Context(), "SHOW lc_messages"); got != "C" || err != nil { // other languages quote otherwise
		t.Errorf("messages are in %s (%v)", got, err)
	}
	for sql, want := range map[string]string{
		"SELECT name::numeric FROM account WHERE n = 1":       "invalid input syntax for type numeric: … (SQLSTATE 22P02)",
		"SELECT name::numeric FROM account WHERE n = 2":       "invalid input syntax for type numeric: … (SQLSTATE 22P02)",
		"SELECT name::date FROM account WHERE n = 2":          "invalid input syntax for type date: … (SQLSTATE 22007)",
		"SELECT name::json FROM account WHERE n = 3":          "invalid input syntax for type json (SQLSTATE 22P02)",
		"SELECT tell(name, 'P0001') FROM account WHERE n = 1": "a function raised an exception (SQLSTATE P0001)",
		"SELECT tell(name, '22012') FROM account WHERE n = 1": "a function raised an exception (SQLSTATE 22012)",
		"SELECT tell(name, '25006') FROM account WHERE n = 1": "the statement writes, and may only read: a function raised an exception (SQLSTATE 25006)",
		"SELECT n / 0 FROM account":                           "division by zero (SQLSTATE 22012)",
		"SELECT nothing FROM account":                         "column … does not exist (SQLSTATE 42703)",
	} {
		_, _, err := d.Query(t.Context(), sql)
		if err == nil || err.Error() != want || strings.Contains(err.Error(), "49-1") {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
	}
}

// TestDiscreet leaves out what a message quotes, however that is quoted.
func TestDiscreet(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`no "a", no "b"`: "no …", `it's x`: "it…", `a "x' y`: "a …", `'a"b' "c`: "… …", "a \"x\ny\" z": "a … z", "plain": "plain",
	} {
		err := discreet(&pgconn.PgError{Code: "1", Message: message, Detail: "d", Hint: "h", Where: "w"})
		if want += " (SQLSTATE 1)"; err.Error() != want {
			t.Errorf("%s: %s, want %s", message, err, want)
		}
		if code(err) != "1" {
			t.Errorf("%s: the code is gone", message)
		}
	}
	if err := errors.New(`"a"`); discreet(err) != err {
		t.Error("what the server did not say is changed")
	}
}
