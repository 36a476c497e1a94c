package agent

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// EnrollConfig says who enrols where.
type EnrollConfig struct {
	ID        string // as in [Config]
	Dir       string // as in [Config]
	Collector string // host:port
	Token     string // as the collector printed it; it is nowhere kept

	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP
	Software string                                                               // as in [Config]
}

// Enrolment is what an agent has got by enrolling.
type Enrolment struct {
	ID        string    `json:"id"`
	Collector string    `json:"collector"` // where
	Time      time.Time `json:"time"`      // when
	NotAfter  time.Time `json:"not_after"` // of the certificate, which is renewed before
}

// Enroll gets a certificate for the folder's agent, which may be running: it
// connects with it within seconds. A folder that is new becomes the agent's. The
// key is made here and stays here. The collector has to have a certificate of the
// authority that the token names; nothing else is trusted, or told the token's
// secret.
//
// The same token may be tried again after an error. Errors are those of [Open] for
// the folder, what is wrong with cfg, or the collector's refusal.
func Enroll(ctx context.Context, cfg EnrollConfig) (Enrolment, error) {
	e, err := enroll(ctx, cfg)
	if err != nil {
		return Enrolment{}, fmt.Errorf("agent: %w", err)
	}
	return e, nil
}

func enroll(ctx context.Context, cfg EnrollConfig) (Enrolment, error) {
	token, err := pki.ParseToken(cfg.Token)
	if err != nil {
		return Enrolment{}, err
	}
	c, err := Config{ID: cfg.ID, Dir: cfg.Dir, Collectors: []string{cfg.Collector}, Software: cfg.Software}.withDefaults()
	if err != nil {
		return Enrolment{}, err
	}
	id, err := whose(c.Dir, wire.AgentID(c.ID))
	if err != nil {
		return Enrolment{}, err
	}
	folder := filepath.Join(c.Dir, tlsFolder)
	if err := pki.MakeFolder(folder); err != nil {
		return Enrolment{}, err
	}
	key, err := pendingKey(folder)
	if err != nil {
		return Enrolment{}, err
	}
	leaf, err := request(ctx, requestConfig{id: id, dir: c.Dir, addr: cfg.Collector, key: key, secret: token.Secret[:], software: c.Software, dial: cfg.Dial, tls: pinned(token.Pin)})
	if err != nil {
		return Enrolment{}, err
	}
	// Only now: a token that is refused must not bind a new folder to an id.
	if _, err := claimFolder(c.Dir, id); err != nil {
		return Enrolment{}, err
	}
	done := Enrolment{string(id), cfg.Collector, time.Now().UTC().Truncate(time.Second), leaf.NotAfter}
	b, err := json.Marshal(done)
	if err == nil {
		err = pki.WriteSecret(filepath.Join(folder, enrolFile), append(b, '\n'))
	}
	if err == nil {
		err = os.Remove(filepath.Join(folder, pendingFile))
	}
	return done, err
}

// Unreachable reports whether an error of Enroll means that the collector did not
// answer, rather than that it refused or is not to be trusted.
func Unreachable(err error) bool {
	switch transport.CauseOf(err) {
	case transport.CauseName, transport.CauseRoute, transport.CauseRefused, transport.CauseTimeout, transport.CauseClosed, transport.CauseBusy, transport.CauseStoreFails:
		return true
	}
	return false
}

// ReadEnrolment returns how the agent of a folder was enrolled. The certificate
// may have been renewed since. An error that is fs.ErrNotExist: it was not.
func ReadEnrolment(dir string) (Enrolment, error) {
	var e Enrolment
	b, err := pki.ReadSecret(filepath.Join(dir, tlsFolder, enrolFile))
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		return Enrolment{}, fmt.Errorf("agent: %w", err)
	}
	return e, nil
}

// whose returns whose folder dir is, and whose it is to become if it is nobody's.
func whose(dir string, want wire.AgentID) (wire.AgentID, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	_, err := readIdentity(dir)
	lanes, lerr := lanesOnDisk(dir)
	switch {
	case lerr != nil:
		return "", lerr
	case !errors.Is(err, fs.ErrNotExist) || len(lanes) > 0:
		return claimFolder(dir, want)
	case want != "":
		return want, nil
	}
	return hostID()
}

