package sftp

import "time"

// WithBeat makes keep-alives more frequent than tests would like to wait for.
func WithBeat(cfg Config, beat time.Duration) Config {
	cfg.beat = beat
	return cfg
}
