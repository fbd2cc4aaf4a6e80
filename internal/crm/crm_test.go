package crm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func generate(t testing.TB, opts Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.db")
	if err := Generate(t.Context(), path, opts); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGenerateIsDeterministicAndSized(t *testing.T) {
	opts := Options{Seed: 7, Bytes: 2 << 20}
	first, again := read(t, generate(t, opts)), read(t, generate(t, opts))
	if sha256.Sum256(first) != sha256.Sum256(again) {
		t.Error("the same seed gave two different files")
	}
	if n := int64(len(first)); n < opts.Bytes || n > opts.Bytes*13/10 {
		t.Errorf("asked for %d bytes, got %d", opts.Bytes, n)
	}
	opts.Seed = 8
	if bytes.Equal(first, read(t, generate(t, opts))) {
		t.Error("two seeds gave the same file")
	}
}

func TestGenerateCompressesLikeCustomerData(t *testing.T) {
	data := read(t, generate(t, Options{Seed: 1, Bytes: 3 << 20}))
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	ratio := float64(len(data)) / float64(len(enc.EncodeAll(data, nil)))
	t.Logf("zstd ratio %.2f", ratio)
	if ratio < 2 || ratio > 4 {
		t.Errorf("zstd ratio %.2f, want 2 to 4", ratio)
	}
}

func TestGenerateReplacesNothing(t *testing.T) {
	path := generate(t, Options{})
	if err := Generate(t.Context(), path, Options{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v, want os.ErrExist", err)
	}
}

func TestGeneratedDatabaseIsSound(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		db, err := Open(generate(t, Options{Seed: 3, Bytes: 1 << 20, PageSize: size}))
		if err != nil {
			t.Fatal(err)
		}
		var verdict, mode string
		var pageSize, broken int
		for query, dest := range map[string]any{"PRAGMA integrity_check": &verdict, "PRAGMA journal_mode": &mode,
			"PRAGMA page_size": &pageSize, "SELECT count(*) FROM pragma_foreign_key_check": &broken} {
			if err := db.QueryRow(query).Scan(dest); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
		if verdict != "ok" || mode != "wal" || pageSize != size || broken != 0 {
			t.Errorf("integrity %s, mode %s, page size %d (want %d), %d broken keys", verdict, mode, pageSize, size, broken)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChurnChangesRows(t *testing.T) {
	path := generate(t, Options{Seed: 3, Bytes: 1 << 20})
	before := read(t, path)
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Churn(t.Context(), db, rand.New(rand.NewPCG(1, 2)), 250); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil { // the last connection checkpoints
		t.Fatal(err)
	}
	if bytes.Equal(before, read(t, path)) {
		t.Error("nothing changed")
	}
	if seq, err := VerifyChain(t.Context(), path); seq != 0 || err != nil {
		t.Errorf("chain at %d, %v; churn must leave the ledger alone", seq, err)
	}
}

func TestVerifyChain(t *testing.T) {
	path := generate(t, Options{Seed: 3, Bytes: 1 << 20})
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for round := range int64(2) { // the second writer continues the chain of the first
		ctx, stop := context.WithCancel(t.Context())
		w, err := NewWriter(ctx, db, rand.New(rand.NewPCG(1, uint64(round))))
		if err != nil {
			t.Fatal(err)
		}
		end := (round + 1) * 40
		if err := w.Run(ctx, func(seq int64) {
			if seq == end {
				stop()
			}
		}); err != nil {
			t.Fatal(err)
		}
		if seq, err := VerifyChain(t.Context(), path); seq != end || err != nil {
			t.Fatalf("chain at %d, %v; want %d", seq, err, end)
		}
	}
	for _, damage := range []string{
		"UPDATE ledger SET payload='account 1 deal 1 activity 1' WHERE seq=40",
		"DELETE FROM ledger WHERE seq=80",
		"DELETE FROM ledger WHERE seq=1",
		"UPDATE account SET revision=revision+1 WHERE revision=(SELECT max(revision) FROM account)",
		"DELETE FROM activity WHERE revision=12",
	} {
		bad := filepath.Join(t.TempDir(), "bad.db")
		if err := execAll(t.Context(), db, []string{"VACUUM INTO '" + bad + "'"}); err != nil {
			t.Fatal(err)
		}
		other, err := Open(bad)
		if err != nil {
			t.Fatal(err)
		}
		if seq, err := VerifyChain(t.Context(), bad); seq != 80 || err != nil {
			t.Fatalf("before the damage at %d, %v", seq, err)
		}
		if err := errors.Join(execAll(t.Context(), other, []string{damage}), other.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyChain(t.Context(), bad); !errors.Is(err, ErrChain) {
			t.Errorf("%s: got %v, want ErrChain", damage, err)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	const size = 64 << 20
	b.SetBytes(size)
	for b.Loop() {
		generate(b, Options{Seed: 1, Bytes: size})
	}
}
