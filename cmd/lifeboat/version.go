package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) version() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v, revision := buildVersion(), ""
			if info, ok := debug.ReadBuildInfo(); ok {
				revision = "of an unknown revision"
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = s.Value
					}
				}
			}
			if a.json {
				return a.printJSON(map[string]any{"version": v, "revision": revision, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "formats": []int{1}})
			}
			_, err := fmt.Fprintf(a.out, "lifeboat %s %s (%s %s/%s), repository format 1\n", v, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	return a.jsonFlag(c)
}

// buildVersion is the version of the module that this program was built of.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
