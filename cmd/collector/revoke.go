package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func agentsRevokeCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "End an agent's link and take none of its certificates any more",
		Long: `Revokes all certificates that an agent has now: for a machine that was lost, stolen
or sold. Its link ends within five seconds, and it gets no other and no renewal. What
it has delivered stays; what it still has is not delivered.

To take the agent back, enrol it with a token that is made after the revocation: its
new certificate counts, the old ones never again.`,
		Example: `  collector agents revoke pump-7`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			id, err := wire.ParseAgentID(args[0])
			if err != nil {
				return err
			}
			if c.Plaintext {
				return errors.New("this collector's links are plain TCP (insecure_plaintext): there are no certificates to revoke")
			}
			list, _, err := agents(cmd.Context(), c.Dir)
			if err != nil {
				return withCode(err)
			}
			r, err := enroll.OpenRevocations(c.Dir)
			if err != nil {
				return err
			}
			if err := r.Revoke(cmd.Context(), id); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the certificates of agent %s are revoked\n", id)
			for _, a := range list {
				if a.ID == id {
					return nil
				}
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "no agent %s has been heard of yet: look whether the id is the right one\n", id)
			return err
		},
	}
	s.addFile(c.Flags())
	return c
}
