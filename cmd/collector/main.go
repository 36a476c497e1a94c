// Command collector is Fieldpost's collector as a daemon, and the commands that
// read what it has stored.
//
//	agents --framed TCP--> collector run --journal in DIR--> tail, export, audit, verify, backup
//	                          |  ^
//	               /metrics --+  | DIR/control
//	                          collector agents
//
// Its guarantees are those of packages collector and journal. The reading
// commands open the journal themselves and change nothing; they work beside a
// running collector and on a folder at rest, and their memory does not grow with
// what they read.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/demo"
)

func main() { os.Exit(daemon.Main(root())) }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "collector",
		Short: "Fieldpost's collector: stores what agents send, once and in order",
		Long: `Fieldpost's collector stores what agents send, tells them once it is on disk, and
knows which of them are alive. It also reads what is stored.

` + daemon.CodesHelp,
		Example: `  collector demo
  collector run
  collector token create --id pump-7
  collector agents
  collector tail -f --agent pump-7
  collector export --format jsonl --since 24h > yesterday.jsonl
  collector audit
  collector backup /backup/today
  collector import /media/stick/pump-7.carry`,
	}
	c.AddCommand(runCommand(), reloadCommand(), tokenCommand(), agentsCommand(), tailCommand(), exportCommand(), auditCommand(), verifyCommand(), repairCommand(), backupCommand(), importCommand(), serviceCommand(),
		validateCommand(), doctorCommand(), daemon.VersionCommand("collector", journal.FolderFormat))
	c.AddCommand(demo.Commands()...)
	return c
}
