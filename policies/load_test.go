package policies_test

import (
	"math"
	"math/rand/v2"
	"time"

	"lifeboat/policies"
)

// load is a simulated CRM database. Shares are of its pages.
type load struct {
	*rand.Rand
	every   int     // hours between snapshots
	size    float64 // bytes
	day     float64 // touched in an hour of business
	noise   float64 // standard deviation of its logarithm
	hot     float64 // of the pages, which most changes hit
	growth  float64 // a day
	nightly float64 // touched by maintenance
	monthly float64 // touched by the batch at the end of the month
	at      [2]int  // hours of the day of both
	ratio   float64 // what content compresses to
	files   float64 // of new content: attachments, which do not compress
	rows    float64 // of the pages hold rows, the others indexes
	row     float64 // rows of a page
}

func newLoad(seed uint64, every int) *load {
	l := &load{Rand: rand.New(rand.NewPCG(seed, uint64(every))), every: every}
	l.size = math.Exp(l.between(math.Log(200e6), math.Log(300e9)))
	l.day = math.Exp(l.between(math.Log(0.001), math.Log(0.02)))
	l.noise, l.hot, l.growth = l.between(0.3, 0.7), l.between(0.01, 0.05), l.between(0.0001, 0.001)
	l.nightly, l.monthly = l.between(0.001, 0.02), l.between(0.02, 0.08)
	l.at = [2]int{l.IntN(6), l.IntN(24)}
	l.ratio, l.rows, l.row = l.between(0.2, 0.45), l.between(0.6, 0.85), l.between(20, 80)
	if l.IntN(3) == 0 {
		l.files = l.between(0.02, 0.2)
	}
	return l
}

func (l *load) between(low, high float64) float64 { return low + (high-low)*l.Float64() }

// times reports whether something that happens so many times a year happens in this hour.
func (l *load) times(year float64) bool { return l.Float64() < year/8760 }

// about is 1, give or take a standard deviation of the logarithm.
func (l *load) about(deviation float64) float64 { return math.Exp(deviation * l.NormFloat64()) }

// work is what happened since the last snapshot, in shares of the pages.
type work struct {
	hot, cold, once float64 // touched: some again and again, any, and each at most once
	grown           float64
	rewritten, less float64 // by maintenance on purpose, and how much smaller that was then
}

// taken is a snapshot.
type taken struct {
	policies.Sample
	maintenance bool
}

// months simulates the snapshots of n months. Nothing in them is an attack.
func (l *load) months(n int) (out []taken) {
	at := time.Date(2026, time.Month(1+l.IntN(12)), 1+l.IntN(28), 0, 0, 0, 0, time.UTC)
	var w work
	batch, load, outage := 0, 0, 0 // hours that are left of it
	today, last := 1.0, at
	for end := at.AddDate(0, n, 0); at.Before(end); at = at.Add(time.Hour) {
		if at.Hour() == 0 {
			today = l.about(0.25)
		}
		l.hour(&w, at, today)
		if at.AddDate(0, 0, 1).Day() == 1 && at.Hour() == l.at[1] {
			batch = 1 + l.IntN(3)
		}
		if l.times(1) {
			load = 1 + l.IntN(6)
		}
		if l.times(3.6) {
			outage = 4 + l.IntN(70)
		}
		if batch > 0 {
			w.once += l.monthly / 2 * l.about(0.2)
		}
		if load > 0 { // the yearly import
			w.grown, w.once = w.grown+l.between(0.01, 0.06), w.once+l.between(0.002, 0.01)
		}
		if outage <= 0 && at.Hour()%l.every == 0 {
			s := l.snapshot(w)
			s.At, s.Since, s.Full = at, at.Sub(last), at.Weekday() == time.Sunday && at.Hour() < l.every
			if len(out) == 0 {
				s.Since, s.Changed = 0, 0
			}
			out, last, w = append(out, s), at, work{}
		}
		batch, load, outage = batch-1, load-1, outage-1
	}
	return out
}

// hour adds the work of an hour.
func (l *load) hour(w *work, at time.Time, today float64) {
	touched := l.day * today * activity(at) * l.about(l.noise)
	w.hot, w.cold, w.grown = w.hot+0.7*touched, w.cold+0.3*touched, w.grown+l.growth/10*activity(at)
	if at.Hour() == l.at[0] { // statistics, vacuum, reports
		w.once += l.nightly * l.about(0.3)
	}
	if l.times(4) { // what is old is archived
		w.once += l.between(0.005, 0.03)
	}
	if l.times(2) { // VACUUM FULL, REINDEX, a migration that updates all rows
		w.rewritten, w.less = l.between(0.1, 0.8), l.between(0, 0.3)
	}
}

func (l *load) snapshot(w work) taken {
	share := l.hot*(1-math.Exp(-w.hot/l.hot)) + (1-l.hot)*(1-math.Exp(-w.cold-w.once))
	share += (1 - share) * w.rewritten
	s := taken{maintenance: w.rewritten > 0}
	s.Changed = int64(l.size * (share + w.grown))
	l.size *= (1 + w.grown) * (1 - w.rewritten*w.less)
	s.Size = int64(l.size) + int64(l.IntN(4))<<24 // with segments of log
	fresh := float64(s.Changed) * l.between(1, 2) // what was in pieces is stored whole
	if l.IntN(10) == 0 {                          // and what is in frames that are mostly dead
		fresh += l.size * l.between(0, 0.1)
	}
	files := min(1, l.files*l.about(0.7))
	s.New, s.Stored = int64(fresh), int64(fresh*(files+(1-files)*l.ratio*l.about(0.08)))
	s.Log = int64(float64(s.Changed) * l.between(0.5, 4))
	return s
}

// activity is how much people work, of 1.
func activity(at time.Time) float64 {
	switch hour := at.Hour(); {
	case at.Weekday() == time.Saturday || at.Weekday() == time.Sunday:
		return 0.08
	case hour >= 8 && hour < 18:
		return 1
	case hour >= 18 && hour < 22:
		return 0.2
	}
	return 0.03
}

// attacks change a snapshot into what it had been after an attack.
var attacks = map[string]func(l *load, s *policies.Sample, before float64){
	"deletion of rows here and there": func(l *load, s *policies.Sample, before float64) {
		l.attack(s, before, l.rows*(1-math.Pow(1-l.between(0.2, 1), l.row)), l.ratio)
	},
	"deletion of rows in one stretch": func(l *load, s *policies.Sample, before float64) {
		l.attack(s, before, l.rows*l.between(0.2, 1), l.ratio)
	},
	"encryption": func(l *load, s *policies.Sample, before float64) {
		l.attack(s, before, l.between(0.1, 1), 1.02)
	},
	"truncation": func(l *load, s *policies.Sample, before float64) {
		left := 1 - l.between(0.3, 1)
		s.Size, s.Changed = int64(before*left), int64(float64(s.Changed)*left)
	},
	"an empty database": func(_ *load, s *policies.Sample, _ float64) {
		s.Size, s.Changed, s.New, s.Stored = 30e6, 30e6, 10e6, 3e6
	},
}

// attack overwrites a share of what was there with what compresses so well.
func (l *load) attack(s *policies.Sample, before, share, ratio float64) {
	more := share * (before - float64(s.Changed))
	s.Changed += int64(more)
	s.New, s.Stored, s.Log = s.New+int64(more*1.1), s.Stored+int64(more*(ratio+0.1*l.ratio)), s.Log+int64(more)
}
