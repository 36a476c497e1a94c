package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// Token is what a machine needs to enrol: a secret that the collector knows, and
// the SHA-256 of the certificate of the one authority to trust. Its text form is
// a secret; its methods for printing do not show it.
type Token struct {
	Secret [20]byte
	Pin    [sha256.Size]byte
}

const (
	tokenPrefix = "fpt_"
	tokenSize   = 20 + sha256.Size + 4 // with a CRC-32C, so that a slip is called one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errToken does not tell what was given: it may be nearly a token.
var errToken = errors.New("this is no enrolment token, or not all of it: copy it as the collector printed it, from fpt_ to its end")

// NewToken returns a fresh token for the authority with that pin.
func NewToken(pin [sha256.Size]byte) Token {
	t := Token{Pin: pin}
	rand.Read(t.Secret[:]) // never fails: crypto/rand aborts the process instead
	return t
}

// ParseToken reads the text form; space around it does not matter.
func ParseToken(s string) (Token, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), tokenPrefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return Token{}, errToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != tokenSize {
		return Token{}, errToken
	}
	sum := crc32.Checksum(b[:tokenSize-4], castagnoli)
	if !bytes.Equal(b[tokenSize-4:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}) {
		return Token{}, errToken
	}
	var t Token
	copy(t.Pin[:], b[copy(t.Secret[:], b):])
	return t, nil
}

// Reveal returns the text form, for the one who is to use it.
func (t Token) Reveal() string {
	b := append(append(make([]byte, 0, tokenSize), t.Secret[:]...), t.Pin[:]...)
	sum := crc32.Checksum(b, castagnoli)
	b = append(b, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// Hash returns what is kept of the secret. It is random and long, so that a plain
// hash is enough.
func (t Token) Hash() [sha256.Size]byte { return HashSecret(t.Secret[:]) }

// HashSecret returns what is kept of a token's secret.
func HashSecret(secret []byte) [sha256.Size]byte { return sha256.Sum256(secret) }

// Name returns what the token with a hash is called: it may be shown.
func Name(hash [sha256.Size]byte) string { return hex.EncodeToString(hash[:6]) }

// String returns the token's name.
func (t Token) String() string { return "token " + Name(t.Hash()) }

// GoString returns the token's name.
func (t Token) GoString() string { return t.String() }

// Format writes the token's name, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.String()) }
