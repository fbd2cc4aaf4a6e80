package policies

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/calendar"
)

const gb = 1_000_000_000

// truth is how long a restore really takes, in seconds.
type truth struct{ fixed, perGB, start, perLogGB, rest float64 }

func (tr truth) of(size, log float64) float64 {
	return tr.fixed + tr.perGB*size + tr.start + tr.perLogGB*log + tr.rest
}

// drilled makes n drills of low to high GB, whose every part is off by about noise.
func (tr truth) drilled(r *rand.Rand, from string, n int, low, high, noise float64) (out []Restored) {
	off := func(s float64) time.Duration { return seconds(s * (1 + noise*r.NormFloat64())) }
	for range n {
		size, log := low+r.Float64()*(high-low), r.Float64()
		out = append(out, Restored{Copy: from, Size: int64(size * gb), LogSize: int64(log * gb),
			Restore: off(tr.fixed + tr.perGB*size), Replay: off(tr.start + tr.perLogGB*log), Rest: off(tr.rest)})
	}
	return out
}

// TestProjection projects 8 GB from drills of up to 2 GB, whose times are off by 5%: it is right to a fifth, and the interval is an honest one.
func TestProjection(t *testing.T) {
	disk, tape := truth{fixed: 4, perGB: 9, start: 2, perLogGB: 20, rest: 1.5}, truth{fixed: 20, perGB: 25, start: 2, perLogGB: 20, rest: 1.5}
	const size, log, runs = 8.0, 3.0, 500
	want := tape.of(size, log)
	var off, outside int
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, ok := Project(append(disk.drilled(r, "disk", 12, 0.5, 2, 0.05), tape.drilled(r, "tape", 12, 0.5, 2, 0.05)...), size*gb, log*gb)
		if !ok || p.Copy != "tape" || p.Samples != 24 || p.Size != size*gb || p.LogSize != log*gb || p.Low >= p.Duration || p.High <= p.Duration {
			t.Fatalf("seed %d: %+v", seed, p)
		}
		if math.Abs(p.Duration.Seconds()-want) > want/5 {
			off++
		}
		if want < p.Low.Seconds() || want > p.High.Seconds() {
			outside++
		}
		if p.Error < 0.01 || p.Error > 0.1 {
			t.Errorf("seed %d: the error is %v", seed, p.Error)
		}
	}
	if off > 0 || outside > runs/10 {
		t.Errorf("of %d, %d are off by more than 20%%, and %d are outside of their interval", runs, off, outside)
	}
}

// TestProjectionOfOneSize scales drills of a database that hardly grows: there is no telling a fixed part, and what is far away is said to be uncertain.
func TestProjectionOfOneSize(t *testing.T) {
	tr := truth{fixed: 0.5, perGB: 10, start: 0.5, perLogGB: 20, rest: 1}
	outside := 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		p, ok := Project(tr.drilled(r, "disk", 6, 1.95, 2.05, 0.05), 8*gb, gb)
		if want := tr.of(8, 1); !ok || math.Abs(p.Duration.Seconds()-want) > want/5 {
			t.Errorf("seed %d: %v of %v", seed, p.Duration, want)
		} else if want < p.Low.Seconds() || want > p.High.Seconds() {
			outside++
		}
		if !strings.Contains(p.Model, "of content, as all were of much the same size, and at least") {
			t.Fatal(p.Model)
		}
	}
	if outside > 10 {
		t.Error("outside of their interval are", outside)
	}
}

