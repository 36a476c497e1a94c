package enroll

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
)

// bearerPrefix begins the text of a bearer token, so that a leaked one is found.
const bearerPrefix = "fph_"

// Bearer is the token that a collector's pages want from other machines. Its
// methods may be called concurrently.
type Bearer struct {
	folder folder

	mu     sync.Mutex
	looked time.Time
	hash   []byte // nil: there is no token, and nobody is let in
	err    error
}

// bearer is the content of http-token.json.
type bearer struct {
	Format  int       `json:"format"`
	Hash    string    `json:"hash"` // SHA-256 of the token's text
	Created time.Time `json:"created"`
}

// OpenBearer returns the token of the collector in dir; there may be none yet.
func OpenBearer(dir string) *Bearer { return &Bearer{folder: folderOf(dir)} }

// FirstBearer makes a token for the collector in dir if it has none, and reports
// whether it did. Until somebody takes it with [TakeBearer] its text lies in a file
// beside its hash, for the folder's owner alone.
func FirstBearer(ctx context.Context, dir string) (made bool, err error) {
	f := folderOf(dir)
	if err := pki.MakeFolder(string(f)); err != nil {
		return false, err
	}
	err = f.locked(ctx, func() error {
		var have bearer
		if err := f.read(bearerFile, &have); err != nil || have.Hash != "" {
			return err
		}
		made = true
		text := newBearer()
		if err := pki.WriteSecret(f.path(untakenFile), []byte(text+"\n")); err != nil {
			return err
		}
		return f.keep(text)
	})
	return made && err == nil, err
}

// TakeBearer returns the token that [FirstBearer] has made for the collector in dir,
// once: from then on only its hash is kept. If somebody has taken it, or there is
// none, it makes a new token instead of the one before, of which it keeps the hash.
func TakeBearer(ctx context.Context, dir string) (text string, err error) {
	f := folderOf(dir)
	if err := pki.MakeFolder(string(f)); err != nil {
		return "", err
	}
	err = f.locked(ctx, func() error {
		var have bearer
		if err := f.read(bearerFile, &have); err != nil {
			return err
		}
		b, err := pki.ReadSecret(f.path(untakenFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		untaken := err == nil
		if text = strings.TrimSpace(string(b)); !untaken || have.Hash != hashOf(text) {
			text = newBearer()
			if err := f.keep(text); err != nil {
				return err
			}
		}
		if untaken {
			return pki.RemoveSecret(f.path(untakenFile))
		}
		return nil
	})
	return text, err
}

func newBearer() string {
	var b [24]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return bearerPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

func hashOf(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}

// keep makes text the token.
func (f folder) keep(text string) error {
	return f.write(bearerFile, bearer{format, hashOf(text), time.Now().UTC().Truncate(time.Second)})
}

// Allows reports whether text is the token. A new one counts within a second.
func (b *Bearer) Allows(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); b.looked.IsZero() || now.Sub(b.looked) >= time.Second {
		b.looked = now
		var have bearer
		if b.err = b.folder.read(bearerFile, &have); b.err == nil {
			b.hash, b.err = hex.DecodeString(have.Hash)
		}
	}
	hash := sha256.Sum256([]byte(text))
	return b.err == nil && subtle.ConstantTimeCompare(hash[:], b.hash) == 1
}
