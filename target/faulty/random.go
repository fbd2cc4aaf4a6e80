package faulty

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// Chance is the probability P, from 0 to 1, that a call of Method meets the fault that Draw makes for it. P = 1 makes
// a lasting fault.
type Chance struct {
	Method Method
	P      float64
	Draw   func(*rand.Rand) Fault
}

// Same is a Draw that makes the same fault each time.
func Same(f Fault) func(*rand.Rand) Fault {
	return func(*rand.Rand) Fault { return f }
}

// Random makes calls that have no queued fault meet one by chance. The chances of a method are tried in their order
// and the first that strikes counts. The same seed and sequence of calls meet the same faults. Random replaces
// earlier chances; without any it turns them off.
func (t *Target) Random(seed uint64, chances ...Chance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rand = rand.New(rand.NewPCG(seed, 0))
	t.chances = slices.Clone(chances)
}

// Flaky is a store on a bad line: each kind of passing, honest failure with probability p. A caller that retries
// must get through without damage.
func Flaky(p float64) []Chance {
	reset := syscall.ECONNRESET
	broken := func(r *rand.Rand) Fault { return Break(r.Int64N(64<<10), reset) }
	var all []Chance
	for _, m := range []Method{Put, Get, List, Delete} {
		all = append(all,
			Chance{m, p, Same(Fail(reset))},
			Chance{m, p, Same(FailAfter(reset))},
			Chance{m, p, Same(Slow(time.Millisecond))},
		)
	}
	return append(all, Chance{Put, p, broken}, Chance{Get, p, broken}, Chance{List, p, broken})
}

// Liar is a store that claims success: it loses what it acknowledged, and cuts, flips and replaces what it stores and
// returns, each with probability p. A caller must notice and must not pass bad data on.
func Liar(p float64) []Chance {
	var all []Chance
	for _, m := range []Method{Put, Get} {
		all = append(all,
			Chance{m, p, func(r *rand.Rand) Fault { return Short(r.Int64N(64 << 10)) }},
			Chance{m, p, func(r *rand.Rand) Fault { return Flip(r.Int64()) }},
			Chance{m, p, func(r *rand.Rand) Fault { return Garble(r.Uint64()) }},
		)
	}
	return append(all,
		Chance{List, p, func(r *rand.Rand) Fault { return Short(r.Int64N(16)) }},
		Chance{Put, p, Same(Lose())},
		Chance{Delete, p, Same(Lose())},
	)
}

// draw returns the fault that chance gives a call. The caller holds t.mu.
func (t *Target) draw(m Method) Fault {
	for _, c := range t.chances {
		if c.Method == m && t.rand.Float64() < c.P {
			return c.Draw(t.rand)
		}
	}
	return None()
}
