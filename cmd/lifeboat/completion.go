package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// completion takes the place of the command that cobra would add, which is silent about a wrong shell.
func (a *app) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion {bash|zsh|fish}",
		Short: "Print what completes commands and flags in a shell",
		Long:  "Print what completes commands and flags in a shell. The Debian and RPM packages install it already.",
		Example: `  lifeboat completion bash > /etc/bash_completion.d/lifeboat
  lifeboat completion zsh > "${fpath[1]}/_lifeboat"
  lifeboat completion fish > ~/.config/fish/completions/lifeboat.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			switch args[0] {
			case "bash":
				err = c.Root().GenBashCompletionV2(a.out, true)
			case "zsh":
				err = c.Root().GenZshCompletion(a.out)
			case "fish":
				err = c.Root().GenFishCompletion(a.out, true)
			}
			if err != nil {
				return fmt.Errorf("write the completion for %s: %w", args[0], err)
			}
			return nil
		},
	}
}
