package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/config"
	"lifeboat/internal/testenv"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
)

func (x *fixture) forecast(args ...string) (r planReport) {
	x.t.Helper()
	x.must(json.Unmarshal([]byte(x.want(0, append([]string{"policy", "plan", "--json"}, args...)...).out), &r))
	return r
}

// TestPlanBeginsWithTheJournal compares the first evening of a plan in which nothing runs with what prune says of the same snapshots.
func TestPlanBeginsWithTheJournal(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	x.must(os.WriteFile(x.path("lifeboat.yaml"), append(x.read("lifeboat.yaml"), "policies:\n  p: {sources: [crm], retention: {daily: 2d, weekly: 2w, allow_below_90d: a test}}\n"...), 0o600))
	var stored, size []int64
	for i, hours := range []int{0, 1, 22, 44, 45, 66, 88, 109, 110} {
		x.shift = time.Duration(hours) * time.Hour
		x.must(churnRows(t.Context(), x.path("crm.db"), uint64(i), 20))
		var s snapshotRow
		x.must(json.Unmarshal([]byte(x.want(0, "backup", "crm", "--json").out), &s))
		stored, size = append(stored, s.Stored), append(size, s.Size)
		if i == 1 {
			x.want(0, "hold", "add", s.ID, "--reason", "a test")
		}
	}
	compare := func() (drops int) {
		t.Helper()
		var pruning pruneReport
		x.must(json.Unmarshal([]byte(x.want(0, "prune", "--dry-run", "--json").out), &pruning))
		drops, _ = pruning.drops()
		s := x.forecast("--days", "1").Sources[0]
		if d := s.Days[0]; d.Dropped != drops || d.Snapshots != len(pruning.Snapshots)-drops || d.Kept["held"] != 1 || s.Snapshots != len(pruning.Snapshots) {
			t.Errorf("the plan drops %d and keeps %v of %d, prune drops %d of %d", d.Dropped, d.Kept, s.Snapshots, drops, len(pruning.Snapshots))
		}
		return drops
	}
	if compare() < 3 {
		t.Error("too little is dropped for a test")
	}
	sum := int64(0)
	for _, n := range stored {
		sum += n
	}
	s := x.forecast("--days", "1").Sources[0]
	full := int64(float64(stored[0]) * float64(size[len(size)-1]) / float64(size[0]))
	if !s.Known || s.Full != full || s.Increment != (sum-stored[0])/int64(len(stored)-1) || *s.Days[0].Bytes != sum {
		t.Errorf("sizes %+v of %v", s, stored)
	}
	x.want(0, "prune", "--yes")
	if compare() != 0 {
		t.Error("something is left to drop")
	}
	if after := x.forecast("--days", "1").Sources[0]; *after.Days[0].Bytes != sum || after.Increment != s.Increment {
		t.Errorf("after the drop the model has other sizes: %+v, not %d", after, sum)
	}
}

// TestPlanRemembersWhatWasDropped plans no second full snapshot for the time that one served which retention or somebody dropped since.
func TestPlanRemembersWhatWasDropped(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.must(os.WriteFile(x.path("lifeboat.yaml"), append(x.read("lifeboat.yaml"), "policies:\n  p: {sources: [crm], schedule: {full: '@yearly', incremental: '@hourly', timezone: UTC}}\n"...), 0o600))
	a := &app{out: io.Discard, err: io.Discard, now: time.Now, file: x.path("lifeboat.yaml")}
	h, err := a.host(t.Context())
	x.must(err)
	hour := time.Now().UTC().Truncate(time.Hour)
	for _, due := range []time.Time{time.Date(hour.Year(), 1, 1, 0, 0, 0, 0, time.UTC), hour} {
		src, _, err := a.source("crm")
		x.must(err)
		_, err = h.Backup(t.Context(), repository.Backup{Name: "crm", Engine: "sqlite", Source: src, Full: due != hour, Due: due})
		x.must(err)
	}
	x.must(h.Close())
	for _, drop := range []bool{false, true} {
		if drop {
			x.want(0, "forget", "s2", "--yes")
		}
		if d := x.forecast("--days", "1").Sources[0].Days[0]; len(d.Full) != 0 {
			t.Errorf("dropped %v: full snapshots at %v", drop, d.Full)
		}
	}
}

