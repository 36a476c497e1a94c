package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// ErrNone is returned by [Open] where there is no authority.
var ErrNone = errors.New("there is no authority in this folder")

// RenewGrace is for how long after its end a certificate is still good for one
// thing: to be renewed. A ship that was out of reach for a season comes back by
// itself; a machine that was lost is revoked.
const RenewGrace = pki.RenewGrace

// Options say how a registry works.
type Options struct {
	Dir string // of the collector

	// Names are host names and addresses that the collector's certificate has
	// besides pki.ServerName.
	Names []string

	AgentLife time.Duration // of the certificates that are given; 0: pki.AgentLife

	// Known reports whether the collector has heard of an agent; see TokenOptions.
	// Nil: it has of none.
	Known func(wire.AgentID) bool

	Logger *slog.Logger // nil: no log
}

// Registry is a collector's own authority, with its tokens and revocations. Its
// methods may be called concurrently.
type Registry struct {
	*Revocations

	authority *pki.Authority
	names     []string
	life      time.Duration
	known     func(wire.AgentID) bool
	log       *slog.Logger

	mu      sync.Mutex
	renewAt time.Time
	config  *tls.Config
	leaf    *x509.Certificate
}

// Create opens the registry of a collector, and makes its authority if there is
// none. The collector's folder must be there.
func Create(o Options) (*Registry, error) {
	r, err := Open(o)
	if !errors.Is(err, ErrNone) {
		return r, err
	}
	f := folderOf(o.Dir)
	if err := pki.MakeFolder(string(f)); err != nil {
		return nil, err
	}
	err = f.locked(context.Background(), func() error { return f.create(time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("make the collector's authority: %w", err)
	}
	return Open(o)
}

// create makes the authority, unless another process has.
func (f folder) create(now time.Time) error {
	if _, err := f.authority(); !errors.Is(err, ErrNone) {
		return err
	}
	a, key, err := pki.NewAuthority(now.Add(-pki.Backdate))
	if err != nil {
		return err
	}
	b, err := pki.EncodeKey(key)
	if err != nil {
		return err
	}
	// The certificate comes last: with it the authority is there.
	if err := pki.WriteSecret(f.path(keyFile), b); err != nil {
		return err
	}
	return pki.WriteSecret(f.path(caFile), pki.EncodeCerts(a.Cert))
}

// authority reads the authority.
func (f folder) authority() (*pki.Authority, error) {
	cert, err := pki.ReadSecret(f.path(caFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if err != nil {
		return nil, err
	}
	key, err := pki.ReadSecret(f.path(keyFile))
	if err != nil {
		return nil, fmt.Errorf("%w; without the authority's key restore the folder tls from a copy, or move it away: then all agents have to enrol again", err)
	}
	certs, err := pki.ParseCerts(cert)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(caFile), err)
	}
	signer, err := pki.ParseKey(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(keyFile), err)
	}
	a, err := pki.OpenAuthority(certs[0], signer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	return a, nil
}

// Open opens the registry of a collector. The error is ErrNone if it has none.
func Open(o Options) (*Registry, error) {
	a, err := folderOf(o.Dir).authority()
	if err != nil {
		return nil, err
	}
	rev, err := OpenRevocations(o.Dir)
	if err != nil {
		return nil, err
	}
	r := &Registry{Revocations: rev, authority: a, names: o.Names, life: o.AgentLife, known: o.Known, log: o.Logger}
	if r.life == 0 {
		r.life = pki.AgentLife
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r, nil
}

// ServerConfig returns the TLS settings of the collector: its certificate lives in
// memory and is made anew after two thirds of its life.
func (r *Registry) ServerConfig() (*tls.Config, error) {
	if _, err := r.current(); err != nil {
		return nil, err
	}
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.current() }}, nil
}

// current returns the settings for new connections, the same ones as long as the
// certificate is.
func (r *Registry) current() (*tls.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	// A clock that was set back must not leave a certificate that begins in the
	// future.
	if r.config != nil && now.Before(r.renewAt) && !now.Before(r.leaf.NotBefore) {
		return r.config, nil
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	leaf, err := r.authority.IssueServer(r.names, key.Public(), now.Add(-pki.Backdate), now.Add(pki.ServerLife))
	if err != nil {
		return nil, fmt.Errorf("the collector's certificate: %w", err)
	}
	pair, err := pki.NewPair([]*x509.Certificate{leaf, r.authority.Cert}, key)
	if err != nil {
		return nil, err
	}
	r.leaf, r.renewAt = leaf, pki.RenewAt(leaf)
	r.config = &tls.Config{Certificates: []tls.Certificate{*pair}, ClientCAs: pki.Pool([]*x509.Certificate{r.authority.Cert})}
	return r.config, nil
}

// Ends returns when the collector's certificate and that of its authority expire.
func (r *Registry) Ends() (server, authority time.Time) {
	_, _ = r.current() // an error leaves the last one, whose end is what is asked for
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaf != nil {
		server = r.leaf.NotAfter
	}
	return server, r.authority.Cert.NotAfter
}

// Enroll is a collector's Config.Enroll.
func (r *Registry) Enroll(ctx context.Context, by collector.Applicant, e wire.Enroll) (wire.Enrolled, error) {
	req, err := pki.ParseRequest(e.Request)
	if err != nil {
		return wire.Enrolled{}, &collector.Denied{Code: wire.RefuseProtocol, Reason: err.Error()}
	}
	if req.ID != e.Agent {
		return wire.Enrolled{}, &collector.Denied{Code: wire.RefuseIdentity, Reason: fmt.Sprintf("the request is agent %s's, not %s's", req.ID, e.Agent)}
	}
	if _, err := r.reload(); err != nil {
		return wire.Enrolled{}, err
	}
	why := "renewal"
	if len(e.Token) > 0 {
		name, err := r.spend(ctx, e.Token, req.ID, req.KeyInfo)
		if err != nil {
			r.audit(slog.LevelWarn, "an enrolment was refused", &by, &e, "token", name, "cause", err.Error())
			return wire.Enrolled{}, err
		}
		why = "token " + name
	} else if err := r.renewable(by.Certificates, req.ID, time.Now()); err != nil {
		r.audit(slog.LevelWarn, "a renewal was refused", &by, &e, "cause", err.Error())
		return wire.Enrolled{}, err
	}
	cert, err := r.issue(&req, time.Now())
	if err != nil {
		return wire.Enrolled{}, err
	}
	r.audit(slog.LevelInfo, "a certificate was given", &by, &e, "by", why, "serial", cert.SerialNumber.Text(16), "not_after", cert.NotAfter)
	return wire.Enrolled{Certificate: [][]byte{cert.Raw}, Authorities: [][]byte{r.authority.Cert.Raw}, Time: time.Now()}, nil
}

func (r *Registry) audit(level slog.Level, msg string, by *collector.Applicant, e *wire.Enroll, more ...any) {
	r.log.Log(context.Background(), level, msg, append([]any{"agent", e.Agent, "address", by.Address, "host", e.Host.Name}, more...)...)
}

// issue signs the certificate for a request. It begins behind the agent's last
// revocation.
func (r *Registry) issue(req *pki.Request, now time.Time) (*x509.Certificate, error) {
	begin := now.Add(-min(pki.Backdate, r.life/10))
	if at := r.since(req.ID); !begin.After(at) && !at.IsZero() {
		begin = at.Add(time.Second)
	}
	return r.authority.IssueAgent(req.ID, req.PublicKey, begin, now.Add(r.life))
}

// renewable checks that an applicant has a certificate of ours for an agent,
// which may have ended within the grace.
func (r *Registry) renewable(chain []*x509.Certificate, id wire.AgentID, now time.Time) error {
	denied := func(code wire.RefuseCode, format string, args ...any) error {
		return &collector.Denied{Code: code, Reason: fmt.Sprintf(format, args...)}
	}
	if len(chain) == 0 {
		return denied(wire.RefuseToken, "an enrolment needs a token, a renewal the agent's certificate; there was neither")
	}
	leaf := chain[0]
	at := now
	if now.After(leaf.NotAfter) {
		if at = leaf.NotAfter; now.Sub(at) > RenewGrace {
			return denied(wire.RefuseToken, "the certificate ended at %s, too long ago to renew it: enrol again", leaf.NotAfter.Format(time.RFC3339))
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pki.Pool([]*x509.Certificate{r.authority.Cert}), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return denied(wire.RefuseToken, "the certificate is not one of this collector's agents (%s): enrol again", err)
	}
	have, err := pki.AgentOf(leaf)
	if err != nil || have != id {
		return denied(wire.RefuseIdentity, "the certificate is agent %s's: it cannot be renewed for %s", have, id)
	}
	return r.Admit(id, leaf)
}
