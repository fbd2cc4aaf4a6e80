package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lifeboat/notify"
)

func (a *app) notify() *cobra.Command {
	c := &cobra.Command{Use: "notify", Short: "The channels by which people are told", Args: cobra.NoArgs}
	c.AddCommand(a.notifyTest())
	return c
}

// channelRow is what came of testing one channel, in JSON.
type channelRow struct {
	Channel string `json:"channel"`
	Taken   bool   `json:"taken"`
	Answer  string `json:"answer"`
	Error   string `json:"error,omitempty"`
}

func (a *app) notifyTest() *cobra.Command {
	c := &cobra.Command{
		Use:   "test",
		Short: "Send a test message by every channel and say what came of it",
		Long: "Sends one message by each channel of notify in the configuration, all at once, and says of each whether it was taken and what the peer " +
			"answered. That it was taken does not say that somebody reads it: look whether it arrived.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			channels, err := notify.Open(cfg.Notify)
			if err != nil {
				return usageError{err}
			}
			if len(channels) == 0 {
				return usagef("no channel is configured: write notify: [{webhook: https://...}] or another one into the configuration, see doc/notifications.md")
			}
			rows := testChannels(c.Context(), channels)
			if err := c.Context().Err(); err != nil {
				return err
			}
			return a.tested(rows)
		},
	}
	return a.jsonFlag(c)
}

// testChannels sends a test by each channel, by all at the same time: each may take half a minute.
func testChannels(ctx context.Context, channels []notify.Channel) []channelRow {
	rows := make([]channelRow, len(channels))
	var all sync.WaitGroup
	for i, ch := range channels {
		all.Go(func() {
			answer, err := notify.Test(ctx, ch)
			rows[i] = channelRow{Channel: ch.Name(), Taken: err == nil, Answer: answer}
			if err != nil {
				rows[i].Error = err.Error()
			}
		})
	}
	all.Wait()
	return rows
}

func (a *app) tested(rows []channelRow) error {
	var err error
	var failed []string
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		verdict, detail := "taken", r.Answer
		if !r.Taken {
			failed = append(failed, r.Channel)
			verdict, detail = "failed", r.Error
		}
		if !a.json {
			fmt.Fprintf(w, "%s\t%s\t%s\n", verdict, r.Channel, detail)
		}
	}
	if a.json {
		err = a.printJSON(rows)
	} else {
		err = w.Flush()
	}
	if len(failed) > 0 {
		err = errors.Join(err, verdictError{fmt.Errorf("the test was not taken by %s: people would not have been told", strings.Join(failed, " and "))})
	}
	return err
}
