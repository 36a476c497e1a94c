package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func backupCommand() *cobra.Command {
	var s settings
	var asJSON, silent, withoutKeys bool
	c := &cobra.Command{
		Use:   "backup FOLDER",
		Short: "Copy the journal and its keys into another folder, also while a collector runs",
		Long: `Copies the journal, as it is synced at this moment, into a folder that is not there or
is empty, and verifies the copy. It may run beside a collector. The folder gets its
name when everything in it is on disk; until then, and after an error, there is none.

A collector starts from the copy as it is (collector run --dir FOLDER): it is the same
store, set back. Agents send it again what they still have, and declare the rest as
lost at the store; audit shows that. Two collectors must not run at once, one with the
journal and one with its copy.

With the journal goes what is in the folder tls: the authority with its key, the
revocations and the hash of the bearer token, so that agents connect to the restored
collector without a new enrolment. Enrolment tokens stay behind. So keep the copy as
safe as the original, or make it --without-keys and keep a copy of tls elsewhere. After
a restore revoke again what was revoked since the backup.

It exits 0 if the copy is whole; 1 if a part of the journal is damaged (the copy is
there, and has the same damage), if FOLDER is taken or there is no journal; 75 if it
was interrupted. What it prints is what verify says of the copy.`,
		Example: `  collector backup /backup/collector-$(date +%F)
  collector backup --dir /var/lib/fieldpost/collector /backup/today --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			keys := func(dir string) error { return enroll.Copy(c.Dir, dir) }
			if withoutKeys {
				keys = nil
			}
			v, err := journal.Backup(cmd.Context(), c.Dir, args[0], tell(cmd.ErrOrStderr(), silent), keys)
			if errors.Is(err, journal.ErrExists) {
				return daemon.WithCode(daemon.No, fmt.Errorf("%w; name another folder", err))
			}
			if err != nil {
				return interrupted(cmd, err)
			}
			return printVerified(cmd.OutOrStdout(), &v, asJSON)
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&withoutKeys, "without-keys", false, "leave the authority and its key out")
	c.Flags().BoolVarP(&silent, "quiet", "q", false, "do not tell how far it is")
	return c
}
