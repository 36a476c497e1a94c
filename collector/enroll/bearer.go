package enroll

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
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

// NewBearer makes a new token for the collector in dir, instead of the one before,
// and returns it: only its hash is kept.
func NewBearer(ctx context.Context, dir string) (string, error) {
	f := folderOf(dir)
	if err := pki.MakeFolder(string(f)); err != nil {
		return "", err
	}
	var b [24]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	text := bearerPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	hash := sha256.Sum256([]byte(text))
	return text, f.locked(ctx, func() error {
		return f.write(bearerFile, bearer{format, hex.EncodeToString(hash[:]), time.Now().UTC().Truncate(time.Second)})
	})
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

// Exists reports whether there is a token.
func (b *Bearer) Exists() bool {
	b.Allows("")
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil && len(b.hash) > 0
}
