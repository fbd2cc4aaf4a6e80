package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// taken is a snapshot of a cluster that stands in memory.
type taken struct {
	manifest Manifest
	files    []snapshot.File
	content  map[string][]byte
	end      snapshot.Pos
	findings []snapshot.Finding
}

// take makes a snapshot as a backup does. during is called when half of it was read.
func take(t *testing.T, s *Source, during func()) *taken {
	t.Helper()
	v, err := s.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	k := &taken{content: map[string][]byte{}}
	for item, err := range v.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		f := snapshot.File{Name: item.Name, Kind: item.Kind, Size: item.Size, Mode: item.Mode, PageSize: item.PageSize}
		if item.Body != nil {
			var b bytes.Buffer
			if _, err := io.Copy(&b, item.Body); err != nil {
				t.Fatal(err)
			}
			k.content[f.Name] = b.Bytes()
		}
		k.files = append(k.files, f)
		if during != nil && len(k.files) == 400 {
			during()
			during = nil
		}
	}
	sum, err := v.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if k.manifest, err = ParseManifest(sum.Manifest); err != nil {
		t.Fatal(err)
	}
	k.end, k.findings = sum.To, sum.Findings
	slices.SortFunc(k.files, func(a, b snapshot.File) int { return strings.Compare(a.Name, b.Name) })
	return k
}

// lab is one for the snapshot.
func (k *taken) lab(t *testing.T, bin string) *Lab {
	t.Helper()
	return &Lab{Manifest: k.manifest, Replay: &restore.Replay{End: k.end}, Bin: bin, Owner: serverOwner(t)}
}

// serverOwner is the user that servers run as.
func serverOwner(t *testing.T) *restore.Owner {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	must(t, err)
	uid, err := strconv.Atoi(u.Uid)
	must(t, err)
	gid, err := strconv.Atoi(u.Gid)
	must(t, err)
	return &restore.Owner{UID: uid, GID: gid}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bring restores the snapshot by the lab's sink.
func (k *taken) bring(t *testing.T, l *Lab, dir string) {
	t.Helper()
	sink, err := l.Sink(dir, 0)
	must(t, err)
	for _, f := range k.files {
		must(t, sink.Create(f))
	}
	for n, f := range k.files {
		if b := k.content[f.Name]; len(b) > 0 {
			must(t, sink.WriteAt(n, b, 0))
		}
	}
	must(t, sink.Finish(t.Context()))
	must(t, sink.Close())
}

// scratch is a directory that a server may pass.
func scratch(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lifeboat-lab-*")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o711))
	at := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(at), 0o711))
	for d := filepath.Dir(at); d != dir; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o711))
	}
	return at
}

// start starts the lab, and stops it with the test.
func start(t *testing.T, l *Lab, dir string) *Restored {
	t.Helper()
	began := time.Now()
	db, err := l.Start(t.Context(), dir)
	must(t, err)
	t.Logf("started in %s", time.Since(began))
	t.Cleanup(func() {
		left, err := db.Stop(context.Background())
		if left != 0 || err != nil {
			t.Errorf("%d processes are left (%v)", left, err)
		}
	})
	return db.(*Restored) // as Start makes it
}

// labOf restores a cluster in its present state and starts it.
func labOf(t *testing.T, pg *testenv.Postgres) *Restored {
	t.Helper()
	k := take(t, New(pg.DSN("postgres", "postgres"), ""), nil)
	l, dir := k.lab(t, pg.Bin), scratch(t, "data")
	k.bring(t, l, dir)
	return start(t, l, dir)
}

// value is the answer to a question of the superuser's.
func value(t *testing.T, d *Restored, database, sql string) string {
	t.Helper()
	var out string
	must(t, d.with(t.Context(), database, func(c *conn) error {
		rows, err := c.ask(t.Context(), sql)
		if err == nil {
			out = fmt.Sprint(rows)
		}
		return err
	}))
	return out
}
