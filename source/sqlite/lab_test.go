package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/phrase"
	"lifeboat/snapshot"
	"lifeboat/verify"
)

// restored brings a database file through the lab's sink and opens it.
func restored(t *testing.T, path string) *Restored {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	sink, err := Lab{}.Sink(dir, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Create(snapshot.File{Name: "crm.db", Kind: snapshot.Pages, PageSize: 4096, Size: int64(len(b)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := sink.WriteAt(0, b, 0); err != nil {
		t.Fatal(err)
	}
	if err := sink.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Lab{}.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := db.Stop(context.Background()); left != 0 || err != nil {
			t.Error(left, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%d files are left (%v)", len(entries), err)
		}
	})
	return db.(*Restored) // as Start makes it
}

// made is a database that these statements make.
func made(t *testing.T, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	db := connect(t, path, "journal_mode(DELETE)")
	run(t, db, statements...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLab(t *testing.T) {
	d := restored(t, made(t, `CREATE TABLE "a.b" ("x""y" INT, at DATETIME)`, `INSERT INTO "a.b" VALUES (1, '2026-01-01 10:00:00'), (2, NULL)`, "CREATE TABLE 客户 (n)", "CREATE VIEW v AS SELECT 1",
		"CREATE INDEX i ON 客户 (n)", "CREATE TRIGGER tr AFTER INSERT ON 客户 BEGIN SELECT 1; END", "CREATE VIRTUAL TABLE words USING fts5(t)", "CREATE TABLE w (k TEXT PRIMARY KEY, g AS (k || 'x')) WITHOUT ROWID", "INSERT INTO w VALUES ('k')"))
	all, err := d.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]verify.Object{}
	for i, o := range all {
		kinds[o.Kind+" "+o.Name] = o
		if i > 0 && all[i-1].Name > o.Name {
			t.Errorf("%s stands before %s", all[i-1].Name, o.Name)
		}
	}
	for _, want := range []string{"table a.b", "table 客户", "view v", "index i", "trigger tr", "virtual table words", "table w"} {
		if _, ok := kinds[want]; !ok {
			t.Errorf("no %s in %v", want, all)
		}
	}
	if kinds["table a.b"].Size != 4096 {
		t.Errorf("%+v", kinds["table a.b"])
	}
	for name, n := range map[string]int64{"a.b": 2, "客户": 0, "w": 1, "words": 0} {
		got, err := d.Count(t.Context(), name)
		if err != nil || got != n {
			t.Errorf("%s has %d rows (%v), want %d", name, got, err, n)
		}
		if _, err := d.Digest(t.Context(), name, 1); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Count(t.Context(), "missing"); err == nil {
		t.Error("a table was counted that is not there")
	}
	i := d.Isolation()
	said := []string{i.Network, i.Listening, i.Archiving, i.Limitation}
	for _, ask := range []func(context.Context) (string, []string, error){d.Integrity, d.References} {
		how, faults, err := ask(t.Context())
		if how == "" || len(faults) > 0 || err != nil {
			t.Errorf("%s: %q %v", how, faults, err)
		}
		said = append(said, how)
	}
	if r, err := d.Reached(t.Context()); r != (verify.Reached{}) || err != nil {
		t.Errorf("%v %v", r, err)
	}
	if !i.Separate || !strings.HasPrefix(i.Network, "none") {
		t.Errorf("%+v", i)
	}
	for _, text := range said {
		if p := phrase.Chinese(text); len(p) != 1 || p[0].English {
			t.Errorf("%q is said in no phrase", text)
		}
	}
	if !strings.HasPrefix(Lab{}.Version(), "SQLite 3.") {
		t.Error(Lab{}.Version())
	}
}

func TestLabDigest(t *testing.T) {
	const columns = "(id, t, at DATETIME, b)"
	const rows = " WITH g(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM g WHERE n < 2000) SELECT n, 'text ' || n, datetime(n * 100000, 'unixepoch'), CASE WHEN n % 3 THEN CAST(n AS BLOB) ELSE NULL END FROM g ORDER BY n"
	statements := []string{}
	for _, name := range []string{"one", "two", "changed", "typed", "twice", "moved"} {
		statements = append(statements, "CREATE TABLE "+name+columns, "INSERT INTO "+name+rows+map[string]string{"two": " DESC"}[name])
	}
	d := restored(t, made(t, append(statements, "UPDATE changed SET t = 'other' WHERE id = 7", "UPDATE typed SET id = '7' WHERE id = 7", "INSERT INTO twice SELECT * FROM one WHERE id IN (1, 1)",
		"UPDATE moved SET t = t || substr(at, 1, 1), at = substr(at, 2) WHERE id = 9", "CREATE TABLE empty"+columns)...))
	digest := func(name string, share float64) string {
		s, err := d.Digest(t.Context(), name, share)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := digest("one", 1)
	if two := digest("two", 1); two != one {
		t.Errorf("the same rows in another order: %s and %s", one, two)
	}
	if a, b := digest("one", 0.3), digest("two", 0.3); a != b || a == one {
		t.Errorf("samples are %s and %s, the whole %s", a, b, one)
	}
	seen := map[string]string{one: "one"}
	for _, name := range []string{"changed", "typed", "twice", "moved", "empty"} {
		s := digest(name, 1)
		if seen[s] != "" {
			t.Errorf("%s has the digest of %s", name, seen[s])
		}
		seen[s] = name
	}
	if _, n, err := d.sums(t.Context(), "one", 0.3); err != nil || n < 450 || n > 750 {
		t.Errorf("%d of 2000 rows are three tenths (%v)", n, err)
	}
}

func TestLabQuery(t *testing.T) {
	d := restored(t, made(t, "CREATE TABLE c (n, at DATETIME)", "INSERT INTO c VALUES (1, '2026-01-01 10:00:00'), (2, NULL)"))
	for query, want := range map[string]string{"SELECT count(*) FROM c": "2", "select 1.5;": "1.5", "VALUES ('a;b')": "a;b", "WITH x AS (SELECT 5 n) SELECT n, ';' FROM x -- ; the end": "5",
		"/* ; */ SELECT x'41'": "A", "SELECT 'it''s; ' || \"n\" FROM c WHERE n = 1": "it's; 1", "SELECT ''": "", "SELECT max(at) FROM c": "2026-01-01 10:00:00", " \n-- x\nSELECT 1 ; ; ": "1",
		"SELECT [n] FROM `c` WHERE n=1": "1"} {
		if got, null, err := d.Query(t.Context(), query); got != want || null || err != nil {
			t.Errorf("%s: %q %t %v, want %q", query, got, null, err, want)
		}
	}
	if got, null, err := d.Query(t.Context(), "SELECT at FROM c WHERE n = 2"); got != "" || !null || err != nil {
		t.Errorf("null: %q %t %v", got, null, err)
	}
	file := filepath.Join(t.TempDir(), "written")
	for query, want := range map[string]string{"INSERT INTO c VALUES (3)": "may only read", "WITH x AS (SELECT 1) DELETE FROM c": "readonly", "ATTACH '" + file + "' AS x": "may only read",
		"VACUUM INTO '" + file + "'": "may only read", "PRAGMA query_only = 0": "may only read", "SELECT 1; SELECT 2": "more than one statement", "SELECT 1; -- x\nDELETE FROM c": "more than one statement",
		"SELECT 1 /* ; */; DROP TABLE c": "more than one statement", "": "may only read", "SELECT n FROM c": "more than one row", "SELECT 1 WHERE 0": "no row", "SELECT printf('%70000s', 'x')": "more than 65536 bytes",
		"SELECT nonsense": "no such column", "SELECT load_extension('x')": "not authorized", "SELECT '": "unrecognized token"} {
		if _, _, err := d.Query(t.Context(), query); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", query, err, want)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a statement wrote a file")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, _, err := d.Query(ctx, "WITH g(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM g) SELECT count(*) FROM g")
	if err == nil || !strings.Contains(err.Error(), "did not end in time") || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestLabFindsFaults(t *testing.T) {
	path := made(t, "CREATE TABLE account (id INTEGER PRIMARY KEY)", "CREATE TABLE contact (account_id REFERENCES account)", "PRAGMA foreign_keys = 0", "INSERT INTO contact VALUES (5)", "CREATE TABLE big (t)", "CREATE INDEX by_t ON big (t)",
		"WITH g(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM g WHERE n < 2000) INSERT INTO big SELECT printf('%0100d', n) FROM g")
	_, faults, err := restored(t, path).References(t.Context())
	if err != nil || len(faults) != 1 || !strings.Contains(faults[0], "row 1 of contact") || phrase.Chinese(faults[0])[0].English {
		t.Errorf("%q %v", faults, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := len(b) / 4096 / 2; at < len(b)/4096; at++ {
		copy(b[at*4096:], "damage damage damage")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, faults, err = restored(t, path).Integrity(t.Context())
	if err != nil || len(faults) == 0 {
		t.Errorf("%q %v", faults, err)
	}
	if _, err := (Lab{}).Start(t.Context(), t.TempDir()); err == nil {
		t.Error("nothing was started")
	}
}
