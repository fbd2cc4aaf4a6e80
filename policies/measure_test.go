package policies

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// kth is the k-th smallest value, found by counting.
func kth(values []float64, k int) float64 {
	for _, v := range values {
		less, same := 0, 0
		for _, w := range values {
			if w < v {
				less++
			}
			if w == v {
				same++
			}
		}
		if less <= k && k < less+same {
			return v
		}
	}
	return math.NaN()
}

func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := 1; n < 60; n++ {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(r.IntN(20)) / 7
		}
		sorted := slices.Sorted(slices.Values(values))
		for hundredths := 0; hundredths <= 100; hundredths++ {
			whole, rest := hundredths*(n-1)/100, hundredths*(n-1)%100
			want := kth(values, whole)
			if rest > 0 {
				want = (want*float64(100-rest) + kth(values, whole+1)*float64(rest)) / 100
			}
			if got := quantile(sorted, float64(hundredths)/100); math.Abs(got-want) > 1e-9 {
				t.Fatalf("quantile 0.%02d of %v is %v, want %v", hundredths, sorted, got, want)
			}
		}
	}
}

// TestWindows compares with sums that begin anew at each snapshot.
func TestWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	some := 0
	for range 300 {
		steps := make([]step, 1+r.IntN(60))
		for i := range steps {
			s := Sample{Since: time.Hour, Size: 1000, Log: r.Int64N(500)}
			switch r.IntN(20) {
			case 0:
				s.Log = -1
			case 1, 2:
				s.Since = time.Duration(1+r.IntN(300)) * time.Minute
			}
			steps[i] = step{&s, 1000}
		}
		now := step{&Sample{Since: time.Duration(r.IntN(10*60)) * time.Minute}, 1000}
		all := each(steps, func(s step) float64 { return float64(s.Since) })
		slices.Sort(all)
		since := max(now.Since, time.Duration(quantile(all, 0.5)))
		var want []float64
		for i := range steps {
			var sum float64
			var long time.Duration
			for j := i; j >= 0 && long < since*3/4; j-- {
				if steps[j].Log < 0 || steps[j].Since > 2*since {
					break
				}
				sum, long = sum+logged(steps[j]), long+steps[j].Since
			}
			if long >= since*3/4 {
				want = append(want, sum)
			}
		}
		got := windows(steps, now, logged)
		if !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Fatalf("windows of %v: %v, want %v", since, got, want)
		}
		some += len(got)
	}
	if some < 1000 {
		t.Errorf("only %d windows", some)
	}
}
