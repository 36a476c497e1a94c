package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

// ServerName is the DNS name in the certificate of every collector that has its
// own authority. It is not resolved.
const ServerName = "collector.fieldpost.internal"

const (
	scheme    = "fieldpost"
	agentHost = "agent"
)

// AgentURI returns the URI that stands for an agent in its certificate.
func AgentURI(id wire.AgentID) *url.URL {
	return &url.URL{Scheme: scheme, Host: agentHost, Path: "/" + string(id)}
}

// ParseAgentURI returns whose URI u is. Every id has one spelling, so what is
// escaped, or has a query, a fragment, a user or a port, is an error.
func ParseAgentURI(u *url.URL) (wire.AgentID, error) {
	id, ok := strings.CutPrefix(u.Path, "/")
	if !ok || AgentURI(wire.AgentID(id)).String() != u.String() {
		return "", fmt.Errorf("%.120q names no agent: want %s://%s/ID", u, scheme, agentHost)
	}
	return wire.ParseAgentID(id)
}

// AgentOf returns the agent that a certificate speaks for: that of its only URI
// of the scheme fieldpost. URIs of other schemes do not matter. It verifies
// nothing else.
func AgentOf(cert *x509.Certificate) (wire.AgentID, error) { return agentOf(cert.URIs) }

func agentOf(uris []*url.URL) (wire.AgentID, error) {
	var found *url.URL
	for _, u := range uris {
		switch {
		case u.Scheme != scheme:
		case found != nil:
			return "", fmt.Errorf("the certificate has two names, %.120q and %.120q: an agent has one", found, u)
		default:
			found = u
		}
	}
	if found == nil {
		return "", errors.New("the certificate names no agent: it needs the URI fieldpost://agent/ID as a subject alternative name")
	}
	return ParseAgentURI(found)
}
