package policies

import (
	"cmp"
	"math"
	"slices"
)

// measured is how many seconds something took for so many bytes.
type measured struct{ x, y float64 }

// line is how long something takes: fixed + slope·x, neither below zero.
type line struct {
	fixed, slope float64
	least        float64 // x below it counts as it; 0 for none
	samples      int
	free         int     // degrees of freedom: samples less parameters
	noise        float64 // standard deviation of what was measured from the line
	mean, square float64 // of x, and the sum of squares that the slope rests on; square 0: x does not matter
	proportional bool    // there is no fixed part
}

// apart is how far the sizes of samples have to lie apart, the largest by the smallest, for a fixed part to be told from a rate.
const apart = 1.5

// fit is the line through what was measured that is least off in squares: with a fixed part where sizes lie apart, and proportional to x where they do not.
// Where all of x is 0 it is constant.
func fit(all []measured) line {
	if len(all) == 0 {
		return line{}
	}
	bySize := func(a, b measured) int { return cmp.Compare(a.x, b.x) }
	low, high := slices.MinFunc(all, bySize).x, slices.MaxFunc(all, bySize).x
	switch {
	case high <= 0:
		return constant(all)
	case high < apart*low || len(all) == 1:
		l := proportional(all)
		l.least = meanX(all)
		return l
	}
	return affine(all)
}

// affine is a line with a fixed part. Where one of its two parts would be below zero, it is the better of the two lines without one of them.
func affine(all []measured) line {
	l := line{samples: len(all), free: len(all) - 2, mean: meanX(all)}
	var products, my float64
	for _, m := range all {
		my += m.y / float64(len(all))
	}
	for _, m := range all {
		l.square += (m.x - l.mean) * (m.x - l.mean)
		products += (m.x - l.mean) * (m.y - my)
	}
	l.slope = products / l.square
	l.fixed = my - l.slope*l.mean
	if l.slope < 0 || l.fixed < 0 {
		flat, steep := constant(all), proportional(all)
		if flat.squares(all) < steep.squares(all) {
			flat.mean, flat.square = l.mean, l.square // that nothing was seen to grow does not tell what is far away
			return flat
		}
		return steep
	}
	l.judge(all)
	return l
}

// proportional is a line without a fixed part.
func proportional(all []measured) line {
	l := line{samples: len(all), free: len(all) - 1, proportional: true}
	var products float64
	for _, m := range all {
		l.square += m.x * m.x
		products += m.x * m.y
	}
	l.slope = products / l.square
	l.judge(all)
	return l
}

// constant is the mean.
func constant(all []measured) line {
	l := line{samples: len(all), free: len(all) - 1}
	for _, m := range all {
		l.fixed += m.y / float64(len(all))
	}
	l.judge(all)
	return l
}

func (l line) at(x float64) float64 { return l.fixed + l.slope*max(x, l.least) }

// squares is how far a line is off.
func (l line) squares(all []measured) (sum float64) {
	for _, m := range all {
		off := m.y - (l.fixed + l.slope*m.x)
		sum += off * off
	}
	return sum
}

func (l *line) judge(all []measured) {
	if l.free > 0 {
		l.noise = math.Sqrt(l.squares(all) / float64(l.free))
	}
}

// spread is half the 95% interval of prediction at x; infinite where nothing is known of it.
func (l line) spread(x float64) float64 {
	if l.free <= 0 {
		return math.Inf(1)
	}
	x = max(x, l.least)
	variance := 1.0
	switch {
	case l.proportional: // what is noise at the mean grows with x, as the time does
		variance = max(1, x*x*float64(l.samples)/l.square) + x*x/l.square
	case l.square > 0:
		variance += 1/float64(l.samples) + (x-l.mean)*(x-l.mean)/l.square
	default:
		variance += 1 / float64(l.samples)
	}
	return student(l.free) * l.noise * math.Sqrt(variance)
}

// student is the 97.5% quantile of Student's t.
func student(free int) float64 {
	table := []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}
	if free <= len(table) {
		return table[free-1]
	}
	return 1.96 + 2.68/float64(free) // right to a hundredth from 10 on
}

func meanX(all []measured) (sum float64) {
	for _, m := range all {
		sum += m.x / float64(len(all))
	}
	return sum
}

func mean(all []float64) (sum float64) {
	for _, v := range all {
		sum += v / float64(len(all))
	}
	return sum
}
