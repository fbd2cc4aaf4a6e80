package notify

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestToldOnce tells the same things again and again. What must not be told would come before what must.
func TestToldOnce(t *testing.T) {
	s := serveWeb(t, status(200, ""))
	r := rigUp(t, stateIn(t), newHands(), s.URL).run()
	late := Event{Key: "late/crm", Severity: Warning, Title: "late"}
	over := Event{Key: "late/crm", Severity: Info, Title: "in time again", Recovered: true}
	r.tell(over) // nobody knew
	r.tell(late)
	r.wants(s, "warning: late")
	for range 23 {
		r.clock.move(time.Hour)
		late.Detail += "." // this does not count
		r.tell(late)
	}
	late.Severity = Critical
	r.tell(late)
	r.wants(s, "critical: late")
	late.Title = "very late"
	r.tell(late)
	r.wants(s, "critical: very late")
	r.clock.move(24*time.Hour - 1)
	r.tell(late)
	r.clock.move(1)
	r.tell(late)
	r.wants(s, "still critical: very late")
	r.clock.move(-48 * time.Hour)
	r.tell(late)
	r.wants(s, "still critical: very late")
	r.tell(over)
	r.tell(over)
	r.wants(s, "recovered: in time again")
	r.tell(late)
	r.wants(s, "critical: very late")
	for range 2 {
		r.tell(Event{Severity: Info, Title: "a drill passed"})
		r.wants(s, "info: a drill passed")
	}
	if err := r.end(); err != nil || len(s.got) > 0 || len(r.failures) > 0 {
		t.Errorf("%v, %d more, %d failures", err, len(s.got), len(r.failures))
	}
}

// TestTwentyAnHour tells more than people would read.
func TestTwentyAnHour(t *testing.T) {
	s := serveWeb(t, status(200, ""))
	r := rigUp(t, stateIn(t), newHands(), s.URL)
	for i := range 32 {
		r.tell(Event{Key: fmt.Sprint(i), Severity: []Severity{Warning, Critical}[i/31], Title: fmt.Sprint("trouble ", i)})
	}
	r.run()
	for i := range perHour - 1 {
		r.wants(s, fmt.Sprint("warning: trouble ", i))
	}
	d := event(t, s)
	if d.Kind != Digest || d.Severity != Critical || d.Title != "trouble 19, and 12 more" || len(d.Gathered) != 13 || d.Gathered[12].Title != "trouble 31" || d.Gathered[12].Key != "31" {
		t.Errorf("%+v", d)
	}
	r.idle()
	r.clock.move(30 * time.Minute)
	r.tell(Event{Key: "0", Severity: Info, Title: "over", Recovered: true})
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if batch, wait := r.next(r.lines[0]); batch != nil || wait != 30*time.Minute {
		t.Errorf("%d events after %v", len(batch), wait)
	}
	r = rigUp(t, r.file, r.clock, s.URL) // a restart does not lift the limit
	if batch, wait := r.next(r.lines[0]); batch != nil || wait != 30*time.Minute {
		t.Errorf("after a restart: %d events after %v", len(batch), wait)
	}
	r.clock.move(30 * time.Minute)
	r.run().wants(s, "recovered: over")
}

