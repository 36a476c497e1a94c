package service

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/internal/daemon"
)

// Setup is what a program says of the daemon that is to be a service.
type Setup struct {
	Daemon Daemon
	// Root returns the program's command, for the daemon as a service of Windows.
	Root func() *cobra.Command

	// Define adds the flags of "install" that stand for keys of the configuration.
	Define func(c *cobra.Command)
	// Config returns the configuration that those make, and checks it.
	Config func() ([]byte, error)
}

// Command returns the command "service" with its subcommands.
func Command(s Setup) *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Make this a service of the machine, and steer it",
		Long: fmt.Sprintf(`Makes %[1]s a service: on Linux under systemd with a unit of its own, hardened and
with a watchdog; on Windows with a virtual account, its log in the Event Log; under
OpenRC, SysV and launchd with what those offer.

It runs under the account %[2]s. Its configuration is %[3]s, its data
%[4]s.`, s.Daemon.Name, s.Daemon.account(), s.Daemon.Config, s.Daemon.Data),
	}
	c.AddCommand(platformCommands(s)...)
	c.AddCommand(installCommand(s), uninstallCommand(s.Daemon), statusCommand(s.Daemon),
		steerCommand(s.Daemon, "start", "Start the service", (*Manager).Start),
		steerCommand(s.Daemon, "stop", "Stop the service", (*Manager).Stop),
		steerCommand(s.Daemon, "restart", "Stop the service and start it again", (*Manager).Restart))
	return c
}

func installCommand(s Setup) *cobra.Command {
	var dry, unit bool
	var program string
	c := &cobra.Command{
		Use:   "install",
		Short: "Make the account, the folders, the configuration and the service",
		Long: fmt.Sprintf(`Makes the account %s, the folders, %s from
the flags, and the service, which starts with the machine from then on; it does not
start it now. What is there already is left alone, above all the configuration, so it
may be run twice. Only root, or an administrator, may do it.

It exits 0 once all is as it should be, 1 if something could not be done.`, s.Daemon.account(), s.Daemon.Config),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if unit {
				d := s.Daemon
				d.Program = program
				_, err := fmt.Fprint(cmd.OutOrStdout(), d.Unit())
				return err
			}
			config, err := s.Config()
			if err != nil {
				return err
			}
			m, err := New(s.Daemon)
			if err != nil {
				return err
			}
			if err := m.Install(cmd.OutOrStdout(), config, dry); err != nil || dry {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "installed; next: %s service start\n", s.Daemon.Program)
			return err
		},
	}
	s.Define(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	if runtime.GOOS == "linux" {
		c.Flags().BoolVar(&unit, "print-unit", false, "print the systemd unit and do nothing")
		c.Flags().StringVar(&program, "program", s.Daemon.Program, "`path` that --print-unit says the program has")
	}
	return c
}

func uninstallCommand(d Daemon) *cobra.Command {
	var dry, purge bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the service and take it away; the data stays",
		Long: fmt.Sprintf(`Stops the service and takes it away. The data in %s and the configuration
stay, so that a service which is installed again goes on where this one was. With
--purge they are removed as well, and what is not delivered is lost.`, d.Data),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := New(d)
			if err != nil {
				return err
			}
			return m.Uninstall(cmd.OutOrStdout(), purge, dry)
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	c.Flags().BoolVar(&purge, "purge", false, "remove the data and the configuration too")
	return c
}

func steerCommand(d Daemon, use, short string, do func(*Manager) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := New(d)
			if err != nil {
				return err
			}
			if err := do(m); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", d.Name, m.Status())
			return err
		},
	}
}

func statusCommand(d Daemon) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say whether the service runs",
		Long:  "Prints running, stopped, failed or not installed, and exits 0 if it runs, else 1.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := New(d)
			if err != nil {
				return err
			}
			status := m.Status()
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s (%s)\n", d.Name, status, m.Platform())
			if status != "running" {
				return daemon.WithCode(daemon.No, fmt.Errorf("%s is %s", d.Name, status))
			}
			return nil
		},
	}
}
