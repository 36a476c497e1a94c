package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/fieldpost/fieldpost/internal/pki"
)

const (
	folderName  = "tls"
	caFile      = "ca.pem"
	keyFile     = "ca-key.pem"
	tokensFile  = "tokens.json"
	revokedFile = "revoked.json"
	bearerFile  = "http-token.json"
	untakenFile = "http-token"
	lockName    = "lock"

	format   = 1
	lockWait = 10 * time.Second
)

// folder is the folder tls of a collector's folder.
type folder string

func folderOf(dir string) folder { return folder(filepath.Join(dir, folderName)) }

// Exists reports whether the collector in dir has ever run with TLS: there is a folder
// for what this package keeps.
func Exists(dir string) bool {
	_, err := os.Lstat(string(folderOf(dir)))
	return err == nil
}

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

// locked calls change while no other process changes files here.
func (f folder) locked(ctx context.Context, change func() error) error {
	l := flock.New(f.path(lockName), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return fmt.Errorf("lock %s: %w", l.Path(), err)
	}
	return errors.Join(change(), l.Close())
}

// read reads a file of JSON into v, which stays as it is if there is none.
func (f folder) read(name string, v any) error {
	b, err := pki.ReadSecret(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var head struct {
		Format int `json:"format"`
	}
	if err = json.Unmarshal(b, &head); err == nil && head.Format != format {
		err = fmt.Errorf("format %d, this version reads %d", head.Format, format)
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; restore it from a copy, or move it away: what it said is then forgotten", f.path(name), err)
	}
	return nil
}

// write replaces a file of JSON.
func (f folder) write(name string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return pki.WriteSecret(f.path(name), append(b, '\n'))
}
