package collector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// Denied is an error of [Config.Admit] or [Config.Enroll] that the peer is told.
type Denied struct {
	Code   wire.RefuseCode
	Reason string // for people at both sides
}

// Error returns the reason.
func (d *Denied) Error() string { return d.Reason }

// deny turns an error of the owner's functions into a refusal. What is not meant
// for the peer it is not told.
func deny(err error) *refusal {
	var d *Denied
	if errors.As(err, &d) {
		return &refusal{code: d.Code, err: err}
	}
	return &refusal{code: wire.RefuseStore, retry: spread(), err: fmt.Errorf("%w: see the collector's log", errOwn)}
}

var errOwn = errors.New("the collector cannot answer this now")

// secured is a TLS connection that closes at once: tls.Conn would wait for its
// last alert, and frames show by themselves that nothing is missing.
type secured struct{ *tls.Conn }

func (s secured) Close() error { return s.NetConn().Close() }

// wait returns when there is something to read; nothing that was read may be left.
func (s secured) wait() error { return s.NetConn().(*rationed).wait() }

// protocols has the TLS settings of a server, one for each protocol. They are
// derived from the owner's once, and again only when its GetConfigForClient gives
// another: thousands of connections share them.
type protocols struct {
	given *tls.Config

	mu           sync.Mutex
	from         *tls.Config
	link, enroll *tls.Config
}

// entry returns the settings that every connection begins with.
func (p *protocols) entry() *tls.Config {
	c := p.given.Clone()
	c.MinVersion, c.SessionTicketsDisabled = tls.VersionTLS13, true
	c.GetConfigForClient = p.choose
	return c
}

// choose returns the settings for a client by the protocol that it wants to
// speak. Without one it gets those of a link, and is refused after the handshake.
func (p *protocols) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	from := p.given
	if f := p.given.GetConfigForClient; f != nil {
		c, err := f(hello)
		if err != nil {
			return nil, err
		}
		if c != nil {
			from = c
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if from != p.from {
		p.from = from
		p.link = derive(from, wire.ProtocolLink, tls.RequireAndVerifyClientCert)
		p.enroll = derive(from, wire.ProtocolEnroll, tls.RequestClientCert)
	}
	if slices.Contains(hello.SupportedProtos, wire.ProtocolEnroll) {
		return p.enroll, nil
	}
	return p.link, nil
}

func derive(from *tls.Config, protocol string, auth tls.ClientAuthType) *tls.Config {
	c := from.Clone()
	c.MinVersion, c.SessionTicketsDisabled, c.GetConfigForClient = tls.VersionTLS13, true, nil // a ticket would outlive a revocation
	c.NextProtos, c.ClientAuth = []string{protocol}, auth
	return c
}

// secure makes the link a secure one and notes who the peer is. It returns which
// protocol is spoken.
func (l *link) secure() (protocol string, err error) {
	conn, ok := l.conn.(secured)
	if !ok {
		return wire.ProtocolLink, nil
	}
	l.conn.SetDeadline(time.Now().Add(tlsTimeout))
	if l.over() { // the line before must not undo what end did
		return "", errEnded
	}
	ctx, cancel := context.WithTimeout(l.serving.store, tlsTimeout)
	defer cancel()
	// In a goroutine of its own: the stack that a handshake needs would stay with
	// the link.
	shaken := make(chan error, 1)
	go func() { shaken <- conn.HandshakeContext(ctx) }()
	if err := <-shaken; err != nil {
		return "", l.insecure(conn, err)
	}
	l.conn.SetDeadline(time.Time{})
	if l.over() {
		return "", errEnded
	}
	l.in.secure = true
	state := conn.ConnectionState()
	if state.NegotiatedProtocol == "" {
		return "", fmt.Errorf("the client does not say that it speaks %s: this port is for Fieldpost agents", wire.ProtocolLink)
	}
	l.certs = state.PeerCertificates
	if state.NegotiatedProtocol == wire.ProtocolLink {
		if l.identity, err = pki.AgentOf(l.certs[0]); err != nil {
			return "", &refusal{code: wire.RefuseIdentity, err: err}
		}
		conn.NetConn().(*rationed).free = true
	}
	return state.NegotiatedProtocol, nil
}

// insecure says why a connection could not be secured, to the log, and to a peer
// that speaks our protocol in the clear. What a peer has sent is read, so that it
// gets to read the alert or refusal.
func (l *link) insecure(conn secured, err error) error {
	raw := conn.NetConn()
	failed := error(&lostError{"TLS: " + plain(err.Error(), maxMessage)})
	var header tls.RecordHeaderError
	if errors.As(err, &header) && wire.Type(header.RecordHeader[4]) == wire.TypeHello {
		r := &refusal{code: wire.RefuseTLS, err: errors.New(`links to this collector are encrypted: enrol the agent ("collector token create" here prints the command), and start it without insecure_plaintext`)}
		raw.SetWriteDeadline(time.Now().Add(lastTimeout))
		raw.Write(r.frame())
		failed = r
	} else {
		l.srv.count.tlsFailed.Add(1)
		l.srv.warn(source("", "tls", l.address), "a connection could not be secured", "address", l.address, "cause", plain(err.Error(), maxMessage))
	}
	closeWrite(raw)
	raw.SetReadDeadline(time.Now().Add(lastTimeout))
	io.Copy(io.Discard, raw)
	return failed
}

// authorize checks that the peer may speak for an agent.
func (l *link) authorize(id wire.AgentID) error {
	if len(l.certs) == 0 {
		return nil
	}
	if id != l.identity {
		return &refusal{code: wire.RefuseIdentity, err: fmt.Errorf("the certificate is agent %s's: it cannot speak for %s", l.identity, id)}
	}
	return l.srv.admitted(id, l.certs[0])
}

// admitted asks the owner whether an agent with that certificate is still taken.
func (s *Server) admitted(id wire.AgentID, cert *x509.Certificate) error {
	if s.cfg.Admit == nil {
		return nil
	}
	if err := s.cfg.Admit(id, cert); err != nil {
		r := deny(err)
		if r.err != err {
			s.warn("admit", "it could not be found out whether an agent is to be admitted", "agent", id, "error", err)
		}
		return r
	}
	return nil
}

// Recheck asks Config.Admit about every agent that has a link, and ends the links
// of those that are not admitted any more. To be called after what Admit answers
// by has changed.
func (s *Server) Recheck() {
	s.mu.Lock()
	var links []*link
	for _, a := range s.agents {
		if a.link != nil && len(a.link.certs) > 0 {
			links = append(links, a.link)
		}
	}
	s.mu.Unlock()
	for _, l := range links {
		if err := s.admitted(l.identity, l.certs[0]); err != nil {
			l.fail(err)
		}
	}
}

// expired reports whether the link's certificate has run out: a new link needs a
// new one.
func (l *link) expired(now time.Time) bool {
	return len(l.certs) > 0 && now.After(l.certs[0].NotAfter)
}
