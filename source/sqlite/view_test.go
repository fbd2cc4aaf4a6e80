package sqlite

import (
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/crm"
	"lifeboat/snapshot"
)

// database generates a CRM of about n bytes in WAL mode.
func database(t testing.TB, n int64, pageSize int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.db")
	if err := crm.Generate(t.Context(), path, crm.Options{Seed: 1, Bytes: n, PageSize: pageSize}); err != nil {
		t.Fatal(err)
	}
	return path
}

// connect opens a database in this process, for what happens before the test proper.
func connect(t testing.TB, path string, pragmas ...string) *sql.DB {
	t.Helper()
	db, err := crm.Open(path, pragmas...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// firstRow is the first row of a statement's result, values separated by blanks, or its error.
func firstRow(db *sql.DB, statement string) (text string) {
	rows, err := db.Query(statement)
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err.Error()
	}
	values, dest := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	var words []string
	if rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err.Error()
		}
		for _, v := range values {
			words = append(words, v.String)
		}
	}
	if err := rows.Err(); err != nil {
		return err.Error()
	}
	return strings.Join(words, " ")
}

func run(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func open(t testing.TB, s *Source) *view {
	t.Helper()
	v, err := s.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v.(*view)
}

// save writes the view's item to a file, as a restore does, in reads of an odd length where odd is set.
func save(t testing.TB, v *view, odd bool) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restored.db")
	for item, err := range v.Items(t.Context()) {
		if err != nil {
			return "", err
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var from, to = item.Body, io.Writer(f)
		buf := make([]byte, 256<<10)
		if odd {
			buf = make([]byte, 1021)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf)
		if err != nil {
			return "", err
		}
		if n != item.Size || item.Size != v.Size() || item.Kind != snapshot.Pages || item.Size%int64(item.PageSize) != 0 {
			return "", fmt.Errorf("%d bytes in an item of %d and a view of %d, pages of %d", n, item.Size, v.Size(), item.PageSize)
		}
	}
	return path, nil
}

// check reads the view and proves that it is one committed state; it returns which.
func check(t testing.TB, v *view, odd bool) int64 {
	t.Helper()
	path, err := save(t, v, odd)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	seq, err := crm.VerifyChain(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}
