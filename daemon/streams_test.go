package daemon

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"lifeboat/config"
	"lifeboat/internal/clock"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/snapshot"
)

// hung is a Wiring whose sources and checks hang, as a disk does that went away, until the test ends.
type hung struct {
	Wiring
	called, checks chan struct{}
	release        <-chan struct{}
}

func (s hung) Source(*config.Config, string) (snapshot.Source, error) {
	s.called <- struct{}{}
	<-s.release
	return nil, context.Canceled
}

func (hung) Targets(context.Context, *config.Config) ([]*repository.Copy, error) { return nil, nil }

func (s hung) Check(context.Context, *config.Config, string) (int, error) {
	s.checks <- struct{}{}
	<-s.release
	return 0, context.Canceled
}

// TestStreamHangs changes a source whose capture does not end: whoever reloads does not wait for it, and the next one begins only behind it.
func TestStreamHangs(t *testing.T) {
	of := func(slot string) *config.Config {
		return &config.Config{Sources: []config.Source{{Name: "crm", Engine: config.Postgres, Path: slot}}, Policies: []config.Policy{{Name: "crm", Sources: []string{"crm"}, Logs: "continuous"}}}
	}
	release := make(chan struct{})
	w := hung{nil, make(chan struct{}, 10), make(chan struct{}, 10), release}
	d := &Daemon{Options: Options{Wiring: w, Now: clock.System, Log: slog.New(slog.DiscardHandler)}, streams: map[string]*stream{}, cfg: of("")}
	ctx, end := context.WithCancel(t.Context())
	defer d.wait.Wait()
	defer end()
	defer close(release)
	d.streaming(ctx, nil, of(""))
	<-w.called
	done := make(chan struct{})
	go func() {
		d.streaming(ctx, of(""), of("other"))
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a reload waits for a capture that does not end")
	}
	select {
	case <-w.called:
		t.Error("two captures of a source at once")
	default:
	}
}

// TestChecksLeaveRoom begins a backup although more copies are being checked, or are to be, than jobs run at once.
func TestChecksLeaveRoom(t *testing.T) {
	release := make(chan struct{})
	w := hung{nil, make(chan struct{}, 10), make(chan struct{}, 10), release}
	cfg := &config.Config{Sources: []config.Source{{Name: "crm"}}}
	d := &Daemon{Options: Options{Wiring: w, Now: clock.System, Log: slog.New(slog.DiscardHandler)}, queue: newQueue(clock.System), cfg: cfg, targets: map[string]*targetState{}}
	ctx, end := context.WithCancel(t.Context())
	defer d.wait.Wait()
	defer close(release)
	defer end()
	for _, target := range []string{"disk", "cloud", "vault"} {
		d.enqueueCheck(target)
	}
	d.wait.Go(func() { d.queue.run(ctx) })
	<-w.checks
	d.enqueueBackup(config.Policy{}, "crm", policies.Run{})
	select {
	case <-w.called:
	case <-time.After(time.Minute):
		t.Fatal("a backup waits for checks")
	}
	if n := len(d.queue.running()); n != 2 {
		t.Errorf("%d jobs run at once", n)
	}
}
