package agent

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"

	"github.com/fieldpost/fieldpost/transport"
)

// ErrNotEnrolled is returned by ReadCredentials if the agent has no certificate yet.
var ErrNotEnrolled = transport.ErrNotEnrolled

// Credentials are what the agent of a folder secures its links with.
type Credentials struct {
	Enrolled    bool                // they come from enrolment, and the agent renews them by itself
	Certificate *x509.Certificate   // the agent's
	Authorities []*x509.Certificate // that sign collectors' certificates

	creds *credentials
}

// ReadCredentials returns what the agent of a folder secures its links with: what t
// names, or what enrolment has put into the folder. It changes nothing, and works
// beside a running agent. The errors are ErrNotEnrolled, fs.ErrNotExist if there is no
// agent's folder or no file, ErrNotAQueue, and what is wrong with a file: also that it
// is another agent's.
func ReadCredentials(dir string, t TLS) (Credentials, error) {
	id, err := readIdentity(dir)
	if err != nil {
		return Credentials{}, fmt.Errorf("agent: %w", err)
	}
	c := newCredentials(id, dir, t, slog.New(slog.DiscardHandler))
	l, err := c.load()
	if err != nil {
		return Credentials{}, fmt.Errorf("agent: %w", err)
	}
	return Credentials{Enrolled: c.own, Certificate: l.Cert.Leaf, Authorities: l.CAs, creds: c}, nil
}

// TLS returns the settings for a connection to the collector at addr, host:port; they
// are the caller's own.
func (c *Credentials) TLS(addr string) (*tls.Config, error) { return c.creds.settings(addr) }