// TestPlanLog tells from when on every second of a live cluster can be restored, by what was captured.
func TestPlanLog(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresVersion(t, "15"))
	x.must(os.WriteFile(x.path("lifeboat.yaml"), append(x.read("lifeboat.yaml"), "policies:\n  crm: {sources: [crm], logs: continuous, retention: {pitr: 30d, daily: 90d}}\n"...), 0o600))
	e := &entries{pg: pg, named: map[string]int{}}
	taken := func(shift time.Duration) time.Time {
		x.shift = shift
		var s struct{ Taken time.Time }
		x.must(json.Unmarshal([]byte(x.want(0, "backup", "crm", "--json").out), &s))
		return s.Taken
	}
	log := func() {
		end := x.stream()
		e.add(t, 3)
		x.caught(pg)
		end(syscall.SIGTERM)
	}
	since := func() time.Time {
		t.Helper()
		return *x.forecast("--days", "2").Sources[0].Days[1].EarliestPoint
	}
	first := taken(0)
	log()
	if got := since(); got.Before(first) || got.After(time.Now()) {
		t.Errorf("every second since %s, and the log begins at %s", got, first)
	}
	second := taken(2 * time.Hour)
	log()
	if got := since(); !got.Before(second) {
		t.Errorf("every second since %s, and the log leads on from %s", got, first)
	}
	r := x.forecast("--days", "1").Sources[0]
	if r.LogPerDay <= 0 || r.Full <= 0 || r.Snapshots != 2 {
		t.Errorf("the plan knows %+v", r)
	}
	e.add(t, 3) // not captured yet
	third := taken(4 * time.Hour)
	if got := since(); got.Before(third) {
		t.Errorf("every second since %s, and no log leads to %s", got, third)
	}
	log() // that, too
	if got := since(); !got.Before(second) {
		t.Errorf("every second since %s, and the log leads on from %s", got, first)
	}
}

func TestSizesOf(t *testing.T) {
	entry := func(stored, size int64) journal.Entry {
		return journal.Entry{Record: journal.Record{Snapshot: &journal.SnapshotBody{Stored: stored, Size: size}}}
	}
	for _, tt := range []struct {
		all  []journal.Entry
		want policies.Sizes
	}{
		{[]journal.Entry{entry(100, 1000)}, policies.Sizes{Full: 100}},
		{[]journal.Entry{entry(100, 1000), entry(10, 2000), entry(20, 3000)}, policies.Sizes{Full: 300, Increment: 15}},
		{[]journal.Entry{entry(10, 100), entry(100, 1000), entry(20, 500)}, policies.Sizes{Full: 50, Increment: 15}},
		{[]journal.Entry{entry(0, 0), entry(0, 0)}, policies.Sizes{}},
		{append([]journal.Entry{entry(100, 1000)}, slices.Repeat([]journal.Entry{entry(7, 1000)}, 300)...), policies.Sizes{Full: 100, Increment: 7}},
		{append([]journal.Entry{entry(100, 1000), entry(90, 1000)}, slices.Repeat([]journal.Entry{entry(7, 1000)}, 300)...), policies.Sizes{Full: 100, Increment: 7}},
	} {
		if got := sizesOf(tt.all); got != tt.want {
			t.Errorf("%d snapshots: %+v, want %+v", len(tt.all), got, tt.want)
		}
	}
}

