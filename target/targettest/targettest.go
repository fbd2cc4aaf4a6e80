// Package targettest holds the conformance suite that every implementation of target.Target must pass. It tests each
// sentence of the contract through the interface alone; what only one kind of target promises is tested beside it.
package targettest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"lifeboat/target"
)

// Run runs the suite. open returns a new, empty target for each subtest and registers its cleanup with t.
func Run(t *testing.T, open func(t *testing.T) target.Target) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, target.Target)
	}{
		{"Put/RoundTrip", testRoundTrip},
		{"Put/Section", testSection},
		{"Put/CreateOnly", testCreateOnly},
		{"Put/CreateOnlyConcurrent", testCreateOnlyConcurrent},
		{"Put/Atomic", testAtomic},
		{"Put/BadBody", testBadBody},
		{"Put/AgainAfterDelete", testPutAfterDelete},
		{"Put/Replace", testReplace},
		{"Get/Ranges", testRanges},
		{"Get/Absent", testGetAbsent},
		{"Get/ThenDelete", testGetThenDelete},
		{"List/Order", testListOrder},
		{"List/Prefix", testListPrefix},
		{"List/Info", testListInfo},
		{"List/Break", testListBreak},
		{"List/Changing", testListChanging},
		{"Delete/Absent", testDeleteAbsent},
		{"Delete/Concurrent", testDeleteConcurrent},
		{"Names/Valid", testValidNames},
		{"Names/Hostile", testHostileNames},
		{"Names/HostilePrefix", testHostilePrefixes},
		{"Context/CancelledBefore", testCancelledBefore},
		{"Context/CancelledPut", testCancelledPut},
		{"Context/CancelledGet", testCancelledGet},
		{"Context/CancelledList", testCancelledList},
		{"Concurrent", testConcurrent},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

// section is a body of exactly b.
func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

// content returns n bytes that depend on seed and do not repeat.
func content(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func put(t *testing.T, tg target.Target, name string, b []byte) {
	t.Helper()
	if err := tg.Put(t.Context(), name, section(b)); err != nil {
		t.Fatalf("Put(%s): %v", clip(name), err)
	}
}

// get reads a range to its end. The error is that of Get, Read or Close, whichever comes first.
func get(ctx context.Context, tg target.Target, name string, off, n int64) ([]byte, error) {
	r, err := tg.Get(ctx, name, off, n)
	if err != nil {
		if r != nil {
			return nil, errors.Join(err, errors.New("a reader came with the error of Get"))
		}
		return nil, err
	}
	b, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return b, err
}

func wantObject(t *testing.T, tg target.Target, name string, want []byte) {
	t.Helper()
	got, err := get(t.Context(), tg, name, 0, -1)
	if err != nil {
		t.Fatalf("Get(%s): %v", clip(name), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get(%s) yields %d bytes that are not the %d bytes put", clip(name), len(got), len(want))
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v; want one that satisfies %q", what, err, want)
	}
}

// names lists prefix, and fails the test if the listing fails.
func names(t *testing.T, tg target.Target, prefix string) []string {
	t.Helper()
	var all []string
	for info, err := range tg.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		all = append(all, info.Name)
	}
	return all
}

func wantNames(t *testing.T, tg target.Target, prefix string, want ...string) {
	t.Helper()
	got := names(t, tg, prefix)
	if len(got) != len(want) {
		t.Errorf("List(%q):\n got %q\nwant %q", prefix, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("List(%q):\n got %q\nwant %q", prefix, got, want)
			return
		}
	}
}

func clip(name string) string {
	if len(name) > 64 {
		name = name[:64] + "..."
	}
	return strings.ToValidUTF8(name, "?")
}
