package restore

import (
	"bytes"
	"testing"
)

func FuzzParsePoint(f *testing.F) {
	for _, s := range []string{"", "latest", "s7", "snapshot:s7", "2026-11-20T14:03:22Z", "2026-11-20 14:03:22.5+08:00", "2026-11-20 14:03", "lsn:0/1", "snapshot:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePoint(s)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{p.Latest, p.Seq != 0, !p.Time.IsZero()} {
			if is {
				set++
			}
		}
		if set > 1 {
			t.Errorf("%q is several points at once: %+v", s, p)
		}
		if p.Seq != 0 {
			if again, err := ParsePoint("snapshot:" + FormatID(p.Seq)); err != nil || again != p {
				t.Errorf("%q is %+v, and then %+v (%v)", s, p, again, err)
			}
		}
		all := []Candidate{{Seq: 1, Taken: p.Time.Add(-1)}, {Seq: 7, Taken: p.Time}, {Seq: 9, Taken: p.Time.Add(1)}}
		if c, err := Choose(all, p); err == nil && (p.Latest && c.Seq != 9 || p.Seq != 0 && c.Seq != p.Seq || set == 0 && c.Seq != 7) {
			t.Errorf("%q chooses %d", s, c.Seq)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("s1")
	f.Add("s18446744073709551615")
	f.Add("s+1")
	f.Fuzz(func(t *testing.T, s string) {
		seq, err := ParseID(s)
		if err != nil {
			return
		}
		if again, err := ParseID(FormatID(seq)); err != nil || again != seq || seq == 0 {
			t.Errorf("%q is %d, and then %d (%v)", s, seq, again, err)
		}
	})
}

func FuzzStep(f *testing.F) {
	f.Add(make([]byte, stepSize))
	f.Add(bytes.Repeat([]byte{0xff}, stepSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < stepSize {
			return
		}
		s := parseStep(b)
		if got := s.append(nil); !bytes.Equal(got, b[:stepSize]) {
			t.Errorf("%x becomes %x", b[:stepSize], got)
		}
		if s.compare(s) != 0 {
			t.Error("it is not equal to itself")
		}
	})
}
