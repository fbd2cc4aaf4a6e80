package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/crypto"
	"lifeboat/internal/testenv"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target/local"
)

// row takes a snapshot and returns what is listed of it.
func (x *fixture) row(args ...string) (row snapshotRow) {
	x.t.Helper()
	x.want(0, append([]string{"backup", "crm"}, args...)...)
	var rows []snapshotRow
	x.must(json.Unmarshal([]byte(x.want(0, "snapshots", "crm", "--json", "--identity", x.path("key")).out), &rows))
	return rows[len(rows)-1]
}

// differingPages counts the pages of now that before does not have at their place.
func differingPages(before, now []byte, page int) (n int64) {
	for at := 0; at < len(now); at += page {
		was := make([]byte, page)
		copy(was, before[min(at, len(before)):])
		if !bytes.Equal(was, now[at:at+page]) {
			n++
		}
	}
	return n
}

// TestChanged updates a known number of pages: a snapshot says how many bytes that is, and how much of them was new and how well it compressed.
func TestChanged(t *testing.T) {
	x := newFixture(t, "disk")
	x.sqlite("CREATE TABLE flat (id INTEGER PRIMARY KEY, b BLOB); WITH n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO flat SELECT i, randomblob(3000) FROM n")
	before := x.database()
	first := x.row()
	if first.Changed != 0 || first.New < first.Size/2 || first.New > first.Size || first.Content >= first.Stored {
		t.Errorf("the first snapshot: %+v", first)
	}
	if same := x.row(); same.Changed != 0 || same.New != 0 || same.Content != 0 {
		t.Errorf("nothing changed: %+v", same)
	}
	x.sqlite("UPDATE flat SET b = randomblob(3000) WHERE id % 16 = 5") // a row has a page, and a group 16 of them
	now := x.database()
	const page = 4096
	want := differingPages(before, now, page)
	if want != 25 && want != 26 { // the rows', and perhaps the first page
		t.Fatalf("%d pages were updated", want)
	}
	some := x.row()
	if some.Changed != want*page || some.New != want*page || some.Content < some.New*7/10 || some.Content > some.New*11/10 {
		t.Errorf("%d pages of random bytes changed: %+v", want, some)
	}
	full := x.row("--full") // makes groups whole
	if full.Changed != 0 || full.New < 8*some.New {
		t.Errorf("nothing changed before the full: %+v", full)
	}
	x.sqlite("UPDATE flat SET b = zeroblob(3000) WHERE id % 2 = 1") // more than half of a group: stored whole
	want = differingPages(now, x.database(), page)
	half := x.row("--full")
	if half.Changed != want*page || want < 200 || half.New < half.Changed*3/2 {
		t.Errorf("%d pages changed before the full: %+v", want, half)
	}
	x.must(os.RemoveAll(x.path("state", "pagemaps")))
	x.sqlite("UPDATE flat SET b = randomblob(3000) WHERE id = 7")
	if blind := x.row(); blind.Changed != 0 || blind.New == 0 {
		t.Errorf("without a page map: %+v", blind)
	}
}

