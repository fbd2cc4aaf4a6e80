package calendar

import "testing"

// window is a Window as people write it.
func window(t *testing.T, from, to string, days ...string) Window {
	t.Helper()
	w := Always
	var err error
	if len(days) > 0 {
		if w.Days, err = ParseDays(days...); err != nil {
			t.Fatal(err)
		}
	}
	if w.From, err = ParseTime(from); err != nil {
		t.Fatal(err)
	}
	if w.To, err = ParseTime(to); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestOverlap(t *testing.T) {
	day := window(t, "08:00", "20:00")
	for _, tt := range []struct {
		a, b Window
		want string
	}{
		{day, window(t, "20:00", "08:00"), ""},
		{day, window(t, "19:59", "08:00", "tue"), "tue 19:59"},
		{day, window(t, "20:00", "08:01", "tue"), "wed 08:00"},
		{day, window(t, "09:00", "10:00", "sun"), "sun 09:00"},
		{window(t, "00:00", "24:00", "fri-mon"), window(t, "00:00", "24:00", "tue-thu"), ""},
		{window(t, "00:00", "24:00", "sun"), window(t, "23:00", "00:30", "sat"), "sun 00:00"},
		{window(t, "22:00", "02:00", "sat"), window(t, "01:00", "03:00", "sun"), "sun 01:00"},
		{window(t, "22:00", "02:00", "sat"), window(t, "02:00", "03:00", "sun"), ""},
	} {
		for _, pair := range [][2]Window{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got := pair[0].Overlap(pair[1]); got != tt.want {
				t.Errorf("%+v and %+v overlap on %q; want %q", pair[0], pair[1], got, tt.want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]int{"00:00": 0, "08:05": 485, "23:59": 1439, "24:00": 1440, "24:01": -1, "8:00": -1, "08:00:00": -1, "8": -1, "": -1} {
		if got, err := ParseTime(s); got != max(want, 0) || (err == nil) != (want >= 0) {
			t.Errorf("time %q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, word := range []string{"", "-", "monday", "mon-", "mon-fri-sat", "Mon"} {
		if got, err := ParseDays(word); err == nil {
			t.Errorf("days %q: %v", word, got)
		}
	}
}
