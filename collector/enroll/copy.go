package enroll

import (
	"errors"
	"io/fs"
	"os"

	"github.com/fieldpost/fieldpost/internal/pki"
)

// Copy copies what a collector in another folder needs to be the same one to its
// agents: the authority with its key, the revocations, the hash of the bearer token.
// Tokens stay behind: a copy would let each be used once more. The folder to must
// exist and have none of it. Where there is nothing to copy nothing is done.
func Copy(dir, to string) error {
	from, target := folderOf(dir), folderOf(to)
	if _, err := os.Lstat(string(from)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := pki.MakeFolder(string(target)); err != nil {
		return err
	}
	// Without the lock, so that a folder that takes no writes can be copied: each file is
	// replaced whole, and none of them speaks of another that changes.
	for _, name := range []string{keyFile, caFile, revokedFile, bearerFile} {
		b, err := pki.ReadSecret(from.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = pki.WriteSecret(target.path(name), b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
