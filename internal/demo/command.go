package demo

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// Options are the flags of the demo.
type Options struct {
	Agents   int           // how many agents, at least 1
	Duration time.Duration // how long they send; draining comes on top
	Dir      string        // folder of the run; "": a temporary one
	Keep     bool          // leave a temporary folder behind
	File     string        // each agent sends the lines of this file as well; "": none
}

// Commands returns the demo command and the hidden ones that its processes run.
// All of them belong on the binary's root command.
func Commands() []*cobra.Command {
	return []*cobra.Command{demoCommand(), agentCommand(), collectorCommand()}
}

func demoCommand() *cobra.Command {
	o := Options{Agents: 3, Duration: 20 * time.Second}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the promise: break everything for 20 seconds, then count",
		Long: `Starts a collector and a few agents as processes of their own and links them
through a proxy that breaks on command. The agents send readings of this host.
Meanwhile links are cut, acks held back, an agent and the collector killed.
At the end every message that an agent had been told was safe is looked up in
the collector's store.

The last line has the counts:  accepted N stored N dropped N doubled N unexplained N
The exit code is 0 only if every accepted message is stored once and in order.`,
		Example: `  collector demo
  collector demo --agents 8 --duration 1m
  collector demo --file /var/log/syslog --dir ./demo`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return Run(c.Context(), o, c.OutOrStdout()) },
	}
	f := c.Flags()
	f.IntVar(&o.Agents, "agents", o.Agents, "agents to start, 1 to 50")
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long the agents send, at least 5s")
	f.StringVar(&o.Dir, "dir", "", "folder of the run, which stays (default a temporary one)")
	f.BoolVar(&o.Keep, "keep", false, "keep the temporary folder")
	f.StringVar(&o.File, "file", "", "let each agent send the lines of this file as well")
	return c
}

// check verifies the options.
func (o *Options) check() error {
	switch {
	case o.Agents < 1 || o.Agents > 50:
		return fmt.Errorf("--agents %d: want 1 to 50", o.Agents)
	case o.Duration < 5*time.Second:
		return fmt.Errorf("--duration %s: want at least 5s, so that what breaks can be seen to heal", o.Duration)
	}
	if o.File != "" {
		// Stat before Open: opening a pipe that nobody writes waits for ever.
		info, err := os.Stat(o.File)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("--file %s: not a regular file; each agent reads it from the beginning", o.File)
		}
		f, err := os.Open(o.File)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		return f.Close()
	}
	return nil
}

// heartbeat is the interval of the demo's links: short, so that a break is
// noticed while one watches.
const heartbeat = 500 * time.Millisecond
