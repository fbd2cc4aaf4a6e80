package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
	"lifeboat/target/targettest"
)

var errTest = errors.New("broken by the test")

func TestConformance(t *testing.T) {
	targettest.Run(t, func(t *testing.T) target.Target {
		tg, _ := wrap(t)
		return tg
	})
}

// wrap returns a faulty target and what is below it.
func wrap(t *testing.T) (*faulty.Target, target.Target) {
	t.Helper()
	inner, err := local.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
	})
	return faulty.New(inner), inner
}

func put(ctx context.Context, tg target.Target, name, content string) error {
	return tg.Put(ctx, name, io.NewSectionReader(strings.NewReader(content), 0, int64(len(content))))
}

func get(ctx context.Context, tg target.Target, name string) (string, error) {
	r, err := tg.Get(ctx, name, 0, -1)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func list(ctx context.Context, tg target.Target) (names []string, err error) {
	for info, err := range tg.List(ctx, "") {
		if err != nil {
			return names, err
		}
		names = append(names, info.Name)
	}
	return names, nil
}

func TestPut(t *testing.T) {
	for _, tt := range []struct {
		fault  faulty.Fault
		err    error
		stored string // "-": nothing
	}{
		{faulty.None(), nil, "content"},
		{faulty.Fail(errTest), errTest, "-"},
		{faulty.FailAfter(errTest), errTest, "content"},
		{faulty.Hang(), context.DeadlineExceeded, "-"},
		{faulty.Slow(time.Millisecond), nil, "content"},
		{faulty.Slow(time.Hour), context.DeadlineExceeded, "-"},
		{faulty.Lose(), nil, "-"},
		{faulty.Full(6), syscall.ENOSPC, "-"},
		{faulty.Full(7), nil, "content"},
		{faulty.Break(0, errTest), errTest, "-"},
		{faulty.Short(3), nil, "con"},
		{faulty.Short(99), nil, "content"},
		{faulty.Flip(1), nil, "aontent"},
		{faulty.Flip(7*8 + 1), nil, "aontent"},
	} {
		tg, inner := wrap(t)
		tg.Queue(faulty.Put, tt.fault)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := put(ctx, tg, "a", "content"); !errors.Is(err, tt.err) {
			t.Errorf("%v: %v; want %v", tg.Log(), err, tt.err)
		}
		got, err := get(t.Context(), inner, "a")
		if errors.Is(err, fs.ErrNotExist) {
			got = "-"
		}
		if got != tt.stored {
			t.Errorf("%v: stored %q, %v; want %q", tg.Log(), got, err, tt.stored)
		}
	}
}

func TestGet(t *testing.T) {
	for _, tt := range []struct {
		fault faulty.Fault
		err   error
		read  string
	}{
		{faulty.Fail(errTest), errTest, ""},
		{faulty.FailAfter(errTest), errTest, ""},
		{faulty.Hang(), context.DeadlineExceeded, ""},
		{faulty.Slow(time.Millisecond), nil, "content"},
		{faulty.Break(3, errTest), errTest, "con"},
		{faulty.Break(99, errTest), errTest, "content"},
		{faulty.Short(3), nil, "con"},
		{faulty.Flip(1), nil, "aontent"},
		{faulty.Lose(), faulty.ErrMisuse, ""},
		{faulty.Full(1), faulty.ErrMisuse, ""},
	} {
		tg, inner := wrap(t)
		if err := put(t.Context(), inner, "a", "content"); err != nil {
			t.Fatal(err)
		}
		tg.Queue(faulty.Get, tt.fault)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got, err := get(ctx, tg, "a"); got != tt.read || !errors.Is(err, tt.err) {
			t.Errorf("%v: %q, %v; want %q, %v", tg.Log(), got, err, tt.read, tt.err)
		}
		if got, err := get(t.Context(), tg, "a"); got != "content" || err != nil {
			t.Errorf("after %v: %q, %v", tg.Log(), got, err)
		}
	}
}

func TestGarble(t *testing.T) {
	tg, inner := wrap(t)
	if err := put(t.Context(), inner, "a", "content"); err != nil {
		t.Fatal(err)
	}
	tg.Queue(faulty.Get, faulty.Garble(1), faulty.Garble(1), faulty.Garble(2))
	var got []string
	for range 3 {
		s, err := get(t.Context(), tg, "a")
		if err != nil || len(s) != 7 || s == "content" {
			t.Errorf("garbled: %q, %v", s, err)
		}
		got = append(got, s)
	}
	if got[0] != got[1] || got[0] == got[2] {
		t.Errorf("the seed does not decide the bytes: %q", got)
	}
}

func TestList(t *testing.T) {
	for _, tt := range []struct {
		fault faulty.Fault
		err   error
		n     int
	}{
		{faulty.Fail(errTest), errTest, 0},
		{faulty.FailAfter(errTest), errTest, 3},
		{faulty.Break(2, errTest), errTest, 2},
		{faulty.Short(2), nil, 2},
		{faulty.Short(0), nil, 0},
		{faulty.Short(9), nil, 3},
		{faulty.Flip(0), faulty.ErrMisuse, 0},
	} {
		tg, inner := wrap(t)
		for _, name := range []string{"a", "b", "c"} {
			if err := put(t.Context(), inner, name, ""); err != nil {
				t.Fatal(err)
			}
		}
		tg.Queue(faulty.List, tt.fault)
		if got, err := list(t.Context(), tg); len(got) != tt.n || !errors.Is(err, tt.err) {
			t.Errorf("%v: %q, %v; want %d names, %v", tg.Log(), got, err, tt.n, tt.err)
		}
		if tg.Queued(faulty.List) != 0 {
			t.Error("the fault was not used")
		}
	}
}

func TestDelete(t *testing.T) {
	for _, tt := range []struct {
		fault faulty.Fault
		err   error
		gone  bool
	}{
		{faulty.Fail(errTest), errTest, false},
		{faulty.FailAfter(errTest), errTest, true},
		{faulty.Lose(), nil, false},
		{faulty.Slow(0), nil, true},
		{faulty.Short(0), faulty.ErrMisuse, false},
	} {
		tg, inner := wrap(t)
		if err := put(t.Context(), inner, "a", ""); err != nil {
			t.Fatal(err)
		}
		tg.Queue(faulty.Delete, tt.fault)
		if err := tg.Delete(t.Context(), "a"); !errors.Is(err, tt.err) {
			t.Errorf("%v: %v; want %v", tg.Log(), err, tt.err)
		}
		if _, err := get(t.Context(), inner, "a"); errors.Is(err, fs.ErrNotExist) != tt.gone {
			t.Errorf("%v: afterwards %v", tg.Log(), err)
		}
	}
}

// TestCrashAfter crashes a sequence of writes at each of them and expects exactly the writes before to stand.
func TestCrashAfter(t *testing.T) {
	sequence := func(tg target.Target) error {
		for i := range 4 {
			if err := put(t.Context(), tg, fmt.Sprint(i), "x"); err != nil {
				return err
			}
			if _, err := get(t.Context(), tg, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return tg.Delete(t.Context(), "0")
	}
	tg, _ := wrap(t)
	if err := sequence(tg); err != nil {
		t.Fatal(err)
	}
	want := [][]string{nil, {"0"}, {"0", "1"}, {"0", "1", "2"}, {"0", "1", "2", "3"}}
	if tg.Mutations() != len(want) {
		t.Fatalf("%d mutations; want %d", tg.Mutations(), len(want))
	}
	for n := range tg.Mutations() {
		crashed, inner := wrap(t)
		crashed.CrashAfter(n)
		if err := sequence(crashed); !errors.Is(err, faulty.ErrCrashed) {
			t.Errorf("crash after %d: %v", n, err)
		}
		if _, err := list(t.Context(), crashed); !errors.Is(err, faulty.ErrCrashed) {
			t.Errorf("List after a crash: %v", err)
		}
		if got, err := list(t.Context(), inner); err != nil || !slices.Equal(got, want[n]) {
			t.Errorf("crash after %d: %q stand, %v; want %q", n, got, err, want[n])
		}
		crashed.CrashAfter(-1)
		if err := put(t.Context(), crashed, "z", ""); err != nil {
			t.Errorf("Put once the crash is called off: %v", err)
		}
	}
}

func TestLog(t *testing.T) {
	tg, _ := wrap(t)
	tg.Queue(faulty.Put, faulty.None(), faulty.Lose())
	for _, name := range []string{"a", "b", "c"} {
		if err := put(t.Context(), tg, name, ""); err != nil {
			t.Fatal(err)
		}
	}
	listing := tg.List(t.Context(), "p")
	for info, err := range listing {
		t.Errorf("got %v, %v; no object begins with p", info, err)
	}
	want := `[put "a" put "b" (lose) put "c" list "p"]`
	if got := fmt.Sprint(tg.Log()); got != want {
		t.Errorf("log is %s; want %s", got, want)
	}
}

// TestRandom runs the same calls with the same and with other seeds.
func TestRandom(t *testing.T) {
	run := func(seed uint64, chances []faulty.Chance) string {
		tg, _ := wrap(t)
		tg.Random(seed, chances...)
		var out bytes.Buffer
		for i := range 60 {
			name := fmt.Sprint(i % 7)
			putErr := put(t.Context(), tg, name, strings.Repeat("x", 100))
			got, getErr := get(t.Context(), tg, name)
			names, listErr := list(t.Context(), tg)
			delErr := tg.Delete(t.Context(), name)
			fmt.Fprintln(&out, putErr == nil, got, getErr == nil, names, listErr == nil, delErr == nil)
		}
		for _, op := range tg.Log() {
			fmt.Fprintln(&out, op)
		}
		return out.String()
	}
	for name, chances := range map[string][]faulty.Chance{"flaky": faulty.Flaky(0.1), "liar": faulty.Liar(0.1)} {
		one := run(1, chances)
		if run(1, chances) != one {
			t.Errorf("%s: one seed gives two runs", name)
		}
		if run(2, chances) == one {
			t.Errorf("%s: two seeds give one run", name)
		}
	}
	if got := run(1, nil); strings.Contains(got, "(") {
		t.Errorf("faults without chances:\n%s", got)
	}
}

// TestLasting makes a fault that does not pass, and ends it.
func TestLasting(t *testing.T) {
	tg, _ := wrap(t)
	tg.Random(1, faulty.Chance{Method: faulty.Put, P: 1, Draw: faulty.Same(faulty.Fail(errTest))})
	for range 20 {
		if err := put(t.Context(), tg, "a", ""); !errors.Is(err, errTest) {
			t.Fatal(err)
		}
	}
	tg.Random(1)
	if err := put(t.Context(), tg, "a", ""); err != nil {
		t.Error(err)
	}
}