// TestRestart loses nothing and repeats nothing.
func TestRestart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	clock, file := newHands(), stateIn(t)
	first := rigUp(t, file, clock, down).run()
	first.tell(trouble)
	if f := next(t, first.failures); f.Final || len(f.Events) != 1 || f.Events[0].Key != trouble.Key || !strings.Contains(f.Err.Error(), "connection refused") || strings.Contains(fmt.Sprint(f), token) {
		t.Errorf("%+v", f)
	}
	if err := first.end(); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), token) {
		t.Errorf("%v, %s", err, b)
	}
	killed := rigUp(t, file, clock, down) // never runs, as if killed
	killed.tell(Event{Key: "late/crm", Severity: Warning, Title: "late"})

	s := serveWeb(t, status(200, ""))
	again, err := net.Listen("tcp", strings.TrimPrefix(down, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	up := &http.Server{Handler: s.Config.Handler}
	served := make(chan error, 1)
	go func() { served <- up.Serve(again) }()
	defer func() {
		if err := errors.Join(up.Close(), next(t, served)); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	clock.move(8 * time.Hour) // longer than anybody tries
	second := rigUp(t, file, clock, down, s.URL).run()
	second.wants(s, "critical: "+trouble.Title)
	second.wants(s, "warning: late")
	second.idle()
	if err := second.end(); err != nil {
		t.Error(err)
	}
	third := rigUp(t, file, clock, down, s.URL).run()
	third.tell(trouble) // to the channel that is new
	third.wants(s, "critical: "+trouble.Title)
	over := trouble
	over.Recovered, over.Title = true, "crm is backed up again"
	third.tell(over)
	third.wants(s, "recovered: "+over.Title)
	third.wants(s, "recovered: "+over.Title)
	if err := third.end(); err != nil || len(s.got) > 0 {
		t.Errorf("%v, %d more", err, len(s.got))
	}
}

// TestOneHangs is about a channel that takes for ever beside one that works, and then works.
func TestOneHangs(t *testing.T) {
	release := make(chan struct{})
	hanging := serveWeb(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	s := serveWeb(t, status(200, ""))
	r := rigUp(t, stateIn(t), newHands(), hanging.URL, s.URL)
	r.pace.limit = 20 * time.Millisecond
	r.run()
	for i := range 5 {
		r.tell(Event{Severity: Info, Title: fmt.Sprint(i)})
		r.wants(s, fmt.Sprint("info: ", i))
	}
	for range 2 {
		if f := next(t, r.failures); f.Final || f.Channel != r.lines[0].channel.Name() || !strings.HasSuffix(f.Err.Error(), "no answer within 20ms") {
			t.Errorf("%+v", f)
		}
	}
	close(release)
	for last := 0; last < 4; {
		e := event(t, hanging)
		if e.Title == fmt.Sprint(last+1) {
			last++
		} else if e.Title != fmt.Sprint(last) {
			t.Fatalf("%s after %d", e.Title, last)
		}
	}
}

// TestRefused is about what is not tried again at once, and about what follows.
func TestRefused(t *testing.T) {
	answers := make(chan int, 10)
	s := serveWeb(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-answers) })
	r := rigUp(t, stateIn(t), newHands(), s.URL).run()
	over := trouble
	over.Recovered = true

	answers <- 404
	r.tell(trouble)
	r.wants(s, "critical: "+trouble.Title)
	if f := next(t, r.failures); !f.Final || f.Events[0].Key != trouble.Key || !strings.Contains(f.Err.Error(), "answered 404") {
		t.Errorf("%+v", f)
	}
	r.clock.move(time.Hour - 1)
	r.tell(trouble)
	r.clock.move(1)
	answers <- 500
	answers <- 204
	r.tell(trouble)
	r.wants(s, "critical: "+trouble.Title)
	r.wants(s, "critical: "+trouble.Title)
	if f := next(t, r.failures); f.Final || !strings.Contains(f.Err.Error(), "answered 500") {
		t.Errorf("%+v", f)
	}
	answers <- 404
	r.tell(Event{Key: "x", Severity: Info, Title: "x"})
	r.wants(s, "info: x")
	if f := next(t, r.failures); !f.Final {
		t.Errorf("%+v", f)
	}
	r.tell(Event{Key: "x", Severity: Info, Title: "no x", Recovered: true}) // nobody was told of x
	answers <- 200
	r.tell(over)
	r.wants(s, "recovered: "+over.Title)
	if err := r.end(); err != nil || len(s.got) > 0 || len(r.failures) > 0 {
		t.Errorf("%v, %d more, %d failures", err, len(s.got), len(r.failures))
	}
}

// TestGivenUp is about messages that waited for longer than anybody tries; the time before a restart does not count.
func TestGivenUp(t *testing.T) {
	answers := make(chan int, 10)
	s := serveWeb(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-answers) })
	clock, file := newHands(), stateIn(t)
	rigUp(t, file, clock, s.URL).tell(trouble)
	clock.move(8 * time.Hour)
	r := rigUp(t, file, clock, s.URL).run()
	answers <- 500
	answers <- 200
	r.idle()
	if f := next(t, r.failures); f.Final || len(s.got) != 2 || r.end() != nil {
		t.Errorf("after a restart: %d tries, %+v", len(s.got), f)
	}
	r = rigUp(t, file, clock, s.URL)
	r.tell(Event{Key: "x", Severity: Info, Title: "x"})
	clock.move(8 * time.Hour)
	answers <- 500
	r.run().idle()
	if f := next(t, r.failures); !f.Final || len(s.got) != 3 || !r.lines[0].state.Open["x"].Lost || r.lines[0].state.Open[trouble.Key].Lost {
		t.Errorf("%d tries, %+v, %+v", len(s.got), f, r.lines[0].state)
	}
}

