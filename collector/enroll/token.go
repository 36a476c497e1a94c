package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// Limits of tokens.
const (
	DefaultTTL = time.Hour
	MaxTTL     = 24 * time.Hour
	MaxUses    = 10_000

	maxTokens  = 1000               // that are kept
	keepTokens = 7 * 24 * time.Hour // that are over, for "token ls"
)

// TokenOptions say for whom a token is.
type TokenOptions struct {
	TTL  time.Duration // 0: DefaultTTL
	Uses int           // machines that may enrol with it; 0: 1
	ID   string        // which ids: one, or a pattern with * and ?; "": any

	// Known lets the token give certificates for ids of agents that the collector
	// knows already, to machines that may not be those agents. A token for one id
	// always does.
	Known bool
}

// TokenInfo is what is kept of a token.
type TokenInfo struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"` // SHA-256 of the secret
	ID      string    `json:"id,omitempty"`
	Known   bool      `json:"known,omitempty"`
	Uses    int       `json:"uses"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Used    []Use     `json:"used,omitempty"`
}

// Use is one machine that has enrolled with a token.
type Use struct {
	Agent wire.AgentID `json:"agent"`
	Key   string       `json:"key"` // SHA-256 of its public key
	Time  time.Time    `json:"time"`
}

// Left returns how many more machines may use the token now.
func (t *TokenInfo) Left(now time.Time) int {
	if !now.Before(t.Expires) {
		return 0
	}
	return max(0, t.Uses-len(t.Used))
}

type tokens struct {
	Format int         `json:"format"`
	Tokens []TokenInfo `json:"tokens"`
}

// prune forgets tokens that have been over for long.
func (l *tokens) prune(now time.Time) {
	l.Tokens = slices.DeleteFunc(l.Tokens, func(t TokenInfo) bool { return now.Sub(t.Expires) > keepTokens })
}

// CreateToken makes a token. It is the only one who sees its secret.
func (r *Registry) CreateToken(ctx context.Context, o TokenOptions) (pki.Token, TokenInfo, error) {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Uses == 0 {
		o.Uses = 1
	}
	if err := o.check(); err != nil {
		return pki.Token{}, TokenInfo{}, err
	}
	t := pki.NewToken(r.authority.Pin())
	hash := t.Hash()
	now, err := r.afterRevocations(time.Now().UTC().Truncate(time.Second))
	if err != nil {
		return pki.Token{}, TokenInfo{}, err
	}
	info := TokenInfo{Name: pki.Name(hash), Hash: hex.EncodeToString(hash[:]), ID: o.ID, Known: o.Known, Uses: o.Uses, Created: now, Expires: now.Add(o.TTL)}
	err = r.change(ctx, func(l *tokens) error {
		if len(l.Tokens) >= maxTokens {
			return fmt.Errorf("there are %d tokens: revoke some first, or make one with more uses", len(l.Tokens))
		}
		l.Tokens = append(l.Tokens, info)
		return nil
	})
	return t, info, err
}

// afterRevocations returns now, or the end of the second in which an agent was just
// revoked: a token that is made behind a revocation counts, also within its second.
func (r *Registry) afterRevocations(now time.Time) (time.Time, error) {
	all, err := r.All()
	for _, at := range all {
		if at.After(now) && at.Sub(now) <= time.Second {
			now = at
		}
	}
	return now, err
}

func (o *TokenOptions) check() error {
	switch {
	case o.TTL < time.Minute || o.TTL > MaxTTL:
		return fmt.Errorf("a token that is good for %s: want 1m to %s", o.TTL, MaxTTL)
	case o.Uses < 1 || o.Uses > MaxUses:
		return fmt.Errorf("a token for %d machines: want 1 to %d", o.Uses, MaxUses)
	case o.ID == "":
		return nil
	}
	if _, err := path.Match(o.ID, ""); err != nil || len(o.ID) > 200 {
		return fmt.Errorf("%.80q is no pattern of agent ids: write an id, or one with * and ?", o.ID)
	}
	if o.one() {
		return wire.CheckName("agent id", o.ID)
	}
	return nil
}

// one reports whether the token is for one id, which is named.
func (o *TokenOptions) one() bool { return isOne(o.ID) }

func isOne(id string) bool {
	_, err := wire.ParseAgentID(id)
	return err == nil
}

// Tokens returns all tokens that are kept, oldest first.
func (r *Registry) Tokens() ([]TokenInfo, error) {
	var l tokens
	err := r.folder.read(tokensFile, &l)
	return l.Tokens, err
}

// RevokeToken makes a token useless. What it has given stays. It reports whether
// there is one of that name.
func (r *Registry) RevokeToken(ctx context.Context, name string) (found bool, err error) {
	err = r.change(ctx, func(l *tokens) error {
		n := len(l.Tokens)
		l.Tokens = slices.DeleteFunc(l.Tokens, func(t TokenInfo) bool { return t.Name == name })
		found = len(l.Tokens) < n
		return nil
	})
	return found, err
}

// change changes the tokens, durably.
func (r *Registry) change(ctx context.Context, f func(*tokens) error) error {
	return r.folder.locked(ctx, func() error {
		l := tokens{Format: format}
		if err := r.folder.read(tokensFile, &l); err != nil {
			return err
		}
		if err := f(&l); err != nil {
			return err
		}
		l.prune(time.Now())
		return r.folder.write(tokensFile, l)
	})
}

var errNoChange = errors.New("nothing has changed")

// spend takes one use off the token with a secret, for an agent with a key, and
// makes that durable. The errors say nothing that helps to guess.
func (r *Registry) spend(ctx context.Context, secret []byte, id wire.AgentID, keyInfo []byte) (name string, err error) {
	hash := pki.HashSecret(secret)
	key := sha256.Sum256(keyInfo)
	use := Use{id, hex.EncodeToString(key[:]), time.Now().UTC().Truncate(time.Second)}
	err = r.change(ctx, func(l *tokens) error {
		t := find(l, hash)
		if t == nil {
			return deniedToken("the token is not known here: it was revoked, has expired long ago, or is another collector's")
		}
		name = t.Name
		again := slices.ContainsFunc(t.Used, func(u Use) bool { return u.Agent == id && u.Key == use.Key })
		switch now := time.Now(); {
		case !now.Before(t.Expires):
			return deniedToken("the token expired at " + t.Expires.Format(time.RFC3339))
		case !t.covers(id):
			return deniedToken(fmt.Sprintf("the token is for %q, not for agent %s", t.ID, id))
		case again:
			return errNoChange // the answer to the first time was lost
		case len(t.Used) >= t.Uses:
			return deniedToken("the token was used already")
		case !isOne(t.ID) && !t.Known && r.known != nil && r.known(id):
			return deniedToken(fmt.Sprintf("there is an agent %s already: if this machine takes its place, make a token with --id %s; else give it another id", id, id))
		case !r.since(id).Before(t.Created.Add(time.Second)):
			return deniedToken(fmt.Sprintf("agent %s was revoked after the token was made: make a new one", id))
		}
		t.Used = append(t.Used, use)
		return nil
	})
	if errors.Is(err, errNoChange) {
		err = nil
	}
	return name, err
}

func deniedToken(why string) error {
	return &collector.Denied{Code: wire.RefuseToken, Reason: why + `; "collector token create" makes a new one`}
}

// find compares every token in constant time.
func find(l *tokens, hash [sha256.Size]byte) (found *TokenInfo) {
	for i := range l.Tokens {
		have, err := hex.DecodeString(l.Tokens[i].Hash)
		if err == nil && subtle.ConstantTimeCompare(have, hash[:]) == 1 {
			found = &l.Tokens[i]
		}
	}
	return found
}

func (t *TokenInfo) covers(id wire.AgentID) bool {
	if t.ID == "" {
		return true
	}
	ok, err := path.Match(t.ID, string(id))
	return ok && err == nil
}
