// Package daemon runs policies: it finds out what is due by package policies, does what changes the repository one after another, captures logs, and tells
// people. It owns goroutines, and knows no format. What a configuration names is opened by its Wiring.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/config"
	"lifeboat/internal/clock"
	"lifeboat/notify"
	"lifeboat/repository"
	"lifeboat/snapshot"
)

// Wiring opens what a configuration names. All of it is safe for concurrent use.
type Wiring interface {
	// Targets opens all targets; one that cannot be opened carries its error. Whoever called closes them.
	Targets(ctx context.Context, cfg *config.Config) ([]*repository.Copy, error)
	Source(cfg *config.Config, name string) (snapshot.Source, error)
	// Check reads a copy whole and notes what it found, as `lifeboat check` does. It returns how many things are damaged.
	Check(ctx context.Context, cfg *config.Config, target string) (damaged int, err error)
	// Drill makes a drill and keeps its report, which the next run that writes to the repository records. An error means that there is no report.
	Drill(ctx context.Context, cfg *config.Config, j DrillJob) (*DrillResult, error)
	// Bury removes what drills left that were killed, and keeps a report of each.
	Bury(ctx context.Context, cfg *config.Config) ([]DrillResult, error)
	// DrillHost opens the state directory of a drill host, and closing closes it.
	DrillHost(ctx context.Context, cfg *config.Config) (h *repository.DrillHost, closing func() error, err error)
}

// Options are what a daemon needs.
type Options struct {
	Load    func() (*config.Config, error) // reads and checks the configuration anew
	Reload  <-chan struct{}                // asks for it
	Wiring  Wiring
	Now     clock.Clock
	By      string // user and host, for the journal
	Version string
	// Drills says that this is a drill host: its daemon makes the drills of all policies, and does nothing else.
	Drills bool
	// Identity says that the Wiring has one, and drills can be made.
	Identity bool
	Log      *slog.Logger
	Notify   func(state string) // what a supervisor is told, as of sd_notify(3)
}

// The daemon looks at least this often whether something is due: clocks can be set.
const tick = time.Second

// stopGrace is how long a job that is under way may go on once the daemon is told to stop; then it is abandoned, which leaves garbage at most. What
// does not end then, because it waits for a disk or a peer that does not answer, ends abandonGrace later with the process.
const (
	stopGrace    = 30 * time.Second
	abandonGrace = 10 * time.Second
)

// Daemon is one that runs.
type Daemon struct {
	Options
	began   time.Time
	queue   *queue
	memory  *repository.Memory
	metrics *metrics
	wait    sync.WaitGroup // for all that it began

	strangers *strangers

	mu       sync.Mutex
	cfg      *config.Config
	sources  map[string]*source
	streams  map[string]*stream
	drills   map[string]*policyDrills // by policy
	targets  map[string]*targetState
	pruned   time.Time // when retention was last applied, or tried
	ticked   time.Time // when it last looked for what is due, by its clock,
	turned   time.Time // and by the system's, whatever was set
	watched  time.Time // when it was last looked for what is late
	ready    bool
	telling  *telling
	mute     error             // why not everybody can be told
	told     map[string]string // what is the matter, by key
	reloaded error             // why the newest configuration is not in use

	recorded *config.Config // whose policies are in the journal,
	record   time.Time      // and when it is tried again to record those in use

	hosts    bool      // there are drill hosts,
	entered  time.Time // and what they did was last entered then
	observed time.Time // on a drill host: when the copies were last read
}

