package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func validateCommand() *cobra.Command {
	s := settings{}
	c := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration; exit 78 if it is wrong",
		Long: `Checks a configuration file of "collector run" and names everything that is wrong
with it, with file, line and column. It opens no folder and listens on nothing.
${VAR} in the file stands for what is in this command's environment.`,
		Example: `  collector validate collector.yaml`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && s.file == "":
				s.file = args[0]
			case len(args) == 1 || s.file == "":
				return daemon.WithCode(daemon.Usage, errors.New("name one file: collector validate collector.yaml"))
			}
			c, err := s.load()
			if err != nil {
				return err
			}
			http := c.HTTP
			if http == "" {
				http = config.Off
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: agents on %s; HTTP %s; folder %s\n", s.file, c.Listen, http, c.Dir)
			return err
		},
	}
	c.Flags().StringVar(&s.file, "config", "", "the `file`, instead of an argument")
	return c
}
