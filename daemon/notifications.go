package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"lifeboat/config"
	"lifeboat/notify"
)

// notifications begins to tell people by the channels of a configuration, where they are not those in use. Backups do not wait for channels that cannot be
// opened: that is logged and shown.
func (d *Daemon) notifications(ctx context.Context, cfg *config.Config) {
	d.mu.Lock()
	same := d.telling != nil && d.mute == nil && reflect.DeepEqual(d.telling.to, cfg.Notify)
	old := d.telling
	d.mu.Unlock()
	if same {
		return
	}
	if old != nil {
		old.cancel()
		<-old.ended
	}
	channels, closed := notify.Open(cfg.Notify)
	if closed != nil {
		d.Log.Error("not everybody can be notified", "error", closed)
	}
	state := filepath.Join(cfg.StateDir, "notify.json")
	n, err := notify.New(channels, state, d.Now)
	if err != nil { // to be told twice is better than not to be told
		d.Log.Error("what people were told is not known any more, and may be told again", "error", errors.Join(err, os.Rename(state, state+".damaged")))
		n, err = notify.New(channels, state, d.Now)
	}
	if err != nil {
		d.Log.Error("nobody can be notified", "error", err)
		d.mu.Lock()
		d.telling, d.mute = nil, fmt.Errorf("nobody: %w", err) // the next configuration tries again
		d.mu.Unlock()
		return
	}
	n.Failed = func(f notify.Failure) {
		d.Log.Error("a notification was not sent", "channel", f.Channel, "events", len(f.Events), "given_up", f.Final, "error", f.Err)
		d.metrics.notifications.WithLabelValues(f.Channel).Inc()
	}
	for _, c := range channels {
		d.metrics.notifications.WithLabelValues(c.Name())
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &telling{notifier: n, to: cfg.Notify, cancel: cancel, ended: make(chan struct{})}
	d.mu.Lock()
	d.telling, d.mute = t, closed
	d.mu.Unlock()
	d.wait.Go(func() {
		defer close(t.ended)
		defer cancel()
		if err := n.Run(ctx); err != nil {
			d.Log.Error("the state of notifications cannot be kept", "error", err)
		}
	})
}

// telling is a Notifier that runs.
type telling struct {
	notifier *notify.Notifier
	to       []config.Notify
	cancel   context.CancelFunc
	ended    chan struct{}
}
