// Command agent is Fieldpost's agent as a daemon, and the commands that talk to
// it: it reads lines, puts them on disk, and delivers them to a collector.
//
//	stdin --lines--> agent run --queue in DIR--> collector
//	                    ^
//	                    | DIR/control
//	        agent send, agent status, agent queue
//
// Its guarantees are those of package agent; what this program adds is how it
// reads, ends and reports, and what an operator sees and does in the queue. It has no
// interface for other machines.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func main() { os.Exit(daemon.Main(root())) }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "agent",
		Short: "Fieldpost's agent: keeps messages on disk until a collector has stored them",
		Long: `Fieldpost's agent puts messages on disk before it says "accepted", and delivers
them to a collector whenever there is a link: once, in order, over restarts,
outages and power cuts.

` + daemon.CodesHelp,
		Example: `  agent enroll --id pump-7 --collector 127.0.0.1:4717 --dir ./pump-7 --token fpt_...
  agent run --dir ./pump-7 < readings.log
  agent send --dir ./pump-7 --topic pump/pressure "3.2 bar"
  agent status --dir ./pump-7`,
	}
	c.AddCommand(runCommand(), reloadCommand(), enrollCommand(), sendCommand(), statusCommand(), queueCommand(), validateCommand(), doctorCommand(), serviceCommand(), daemon.VersionCommand("agent", agent.FolderFormat))
	return c
}