// TestProjectionIsExact has lines without noise, and what cannot be a line.
func TestProjectionIsExact(t *testing.T) {
	s := func(n float64) time.Duration { return seconds(n) }
	drill := func(size, log, restore, replay float64) Restored {
		return Restored{Copy: "disk", Size: int64(size * gb), LogSize: int64(log * gb), Restore: s(restore), Replay: s(replay), Rest: s(1)}
	}
	for _, tt := range []struct {
		name            string
		drills          []Restored
		size, log       float64
		want, low, high float64 // seconds
		words           string
	}{
		{"one", []Restored{drill(2, 1, 20, 4)}, 8, 2, 89, 44.5, 178, "from half to double"},
		{"smaller than all", []Restored{drill(2, 1, 20, 4)}, 1, 0, 25, 12.5, 50, "and at least 20s"},
		{"two on a line", []Restored{drill(1, 1, 12, 3), drill(2, 2, 22, 4)}, 4, 4, 49, 24.5, 98, "2s and 1 s for each 95 MiB of content; replay (2 drills): 2s and 1 s"},
		{"three on a line", []Restored{drill(1, 0, 12, 2), drill(2, 1, 22, 3), drill(3, 2, 32, 4)}, 4, 4, 49, 46.55, 51.45, "2s and 1 s for each 95 MiB of content"},
		{"without log", []Restored{drill(1, 0, 12, 2), drill(2, 0, 22, 2), drill(3, 0, 32, 2)}, 4, 4, 45, 42.75, 47.25, "replay (3 drills): 2s, however much log"},
		{"no fixed part below zero", []Restored{drill(1, 0, 5, 2), drill(2, 0, 20, 2), drill(3, 0, 35, 2)}, 3, 0, 3*150./14 + 3, 0, 0, "restore from disk (3 drills): 1 s for each 89 MiB"},
		{"no rate below zero", []Restored{drill(1, 0, 30, 2), drill(2, 0, 20, 2), drill(3, 0, 25, 2)}, 3, 0, 28, 0, 0, "(3 drills): 25s, however much content"},
	} {
		p, ok := Project(tt.drills, int64(tt.size*gb), int64(tt.log*gb))
		near := func(d time.Duration, want float64) bool { return math.Abs(d.Seconds()-want) < 1e-6*want }
		if !ok || !near(p.Duration, tt.want) || tt.high > 0 && (!near(p.Low, tt.low) || !near(p.High, tt.high)) || !strings.Contains(p.Model, tt.words) {
			t.Errorf("%s: %+v", tt.name, p)
		}
		if one := len(tt.drills) == 1; one != (p.Error == 1) {
			t.Errorf("%s: the error is %v", tt.name, p.Error)
		}
	}
	if p, ok := Project(nil, gb, gb); ok || p.Verdict(time.Hour) != Unknown {
		t.Error("nothing projects: ", p)
	}
	zero, ok := Project([]Restored{{}, {Restore: -time.Second, Size: -1}}, math.MaxInt64, math.MaxInt64)
	if !ok || zero.Duration != 0 || zero.Error != 1 {
		t.Errorf("of nothing: %+v", zero)
	}
	if huge, _ := Project([]Restored{drill(1e-9, 0, 1e6, 1)}, math.MaxInt64, 0); huge.Duration <= 0 || huge.High <= 0 {
		t.Errorf("of a lot: %+v", huge)
	}
}

// TestProjectionOfCopies takes the copy that is the slowest for the size, and names it.
func TestProjectionOfCopies(t *testing.T) {
	drills := []Restored{{Copy: "tape", Size: gb, Restore: 100 * time.Second}, {Copy: "disk", Size: gb, Restore: 10 * time.Second}, {Copy: "tape", Size: 2 * gb, Restore: 110 * time.Second},
		{Copy: "cloud", Size: gb, Restore: 50 * time.Second}}
	for size, want := range map[int64]string{gb: "tape", 8 * gb: "cloud"} {
		if p, _ := Project(drills, size, 0); p.Copy != want {
			t.Errorf("%d bytes: %+v", size, p)
		}
	}
}

func TestMeets(t *testing.T) {
	for _, tt := range []struct {
		measured, target time.Duration
		known            bool
		want             string
	}{{time.Hour, time.Hour, true, Passed}, {time.Hour + 1, time.Hour, true, Failed}, {0, time.Hour, false, Unknown}, {time.Hour, 0, true, Unknown}, {0, time.Hour, true, Passed}} {
		if got := Meets(tt.measured, tt.known, tt.target); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
	if RTO(calendar.Duration{}) != 4*time.Hour || RTO(calendar.Duration{N: 30, Unit: "m"}) != 30*time.Minute {
		t.Error("the RTO is another")
	}
	p := Projection{Low: time.Hour, Duration: 2 * time.Hour, High: 3 * time.Hour, Samples: 9}
	for target, want := range map[time.Duration]string{0: Unknown, time.Hour - 1: Failed, time.Hour: Unknown, 2 * time.Hour: Unknown, 3 * time.Hour: Passed} {
		if got := p.Verdict(target); got != want {
			t.Errorf("within %v: %s", target, got)
		}
	}
}