// pageOf plays a configuration through without a repository, and reads its page: the texts by the element that they stand in, and how
// often each element is there, of which some by their id.
func pageOf(t *testing.T, text string, days int, sizes policies.Sizes) (page string, texts map[string][]string, count map[string]int) {
	t.Helper()
	cfg, err := config.Parse("lifeboat.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	now, zone := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), planZone(cfg)
	r := &planReport{Repository: cfg.Repository, Now: now, Zone: zoneWords(zone), Assumed: assumptions(zone)}
	r.note("a <note>")
	for _, s := range forecasts(cfg, past{}, now) {
		s.forecast.Sizes, s.Known = sizes, sizes != policies.Sizes{}
		s.play(now, zone, days)
		r.Sources = append(r.Sources, s)
	}
	r.sum()
	for _, p := range cfg.Policies {
		r.policies = append(r.policies, meaning(cfg, p, now))
	}
	b, err := renderPage(r)
	if err != nil {
		t.Fatal(err)
	}
	texts, count = map[string][]string{}, map[string]int{}
	in := []string{}
	for d := xml.NewDecoder(strings.NewReader(string(b))); ; { // the page is well-formed
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return string(b), texts, count
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		switch v := token.(type) {
		case xml.StartElement:
			in = append(in, v.Name.Local)
			count[v.Name.Local]++
			for _, a := range v.Attr {
				if a.Name.Local == "id" {
					count["#"+a.Value]++
				}
				if slices.Contains([]string{"src", "href", "srcset", "action"}, a.Name.Local) || strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "ZgotmplZ") {
					t.Errorf("<%s %s=%q>", v.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			in = in[:len(in)-1]
		case xml.CharData:
			if len(in) > 0 {
				texts[in[len(in)-1]] = append(texts[in[len(in)-1]], string(v))
			}
		}
	}
}

func TestPlanPage(t *testing.T) {
	text := strings.Replace(soundPolicy, "daily: 90d", `daily: 60d, allow_below_90d: "<script>alert(1)</script>"`, 1)
	for _, days := range []int{1, 2, 60, 400} {
		page, texts, count := pageOf(t, text, days, policies.Sizes{Full: 5 << 30, Increment: 9 << 20, LogPerDay: 1 << 30})
		if count["rect"] != days || count["#calendar"]+count["#kept"]+count["#size"]+count["#days"]+count["#sources"]+count["#assumed"] != 6 || count["script"] > 0 || strings.Contains(page, "http:") || strings.Contains(page, "https:") {
			t.Errorf("%d days: %v", days, count)
		}
		if n := count["tr"]; n != days+1+2 {
			t.Errorf("%d rows of %d days", n, days)
		}
		for _, want := range []string{"less than one a day for 90 days is enough, because: <script>alert(1)</script>", "the log is captured, so that any second of the last 30 days can be restored"} {
			if !slices.Contains(texts["li"], want) {
				t.Errorf("it does not say %q", want)
			}
		}
		if !slices.Contains(texts["p"], "a <note>") {
			t.Error("the note is missing")
		}
		if days == 60 {
			for element, want := range map[string]string{"td": "Wed 2027-01-20", "text": "1 F, 24 I", "li": "daily: 30"} {
				if !slices.Contains(texts[element], want) {
					t.Errorf("no <%s> with %q: %q", element, want, texts[element])
				}
			}
		}
	}
	_, texts, count := pageOf(t, text, 3, policies.Sizes{})
	if count["#size"] != 1 || !slices.Contains(texts["figcaption"], "Not known: there is no snapshot yet.") {
		t.Errorf("without sizes: %v", texts["figcaption"])
	}
	if _, texts, count = pageOf(t, soundPolicy[:strings.Index(soundPolicy, "policies")], 3, policies.Sizes{}); count["svg"] != 0 || !slices.Contains(texts["p"], "There is none: nothing runs by itself.") {
		t.Errorf("without policies: %v", count)
	}
}

func TestScale(t *testing.T) {
	for _, most := range []float64{0, 1, 2, 3, 9.5, 10, 11, 99, 444, 1000, 123456} {
		top, step := scale(most)
		if n := top / step; top < most || n < 1 || n > 5.5 || most > 0 && top > 2.1*most && top > 1 {
			t.Errorf("%g: up to %g by %g", most, top, step)
		}
	}
}

// TestPlanZone takes the zone of all policies, and UTC for several.
func TestPlanZone(t *testing.T) {
	for zones, want := range map[string]string{"Asia/Shanghai": "Asia/Shanghai", "Asia/Shanghai Asia/Shanghai": "Asia/Shanghai", "Asia/Shanghai Europe/Berlin Asia/Shanghai": "UTC", "": "UTC"} {
		cfg := &config.Config{}
		for name := range strings.FieldsSeq(zones) {
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Policies = append(cfg.Policies, config.Policy{Name: fmt.Sprint(len(cfg.Policies)), Schedule: config.Schedule{Zone: zone}})
		}
		if got := planZone(cfg).String(); got != want {
			t.Errorf("%q: %s, want %s", zones, got, want)
		}
	}
}