// Run runs the policies until ctx ends. It refuses where another daemon has the state directory, or nothing was initialised there.
func Run(ctx context.Context, o Options) error {
	cfg, err := o.Load()
	if err != nil {
		return err
	}
	lock, err := lockState(cfg.StateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	d := &Daemon{Options: o, began: o.Now(), queue: newQueue(o.Now), memory: &repository.Memory{}, cfg: cfg, sources: map[string]*source{}, streams: map[string]*stream{}, targets: map[string]*targetState{}, told: map[string]string{}}
	d.metrics = newMetrics(d)
	d.strangers = &strangers{now: o.Now, by: o.By, log: o.Log, list: map[string]*stranger{}, note: func(n repository.Noted) error { return repository.Note(cfg.StateDir, n) }}
	if err := d.recall(cfg.StateDir); err != nil {
		return err
	}
	learn := func() error { return d.learn(ctx, cfg) }
	if o.Drills {
		learn = func() error { return d.observeFirst(ctx) }
	}
	if err := learn(); ctx.Err() != nil {
		return nil // an end that was asked for
	} else if err != nil {
		return err
	}
	return d.run(ctx, cfg)
}

// run starts everything, and ends it in the reverse order.
func (d *Daemon) run(ctx context.Context, cfg *config.Config) error {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	control, err := d.listen(cfg)
	if err != nil {
		return err
	}
	defer control.close()
	d.adopt(background, nil, cfg)
	d.bury()
	jobs, abandon := context.WithCancel(background)
	defer abandon()
	d.wait.Go(func() { d.queue.run(jobs) })
	d.mu.Lock()
	d.ready = true
	d.mu.Unlock()
	d.Log.Info("ready", "version", d.Version, "sources", len(cfg.Sources), "policies", len(cfg.Policies))
	d.Notify("READY=1")
	for ctx.Err() == nil {
		d.look()
		d.strangers.flush(false)
		d.Notify("WATCHDOG=1")
		d.watch(background)
		select {
		case <-ctx.Done():
		case <-d.Reload:
			d.reload(background)
		case <-time.After(d.pause()):
		case <-d.queue.changed:
		}
	}
	d.Notify("STOPPING=1")
	d.Log.Info("stopping", "running", d.queue.running())
	d.queue.close()
	select {
	case <-d.queue.idle():
	case <-time.After(stopGrace):
		d.Log.Warn("a job did not end in time and is abandoned; what it had not committed is taken again", "running", d.queue.running())
	}
	abandon()
	end()
	ended := make(chan struct{})
	go func() {
		d.wait.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(abandonGrace):
		d.Log.Warn("something does not end, and is left to the end of the process", "running", d.queue.running())
	}
	d.strangers.flush(true)
	d.keep()
	return nil
}

// adopt puts a configuration into use: notifications and streams are its own from now on. What did not change goes on.
func (d *Daemon) adopt(ctx context.Context, old, cfg *config.Config) {
	d.mu.Lock()
	d.cfg, d.record = cfg, time.Time{}
	maps.DeleteFunc(d.targets, func(name string, _ *targetState) bool {
		_, ok := cfg.Target(name)
		return !ok
	})
	d.mu.Unlock()
	d.notifications(ctx, cfg)
	if d.Drills {
		return
	}
	d.metrics.expect(cfg)
	d.streaming(ctx, old, cfg)
}

// reload reads the configuration anew. One with problems is not put into use.
func (d *Daemon) reload(ctx context.Context) {
	d.Notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic().Microseconds()))
	defer d.Notify("READY=1")
	cfg, err := d.Load()
	if err == nil {
		err = d.compatible(cfg)
	}
	d.mu.Lock()
	old := d.cfg
	d.reloaded = err
	d.mu.Unlock()
	if err != nil {
		d.Log.Error("the configuration was not read again: the one before stays in use", "error", err)
		return
	}
	changes := differences(old, cfg)
	if len(changes) == 0 {
		d.Log.Info("the configuration was read again: nothing changed")
	}
	for _, c := range changes {
		d.Log.Info("the configuration changed", "what", c)
	}
	d.adopt(ctx, old, cfg)
}

// compatible refuses what only a new start can change.
func (d *Daemon) compatible(cfg *config.Config) error {
	if cfg.StateDir != d.cfg.StateDir || cfg.Repository != d.cfg.Repository || cfg.Daemon != d.cfg.Daemon {
		return errors.New("repository, state_dir and daemon cannot change while the daemon runs: start it anew")
	}
	_, err := notify.Open(cfg.Notify)
	return err
}

// config is the configuration in use.
func (d *Daemon) config() *config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// pause is how long nothing can become due.
func (d *Daemon) pause() time.Duration {
	now := d.Now()
	next := now.Add(tick)
	for _, p := range d.config().Policies {
		if at := ScheduleOf(p).Next(now, p.Name); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return max(next.Sub(now), time.Millisecond)
}

// open opens the targets of the configuration in use, for one job. close closes them.
func (d *Daemon) open(ctx context.Context) (c repository.Config, closing func(), err error) {
	cfg := d.config()
	copies, err := d.Wiring.Targets(ctx, cfg)
	if err != nil {
		return c, nil, err
	}
	return d.hostConfig(cfg, copies), func() { CloseAll(copies) }, nil
}

// From is where a daemon acts from, for the journal.
const From = "daemon"

// hostConfig is what the repository is opened with.
func (d *Daemon) hostConfig(cfg *config.Config, copies []*repository.Copy) repository.Config {
	return repository.Config{StateDir: cfg.StateDir, Copies: copies, Now: d.Now, By: d.By, From: From, Memory: d.memory,
		Warn: func(err error) { d.Log.Warn("beside the job", "error", err) }}
}

// CloseAll closes targets that can be closed; what they hold was durable before.
func CloseAll(copies []*repository.Copy) {
	for _, c := range copies {
		if t, ok := c.Target.(interface{ Close() error }); ok {
			_ = t.Close() // nothing is written by it
		}
	}
}

// tell tells people something, and logs it the first time. That it cannot be noted is logged: it is told all the same.
func (d *Daemon) tell(e notify.Event) {
	e.Repository, e.Host, e.At = d.config().Repository, d.By, d.Now()
	level := slog.LevelWarn
	if e.Recovered || e.Severity == notify.Info {
		level = slog.LevelInfo
	}
	d.mu.Lock()
	t, before := d.telling, d.told[e.Key]
	if e.Recovered {
		delete(d.told, e.Key)
	} else {
		d.told[e.Key] = e.Title
	}
	d.mu.Unlock()
	if (before != "") == e.Recovered {
		d.Log.Log(context.Background(), level, e.Title, "kind", e.Kind, "detail", e.Detail)
	}
	if t == nil {
		return
	}
	if err := t.notifier.Tell(e); err != nil {
		d.Log.Error("the state of notifications cannot be kept", "error", fmt.Errorf("%s: %w", e.Title, err))
	}
}

// monotonic is the time of CLOCK_MONOTONIC, by which a supervisor tells a reload from one that it missed.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // it cannot fail; a supervisor then waits in vain, and goes on
	}
	return time.Duration(ts.Nano())
}
