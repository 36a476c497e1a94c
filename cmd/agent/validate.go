package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func validateCommand() *cobra.Command {
	s := settings{}
	c := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration; exit 78 if it is wrong",
		Long: `Checks a configuration file of "agent run" and names everything that is wrong with
it, with file, line and column. It opens no folder and connects to nothing. ${VAR}
in the file stands for what is in this command's environment.`,
		Example: `  agent validate agent.yaml`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && s.file == "":
				s.file = args[0]
			case len(args) == 1 || s.file == "":
				return daemon.WithCode(daemon.Usage, fmt.Errorf("name one file: agent validate agent.yaml"))
			}
			c, err := s.load()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %s\n", s.file, summary(c))
			return err
		},
	}
	c.Flags().StringVar(&s.file, "config", "", "the `file`, instead of an argument")
	return c
}

// summary says what a configuration comes to.
func summary(c config.Agent) string {
	id := c.ID
	if id == "" {
		id = "named by the folder or the host"
	}
	lanes := append([]string{"default"}, slices.DeleteFunc(slices.Sorted(maps.Keys(c.Lanes)), func(s string) bool { return s == "default" })...)
	to := strings.Join(c.Collectors, ", ")
	if to == "" {
		to = "none yet, give --collector"
	}
	return fmt.Sprintf("agent %s; folder %s; collectors %s; lanes %s; %d routes", id, c.Dir, to, strings.Join(lanes, ", "), len(c.Routes))
}