// TestPostgresChanged compares what a snapshot says has changed with the content of both snapshots, page by page; read as a whole, and as what the
// server says has changed.
func TestPostgresChanged(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"15", "17"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			x, pg := newCluster(t, testenv.PostgresVersion(t, version))
			for _, sql := range []string{
				"ALTER SYSTEM SET autovacuum = off",
				"ALTER SYSTEM SET wal_keep_size = '1GB'",
				"CREATE TABLE flat (id int, t text) WITH (fillfactor = 50)",
				"ALTER TABLE flat ALTER t SET STORAGE PLAIN",
				"INSERT INTO flat SELECT g, repeat(md5(g::text), 110) FROM generate_series(1, 600) g", // one row on a page, and room for another
			} {
				pg.Query("postgres", sql)
			}
			if version == "17" {
				pg.Query("postgres", "ALTER SYSTEM SET summarize_wal = on")
			}
			pg.Query("postgres", "SELECT pg_reload_conf()")
			pg.Query("postgres", "VACUUM FREEZE")
			x.row()
			x.row()
			for _, sql := range []string{
				"UPDATE flat SET t = repeat(md5('x' || id), 110) WHERE id % 10 = 3",
				"UPDATE flat SET t = repeat(md5('y' || id), 110) WHERE id % 10 = 3 AND id > 300",
			} {
				pg.Query("postgres", sql)
			}
			row := x.row()
			all, flat := x.differs("s3", "s4", strings.TrimSpace(pg.Query("postgres", "SELECT pg_relation_filepath('flat')")[0][0]))
			if row.Changed != all || flat != 60*8192 || all > 2*flat {
				t.Errorf("%d bytes differ, %d of them of the table: %+v", all, flat, row)
			}
			if some := row.Read < row.Size/2; some != (version == "17") {
				t.Errorf("%d of %d bytes were read", row.Read, row.Size)
			}
			if full := x.row("--full"); full.Changed > 64<<10 { // what a server writes for a backup
				t.Errorf("nothing changed before the full: %+v", full)
			}
		})
	}
}

// differs compares two snapshots: how many bytes of the latter are on pages and in chunks of streams that the former does not have, and
// how many of them in one file.
func (x *fixture) differs(before, now, one string) (all, ofOne int64) {
	x.t.Helper()
	tg, err := local.Open(x.path("disk"))
	x.must(err)
	defer tg.Close()
	r, err := repository.Open(x.t.Context(), tg)
	x.must(err)
	key, err := os.ReadFile(x.path("key"))
	x.must(err)
	ids, err := crypto.ParseIdentities(key, nil)
	x.must(err)
	x.must(r.Unlock(x.t.Context(), ids))
	old, oldDir := x.content(r, before)
	files, dir := x.content(r, now)
	for name, f := range files {
		var n int64
		if f.Kind == snapshot.Pages {
			was, _ := os.ReadFile(filepath.Join(oldDir, name)) // there may be none
			is, err := os.ReadFile(filepath.Join(dir, name))
			x.must(err)
			n = differingPages(was, is, f.PageSize) * int64(f.PageSize)
		} else {
			had := map[crypto.ID]bool{}
			for _, e := range old[name].extents {
				had[e.ID] = true
			}
			for _, e := range f.extents {
				if !had[e.ID] {
					n += e.Bytes
				}
			}
		}
		if all += n; name == one {
			ofOne = n
		}
	}
	return all, ofOne
}

// laidOut is a file of a snapshot.
type laidOut struct {
	snapshot.File
	extents []snapshot.Extent
}

// content restores the files of a snapshot as they are stored, without what the engine adds.
func (x *fixture) content(r *repository.Reader, id string) (files map[string]laidOut, dir string) {
	x.t.Helper()
	list, err := r.Snapshots(x.t.Context(), "crm")
	x.must(err)
	for _, s := range list {
		if restore.FormatID(s.Seq) != id {
			continue
		}
		tree, err := r.Tree(x.t.Context(), s.Root)
		x.must(err)
		files = map[string]laidOut{}
		for f, err := range tree.Files(x.t.Context()) {
			x.must(err)
			v := laidOut{File: f}
			for _, e := range f.Extents {
				extents, err := tree.Extents(x.t.Context(), e)
				x.must(err)
				v.extents = append(v.extents, extents...)
			}
			files[f.Name] = v
		}
		dir = filepath.Join(x.t.TempDir(), "content")
		sink, err := restore.NewDirectory(dir, tree.Root.Size)
		x.must(err)
		_, err = restore.Run(x.t.Context(), restore.Job{Tree: tree, Frames: r.Frames, IDs: r.IDs, Sink: sink, SpillDir: sink.Work()})
		x.must(err)
		x.must(sink.Close())
		return files, dir
	}
	x.must(fmt.Errorf("no snapshot %s", id))
	return nil, ""
}
