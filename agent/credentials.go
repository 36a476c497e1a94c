package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// TLS names files of a certificate that comes from elsewhere (step-ca,
// cert-manager, Vault): PEM, read again when they change. The zero TLS means what
// [Enroll] has put into the agent's folder.
type TLS struct {
	CA   string // authorities that sign collectors' certificates
	Cert string // this agent's, with the URI fieldpost://agent/ID, and those that lead up to its authority
	Key  string // its private key; may be the file of Cert

	// ServerName is the name that collectors' certificates have. "": the host of the
	// address.
	ServerName string
}

// In the folder tls of an agent's folder:
const (
	tlsFolder   = "tls"
	pairFile    = "agent.pem"      // key and certificate
	caFile      = "ca.pem"         // the collector's authority
	enrolFile   = "enrolment.json" // where it was enrolled
	pendingFile = "new-key.pem"    // of an enrolment that is not through
)

// credentials are what links are secured with.
type credentials struct {
	id       wire.AgentID
	dir      string // of the agent
	own      bool   // from enrolment: in our folder, and renewed by us
	name     string // that the collector's certificate has, "": the host of the address
	source   *pki.Source
	certFile string
}

func newCredentials(id wire.AgentID, dir string, t TLS, log *slog.Logger) *credentials {
	if t == (TLS{}) {
		pair, ca := filepath.Join(dir, tlsFolder, pairFile), filepath.Join(dir, tlsFolder, caFile)
		return &credentials{id, dir, true, pki.ServerName, pki.NewSource(pki.Files{Cert: pair, Key: pair, CA: ca, Private: true}, log), pair}
	}
	return &credentials{id, dir, false, t.ServerName, pki.NewSource(pki.Files{Cert: t.Cert, Key: t.Key, CA: t.CA}, log), t.Cert}
}

// load returns what the files hold now; transport.ErrNotEnrolled if the agent has
// still to be enrolled.
func (c *credentials) load() (*pki.Loaded, error) {
	l, err := c.source.Get()
	if c.own && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf(`%w: run "collector token create" beside the collector, and here the command that it prints, with --dir %s`, transport.ErrNotEnrolled, c.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	switch id, err := pki.AgentOf(l.Cert.Leaf); {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.certFile, err)
	case id != c.id:
		return nil, fmt.Errorf("%s: it is agent %s's, this folder is %s's: a certificate speaks for one agent; give each its own", c.certFile, id, c.id)
	}
	return l, nil
}

// names returns those of which a collector's certificate has one.
func (c *credentials) names(collectors []string) (list []string) {
	if c.name != "" {
		return []string{c.name}
	}
	for _, addr := range collectors {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			list = append(list, host)
		}
	}
	return list
}

// settings returns the TLS settings for a connection to addr.
func (c *credentials) settings(addr string) (*tls.Config, error) {
	l, err := c.load()
	if err != nil {
		return nil, err
	}
	name := c.name
	if name == "" {
		name, _, _ = net.SplitHostPort(addr) // it was checked with the configuration
	}
	return &tls.Config{RootCAs: l.Roots, ServerName: name, Certificates: []tls.Certificate{*l.Cert}}, nil
}
