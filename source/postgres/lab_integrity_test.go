package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/verify"
)

// TestLabIntegrity looks through sound clusters of several versions, and through one that was damaged in several ways.
func TestLabIntegrity(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"14", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			pg := testenv.StartPostgres(t, testenv.PostgresVersion(t, version))
			pg.Query("postgres", "CREATE TABLE t AS SELECT g, repeat(md5(g::text), 100) x FROM generate_series(1, 1000) g; CREATE INDEX ON t (g); CREATE INDEX ON t USING gist (point(g, g))")
			sound(t, labOf(t, pg))
		})
	}
}

func sound(t *testing.T, d *Restored) {
	t.Helper()
	began := time.Now()
	how, faults, err := d.Integrity(t.Context())
	if err != nil || len(faults) > 0 || !strings.Contains(how, "1 indexes of kind gist") {
		t.Errorf("%s: %q %v", how, faults, err)
	}
	t.Logf("%s in %s", how, time.Since(began))
	if got := value(t, d, "postgres", "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"); got != "[[0]]" {
		t.Errorf("%s extensions are left", got)
	}
	if got := value(t, d, "postgres", "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'lifeboat'"); got != "[[0]]" {
		t.Errorf("%s schemas are left", got)
	}
}

func TestLabIntegrityDamaged(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", `CREATE EXTENSION amcheck SCHEMA public; CREATE TABLE heap AS SELECT g FROM generate_series(1, 1000) g; CREATE TABLE sums AS SELECT g FROM generate_series(1, 1000) g;
		CREATE TABLE other AS SELECT g FROM generate_series(1, 1000) g; CREATE INDEX tree ON other (g); CREATE TABLE lost AS SELECT g FROM generate_series(1, 1000) g; CREATE INDEX on lost (g);
		CREATE TABLE gone AS SELECT 1 g; CHECKPOINT`)
	file := func(name string) string {
		return pg.Query("postgres", "SELECT pg_relation_filepath('"+name+"')")[0][0]
	}
	files := map[string]string{}
	for _, name := range []string{"heap", "sums", "tree", "lost", "gone"} {
		files[name] = file(name)
	}
	k := take(t, New(pg.DSN("postgres", "postgres"), ""), nil)
	l, dir := k.lab(t, pg.Bin), scratch(t, "data")
	break1 := func(name string, do func(page []byte, n uint32)) {
		b := bytes.Clone(k.content[files[name]])
		for n := 0; n*8192 < len(b); n++ {
			page := b[n*8192 : (n+1)*8192]
			do(page, uint32(n))
			if name != "sums" {
				binary.LittleEndian.PutUint16(page[8:], checksum(page, uint32(n)))
			}
		}
		k.content[files[name]] = b
	}
	break1("heap", func(page []byte, n uint32) {
		if n == 1 { // the first row of the second block claims to begin behind the page
			binary.LittleEndian.PutUint32(page[24:], 8190|1<<15|28<<17)
		}
	})
	break1("sums", func(page []byte, n uint32) {
		if n == 2 {
			copy(page[5000:], "damage damage damage")
		}
	})
	break1("tree", func(page []byte, n uint32) {
		if n == 2 { // two keys of a leaf change places
			a, b := page[24+4:24+8], page[24+8:24+12]
			x := bytes.Clone(a)
			copy(a, b)
			copy(b, x)
		}
	})
	break1("lost", func(page []byte, n uint32) {
		if n == 0 { // the first row of the index's table becomes one that the index does not have
			item := binary.LittleEndian.Uint32(page[24:]) & 0x7fff
			binary.LittleEndian.PutUint32(page[item+24:], 424242)
		}
	})
	k.bring(t, l, dir)
	d := start(t, l, dir)
	_, faults, err := d.Integrity(t.Context())
	must(t, err)
	all := strings.Join(faults, "\n")
	t.Log(all)
	for _, want := range []string{"postgres.public.heap: block 1, row 1: line pointer", "postgres.public.sums: ERROR: invalid page in block 2", "postgres.public.tree: ERROR: item order invariant violated",
		"postgres.public.lost_g_idx: ERROR: heap tuple (0,1) from table \"lost\" lacks matching index tuple"} {
		if !strings.Contains(all, want) {
			t.Errorf("not found: %s", want)
		}
	}
	if len(faults) != 4 {
		t.Errorf("%d faults", len(faults))
	}
	if got := value(t, d, "postgres", "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"); got != "[[1]]" {
		t.Errorf("%s extensions are left", got)
	}
}

// TestLabIntegrityUnavailable checks what cannot be looked at.
func TestLabIntegrityUnavailable(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", `CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 / current_setting(''x.y'')::int; END'; SET x.y = 1; CREATE TABLE t AS SELECT 1 g; CREATE INDEX on t (f(g))`)
	d := labOf(t, pg)
	how, faults, err := d.Integrity(t.Context())
	if !errors.Is(err, verify.ErrUnavailable) || len(faults) > 0 || !strings.Contains(how, "1 relations could not be checked") || !strings.Contains(err.Error(), "x.y") {
		t.Errorf("%s: %q %v", how, faults, err)
	}
}

// checksum is that of a page, by storage/checksum_impl.h.
func checksum(page []byte, block uint32) uint16 {
	b := bytes.Clone(page)
	b[8], b[9] = 0, 0
	const prime = 16777619
	sums := [32]uint32{0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
		0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756}
	mix := func(i int, v uint32) {
		x := sums[i] ^ v
		sums[i] = x*prime ^ x>>17
	}
	for at := 0; at < len(b); at += 4 {
		mix(at/4%32, binary.LittleEndian.Uint32(b[at:]))
	}
	for range 2 {
		for i := range sums {
			mix(i, 0)
		}
	}
	var all uint32
	for _, s := range sums {
		all ^= s
	}
	return uint16((all^block)%65535 + 1)
}
