package main

import "github.com/spf13/cobra"

func (a *app) demo() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "The whole story in a temporary directory, nothing to configure", Args: cobra.NoArgs}
}