// TestQueueIsBounded keeps the newest of what a channel that is down was told.
func TestQueueIsBounded(t *testing.T) {
	r := rigUp(t, stateIn(t), newHands(), "http://hook.invalid")
	r.lines[0].flying = 1
	for i := range maxQueue + 2 {
		r.lines[0].push(Event{Title: fmt.Sprint(i)}, r.clock.now())
	}
	r.tell(Event{Title: "last"})
	f := next(t, r.failures)
	q := r.lines[0].state.Queue
	if len(q) != maxQueue || q[0].Event.Title != "0" || q[1].Event.Title != "4" || q[maxQueue-1].Event.Title != "last" || f.Events[0].Title != "3" || !f.Final || !errors.Is(f.Err, errFull) {
		t.Errorf("%d events, the first ones %s and %s, dropped %+v", len(q), q[0].Event.Title, q[1].Event.Title, f)
	}
}

// TestStateFile is about state that cannot be read or written.
func TestStateFile(t *testing.T) {
	file := stateIn(t)
	for text, want := range map[string]string{"{": "is damaged: remove it", `{"version":2}`: "version 2"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(nil, file, newHands().now); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := os.WriteFile(file, []byte(`{"version":1,"channels":{"webhook a":null,"webhook b":{}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := rigUp(t, file, newHands(), "http://a", "http://b")
	r.tell(trouble)
	twins := []Channel{r.lines[0].channel, r.lines[0].channel}
	if _, err := New(twins, file, r.clock.now); err == nil || !strings.Contains(err.Error(), "two channels are called webhook a") {
		t.Errorf("%v", err)
	}

	s := serveWeb(t, status(200, ""))
	dir := filepath.Join(t.TempDir(), "gone")
	r = rigUp(t, filepath.Join(dir, "notify.json"), newHands(), s.URL).run()
	if err := r.Tell(trouble); err == nil || !strings.Contains(err.Error(), "note what was notified") {
		t.Errorf("%v", err)
	}
	r.wants(s, "critical: "+trouble.Title) // all the same
	if f := next(t, r.failures); len(f.Events) > 0 || !strings.Contains(f.Err.Error(), "note what was notified") {
		t.Errorf("%+v", f)
	}
	if err := r.end(); err == nil {
		t.Error("the end does not say that the state was not written")
	}
}

// TestManyTell has several goroutines tell the same.
func TestManyTell(t *testing.T) {
	s := serveWeb(t, status(200, ""))
	r := rigUp(t, stateIn(t), newHands(), s.URL).run()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 5 {
				r.tell(Event{Key: fmt.Sprint(i), Severity: Info, Title: fmt.Sprint(i)})
			}
		})
	}
	all.Wait()
	got := map[string]int{}
	for range 5 {
		got[event(t, s).Title]++
	}
	if err := r.end(); err != nil || len(got) != 5 || len(s.got) > 0 {
		t.Errorf("%v, %v, %d more", err, got, len(s.got))
	}
}
