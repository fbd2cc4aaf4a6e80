package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lifeboat/snapshot"
)

// findingRow is a preflight's result in JSON.
type findingRow struct {
	Check  string `json:"check"`
	Level  string `json:"level"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

func (a *app) doctor() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor SOURCE",
		Short: "Run every preflight of a source and say what to change",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			src, cfg, err := a.source(args[0])
			if err != nil {
				return err
			}
			patient, ok := src.(interface {
				Doctor(ctx context.Context) []snapshot.Finding
			})
			if !ok {
				return usagef("source %s: engine %s has no preflights in this version", args[0], cfg.Engine)
			}
			bad := false
			rows := []findingRow{}
			for _, f := range patient.Doctor(c.Context()) {
				rows = append(rows, findingRow{f.Name, string(f.Level), f.Detail, strings.ReplaceAll(f.Fix, "<source>", args[0])})
				bad = bad || f.Level == snapshot.Fail
			}
			if err := c.Context().Err(); err != nil {
				return err // what was not examined any more is not well because of that
			}
			if a.json {
				err = a.printJSON(rows)
			} else {
				w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				for _, r := range rows {
					fmt.Fprintf(w, "%s\t%s\t%s\n", r.Level, r.Check, r.Detail)
					if r.Fix != "" {
						fmt.Fprintf(w, "\t\tfix: %s\n", r.Fix)
					}
				}
				err = w.Flush()
			}
			if bad {
				err = errors.Join(err, verdictError{fmt.Errorf("%s cannot be backed up as it is: see the fixes above", args[0])})
			}
			return err
		},
	}
	return a.jsonFlag(c)
}
