package chunkstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/target"
	"lifeboat/target/faulty"
)

// TestOrder says which of three copies is asked first, from what is known of them.
func TestOrder(t *testing.T) {
	now := clock.System()
	lately, long := now.Add(-time.Second), now.Add(-2*rest)
	quick, slow := health{pace: 1, last: lately}, health{pace: 9, last: lately}
	failed, rested := health{pace: 1, last: lately, failed: lately}, health{pace: 1, last: long, failed: long}
	with := func(h health, busy int) health { h.busy = busy; return h }
	for name, tt := range map[string]struct {
		all   [3]health
		ahead bool
		want  string
	}{
		"nothing is known":                         {[3]health{}, false, "[0 1 2]"},
		"nothing is known, the first read":         {[3]health{}, true, "[0 1 2]"},
		"the second read measures another":         {[3]health{with(health{}, 1)}, true, "[1 2 0]"},
		"no tree node does":                        {[3]health{with(health{}, 1)}, false, "[0 1 2]"},
		"the fastest":                              {[3]health{slow, slow, quick}, true, "[2 0 1]"},
		"what is known":                            {[3]health{{}, {}, slow}, false, "[2 0 1]"},
		"one that failed":                          {[3]health{failed, slow, {}}, true, "[1 2 0]"},
		"all failed":                               {[3]health{failed, {last: lately, failed: lately.Add(-1)}, {last: lately, failed: lately.Add(1)}}, false, "[1 0 2]"},
		"one that failed long ago":                 {[3]health{slow, rested, slow}, false, "[1 0 2]"},
		"and is asked already":                     {[3]health{slow, with(rested, 1), slow}, true, "[0 2 1]"},
		"one that was not measured for long":       {[3]health{with(quick, 3), quick, {pace: 9, last: long}}, true, "[2 0 1]"},
		"but not where nothing else is under way":  {[3]health{quick, quick, {pace: 9, last: long}}, true, "[0 1 2]"},
		"one that hangs since long is left alone":  {[3]health{with(quick, 1), with(rested, 1), slow}, true, "[0 2 1]"},
		"the first one that is not known measures": {[3]health{with(quick, 1), {}, {}}, true, "[1 2 0]"},
	} {
		c := NewCopies(make([]target.Target, 3), nil)
		copy(c.all, tt.all[:])
		if got := c.order(tt.ahead); fmt.Sprint(got) != tt.want || c.all[got[0]].busy != tt.all[got[0]].busy+1 {
			t.Errorf("%s: %v, not %s", name, got, tt.want)
		}
	}
}

// TestLate says when a read of a copy is late.
func TestLate(t *testing.T) {
	const size = 4<<20 - requestCost
	second := float64(time.Second) / (4 << 20) // for such a read
	for name, tt := range map[string]struct {
		all   [2]health
		took  time.Duration
		moved time.Duration // when a byte came last
		want  bool
	}{
		"nothing is known, bytes come":             {[2]health{}, time.Hour, time.Hour - time.Second, false},
		"nothing is known, no more come":           {[2]health{}, time.Hour, time.Hour - silence - time.Second, true},
		"nothing is known, nothing comes":          {[2]health{}, silence + time.Second, 0, true},
		"nothing came yet":                         {[2]health{}, silence / 2, 0, false},
		"as expected":                              {[2]health{{pace: second}}, 3 * time.Second, time.Second, false},
		"too slow":                                 {[2]health{{pace: second}}, 5 * time.Second, 5 * time.Second, true},
		"eight at once":                            {[2]health{{pace: second, busy: 8}}, 5 * time.Second, 0, false},
		"eight at once, and nothing comes":         {[2]health{{pace: second, busy: 8}}, 9 * time.Second, 0, true},
		"another one would have been done":         {[2]health{{}, {pace: second / 100}}, 2 * time.Second, 2 * time.Second, true},
		"another one, which failed":                {[2]health{{}, {pace: second / 100, failed: clock.System()}}, 2 * time.Second, 0, false},
		"this one failed since":                    {[2]health{{pace: second, failed: clock.System()}}, 5 * time.Second, 5 * time.Second, true},
		"a disk may be busy for parts of a second": {[2]health{{pace: second / 1000}}, patience / 2, 0, false},
	} {
		c := NewCopies(make([]target.Target, 2), nil)
		copy(c.all, tt.all[:])
		x := Copy{N: 0, begun: clock.System().Add(-tt.took), progress: new(progress)}
		x.moved.Store(int64(tt.moved))
		if got := c.late(x, size); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestHealth follows one copy through what happens to it.
func TestHealth(t *testing.T) {
	var said []string
	c := NewCopies(make([]target.Target, 2), func(n int, err error) { said = append(said, fmt.Sprint(n, " ", err)) })
	read := func(took time.Duration, err error) {
		c.order(false)
		x := Copy{N: 0, begun: clock.System().Add(-took), progress: new(progress)}
		x.got.Store(4<<20 - requestCost)
		c.all[0].busy, c.all[1].busy = 1, 0
		c.yielded(x, err)
	}
	about := func(want time.Duration) {
		t.Helper()
		if got := time.Duration(c.all[0].pace * (4 << 20)); got < want*9/10 || got > want*11/10+time.Second {
			t.Errorf("a read takes %s, not %s", got, want)
		}
	}
	read(time.Minute, nil)
	about(time.Minute)
	read(5*time.Minute, nil)
	about(2 * time.Minute)
	read(time.Hour, errors.New("broken"))
	about(2 * time.Minute) // an error says nothing of its speed
	c.fail(0, crypto.ErrDamaged)
	c.fail(0, crypto.ErrDamaged)
	read(time.Hour, nil)
	if c.all[0].failed.IsZero() {
		t.Error("a read that began before it failed proves nothing")
	}
	time.Sleep(time.Millisecond)
	read(0, nil)
	about(0)
	if !c.all[0].failed.IsZero() {
		t.Error("it yielded something since")
	}
	c.fail(1, fs.ErrNotExist)
	c.fail(1, crypto.ErrIdentity)
	if want := []string{"0 " + crypto.ErrDamaged.Error()}; fmt.Sprint(said) != fmt.Sprint(want) || !c.all[1].failed.IsZero() {
		t.Errorf("it was said %q", said)
	}
}

// TestFrameFailsOver reads frames one by one from copies of which the first hangs, and the second is damaged.
func TestFrameFailsOver(t *testing.T) {
	s := newShelf(t, 3, 4, 100_000)
	s.from(0, 0, faulty.Hang())
	s.from(1, 0, faulty.Garble(7))
	r, missed := s.reader()
	noLeak(t, func() {
		for _, f := range s.frames {
			if b, err := r.Chunk(t.Context(), f.loc, nil); err != nil || !bytes.Equal(b, f.data) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		}
	})
	if got := missed(); len(got) != 2 || got[0] != 1 || got[1] != 1 {
		t.Errorf("it was said %v", got)
	}
	if s.gets(0) != 1 || s.gets(1) != 1 {
		t.Errorf("%d and %d reads of copies that fail", s.gets(0), s.gets(1))
	}
}
