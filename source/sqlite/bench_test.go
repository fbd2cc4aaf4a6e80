package sqlite

import (
	"io"
	"math/rand/v2"
	"testing"

	"lifeboat/internal/crm"
)

// BenchmarkBody reads a database of 200 MB that is in the page cache, with and without a log to lay over it.
func BenchmarkBody(b *testing.B) {
	path := database(b, 200e6, 4096)
	db := connect(b, path, "wal_autocheckpoint(0)", "synchronous(0)")
	for _, c := range []struct {
		name     string
		updates  int
		attempts int
		buf      int
	}{
		{"file", 0, pinAttempts, 1 << 20},
		{"file, 32 KiB reads", 0, pinAttempts, 32 << 10},
		{"5000 rows in the log", 5000, pinAttempts, 1 << 20},
		{"pager", 0, 0, 1 << 20},
	} {
		b.Run(c.name, func(b *testing.B) {
			if c.updates > 0 {
				if err := crm.Churn(b.Context(), db, rand.New(rand.NewPCG(1, 1)), c.updates); err != nil {
					b.Fatal(err)
				}
			}
			s := New(path, Options{})
			s.attempts = c.attempts
			v := open(b, s)
			b.SetBytes(v.Size())
			buf := make([]byte, c.buf)
			for b.Loop() {
				for item, err := range v.Items(b.Context()) {
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, item.Body, buf); err != nil || n != item.Size {
						b.Fatal(n, err)
					}
				}
			}
		})
	}
}