// claimFolder returns whose folder dir is, and makes it want's if it is nobody's.
func claimFolder(dir string, want wire.AgentID) (wire.AgentID, error) {
	none := slog.New(slog.DiscardHandler)
	if _, err := readIdentity(dir); err == nil {
		return claim(dir, want, none) // reads
	}
	l, err := lock(dir) // no agent runs there
	if err != nil {
		return "", err
	}
	id, err := claim(dir, want, none)
	return id, errors.Join(err, l.Unlock())
}

// pendingKey returns the key of an enrolment that was not through, so that its
// token can be tried again, or a new one.
func pendingKey(folder string) (crypto.Signer, error) {
	path := filepath.Join(folder, pendingFile)
	b, err := pki.ReadSecret(path)
	if err == nil {
		if key, err := pki.ParseKey(b); err == nil {
			return key, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	if b, err = pki.EncodeKey(key); err != nil {
		return nil, err
	}
	return key, pki.WriteSecret(path, b)
}

// pinned trusts the one authority that a token names. Nothing of it is on this
// machine yet, so the connection is verified here and not by crypto/tls.
func pinned(pin [sha256.Size]byte) *tls.Config {
	return &tls.Config{
		ServerName:         pki.ServerName,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, cert := range s.PeerCertificates[1:] {
				if sha256.Sum256(cert.Raw) == pin {
					_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: pki.ServerName, Roots: pki.Pool([]*x509.Certificate{cert})})
					if err != nil {
						return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
					}
					return nil
				}
			}
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates,
				Err: errors.New("it is not the collector that made the token, or somebody stands between (the token was not shown)")}
		},
	}
}

// requestConfig says what is asked for, and how.
type requestConfig struct {
	id       wire.AgentID
	dir      string
	addr     string
	key      crypto.Signer
	secret   []byte // of a token, nil to renew
	software string
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	tls      *tls.Config
}

// request gets a certificate for a key and puts both where the link finds them.
func request(ctx context.Context, r requestConfig) (*x509.Certificate, error) {
	csr, err := pki.NewRequest(r.id, r.key)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname() // for people only
	got, err := transport.Enroll(ctx, r.dial, r.addr, r.tls, wire.Enroll{
		Protocol: wire.Version, Agent: r.id, Token: r.secret, Request: csr, Software: r.software,
		Host: wire.Host{Name: host[:min(len(host), 255)], OS: runtime.GOOS, Arch: runtime.GOARCH},
	})
	if err != nil {
		return nil, err
	}
	chain, cas, err := checkAnswer(&got, &r)
	if err != nil {
		return nil, fmt.Errorf("the certificate that the collector gave is not the one that was asked for: %w", err)
	}
	pair, err := pki.EncodePair(r.key, chain...)
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(r.dir, tlsFolder)
	// In this order: what is trusted is there before what needs it.
	if err := pki.WriteSecret(filepath.Join(folder, caFile), pki.EncodeCerts(cas...)); err != nil {
		return nil, err
	}
	return chain[0], pki.WriteSecret(filepath.Join(folder, pairFile), pair)
}

// checkAnswer reads what the collector gave: a certificate for this key and this
// agent, of the authorities that came with it. Its times are not checked: this
// machine's clock may be wrong, which the link will say.
func checkAnswer(got *wire.Enrolled, r *requestConfig) (chain, cas []*x509.Certificate, err error) {
	if chain, err = pki.ParseDER(got.Certificate); err != nil {
		return nil, nil, err
	}
	if cas, err = pki.ParseDER(got.Authorities); err != nil {
		return nil, nil, err
	}
	if _, err = pki.NewPair(chain, r.key); err != nil {
		return nil, nil, err
	}
	if id, err := pki.AgentOf(chain[0]); err != nil || id != r.id {
		return nil, nil, errors.Join(fmt.Errorf("it names agent %q, not %s", id, r.id), err)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: pki.Pool(cas), Intermediates: pki.Pool(chain[1:]), CurrentTime: chain[0].NotBefore.Add(time.Second),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return chain, cas, err
}
