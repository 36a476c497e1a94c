package main

import "github.com/spf13/cobra"

func queueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Look into an agent's queue, and repair it",
	}
	c.AddCommand(deadCommand())
	return c
}
