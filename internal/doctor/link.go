package doctor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// Link is what an agent would secure its link over a path with.
type Link struct {
	Path  *Path
	Agent wire.AgentID

	// TLS gives the settings for the link: what to trust, by which name, and the
	// agent's certificate. Nil: links are plain TCP.
	TLS func() (*tls.Config, error)
}

// Secure checks that the collector there is one that the agent trusts, and that what is
// between does not take TLS apart.
func (l *Link) Secure() Check {
	return Check{Group: "security", Name: "tls", About: l.Path.addr, Needs: []string{Key("port", l.Path.addr), "certificate"}, Run: l.secure}
}

func (l *Link) secure(ctx context.Context) []Finding {
	if l.TLS == nil {
		if config.IsLocal(l.Path.addr) {
			return []Finding{Good("links are plain TCP by insecure_plaintext, within this machine")}
		}
		return []Finding{Doubt("enrol the agent and leave insecure_plaintext out on both sides", "links are plain TCP by insecure_plaintext: whoever is on the way can read and change messages")}
	}
	conn, c, bad := l.connect(ctx)
	if bad != nil {
		return []Finding{*bad}
	}
	defer conn.Close()
	state := conn.ConnectionState()
	leaf := state.PeerCertificates[0]
	f := Dates("the collector's certificate", leaf, time.Now(), false)
	f.Text = fmt.Sprintf("%s, %s, as %s; %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), c.ServerName, f.Text)
	return []Finding{f}
}

// connect makes the link as far as TLS goes. The finding says why it cannot.
func (l *Link) connect(ctx context.Context) (*tls.Conn, *tls.Config, *Finding) {
	given, err := l.TLS()
	if err != nil {
		f := Bad("mend the certificate first", "%v", err)
		return nil, nil, &f
	}
	c := given.Clone()
	c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{wire.ProtocolLink}
	raw, err := l.Path.connect(ctx)
	if err != nil {
		f := l.Path.closed(ctx, err, 0)
		return nil, nil, &f
	}
	began := time.Now()
	conn := tls.Client(raw, c)
	err = conn.HandshakeContext(ctx)
	if err == nil && conn.ConnectionState().NegotiatedProtocol != wire.ProtocolLink {
		err = errNotACollector
	}
	if err != nil {
		raw.Close()
		f := l.insecure(ctx, err, c, time.Since(began))
		return nil, nil, &f
	}
	return conn, c, nil
}

var errNotACollector = errors.New("what answers there speaks TLS, but not " + wire.ProtocolLink)

// insecure says why a handshake failed.
func (l *Link) insecure(ctx context.Context, err error, c *tls.Config, took time.Duration) Finding {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	alert := alertOf(err)
	switch {
	case errors.Is(err, errNotACollector), alert == alertProtocol:
		return Bad("correct the port in collectors; on a guest or mobile network, a portal may answer for everybody: log in there, or use another network",
			"what answers there speaks TLS and is no collector")
	case errors.As(err, &record) && bytes.HasPrefix(record.RecordHeader[:], []byte("HTTP")):
		return Bad("correct the port in collectors (4718 is the collector's pages); on a guest or mobile network a portal may answer for everybody: log in there",
			"an HTTP server answers there: a portal, a proxy, or another port of the collector")
	case errors.As(err, &record):
		return Bad("correct the port in collectors, or leave insecure_plaintext out there", "what answers there does not speak TLS: another program, or a collector with insecure_plaintext")
	case errors.As(err, &verify):
		return l.untrusted(verify, c)
	case alert != "": // of this agent's certificate it speaks only later, see admission
		return Bad("correct the address in collectors: a collector speaks TLS 1.3; or something old takes TLS apart on the way", "what answers there ends TLS: %s", alert)
	case ctx.Err() != nil:
		return Bad("look whether the collector hangs (\"collector doctor\" there), or a proxy on the way accepts connections for a machine that is off",
			"a connection is made, and TLS gets no answer within %s", round(took))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isErrno(err, errnosReset):
		return Bad("a firewall that inspects TLS, a load balancer without a collector behind it, or a collector at its limit: look at its log",
			"the connection was closed in the middle of the TLS handshake")
	}
	return Bad("look at the collector's log", "TLS: %v", err)
}

// untrusted says why a certificate that was shown is not trusted.
func (l *Link) untrusted(v *tls.CertificateVerificationError, c *tls.Config) Finding {
	now := time.Now()
	if len(v.UnverifiedCertificates) == 0 {
		return Bad("look at what answers there", "no certificate was shown: %v", v.Err)
	}
	leaf := v.UnverifiedCertificates[0]
	by := config.Printable(fmt.Sprintf("%.100s", nameOf(leaf)))
	var invalid x509.CertificateInvalidError
	var hostname x509.HostnameError
	switch {
	case errors.As(v.Err, &invalid) && invalid.Reason == x509.Expired && now.Before(leaf.NotBefore):
		return Bad("set this machine's clock", "the collector's certificate begins at %s, and this machine's clock says %s", stamp(leaf.NotBefore), stamp(now))
	case errors.As(v.Err, &invalid) && invalid.Reason == x509.Expired:
		return Bad("if this machine's clock is right, renew the collector's certificate (one from its own authority is renewed as it runs: restart it), else set the clock",
			"the collector's certificate ended at %s, and this machine's clock says %s", stamp(leaf.NotAfter), stamp(now))
	case errors.As(v.Err, &hostname) && chains(v, c): // the name is looked at first
		return Bad("write the name that the certificate has into collectors, or into tls.server_name", "the certificate there is not for %s: it has %s", c.ServerName, names(leaf))
	case leaf.VerifyHostname(pki.ServerName) == nil:
		return Bad(`enrol at this collector ("collector token create" there prints the command), or point the agent at the one where it was enrolled`,
			"a Fieldpost collector answers, but of another authority (%s) than the one where this agent was enrolled", by)
	}
	return Bad("a proxy that takes TLS apart, or another server: have the collector's address exempted from inspection, or correct the address",
		"what answers there shows a certificate for %s by %q, which this agent does not trust", names(leaf), by)
}

// chains reports whether what was shown leads to an authority that is trusted, whatever
// the name.
func chains(v *tls.CertificateVerificationError, c *tls.Config) bool {
	rest := x509.NewCertPool()
	for _, cert := range v.UnverifiedCertificates[1:] {
		rest.AddCert(cert)
	}
	_, err := v.UnverifiedCertificates[0].Verify(x509.VerifyOptions{Roots: c.RootCAs, Intermediates: rest})
	return err == nil
}

// nameOf is who signed a certificate.
func nameOf(c *x509.Certificate) string {
	if c.Issuer.CommonName != "" {
		return c.Issuer.CommonName
	}
	return c.Issuer.String()
}

// names are those that a server's certificate is for.
func names(c *x509.Certificate) string {
	list := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "no name"
	}
	if len(list) > 6 {
		list = append(list[:6], "...")
	}
	return config.Printable(strings.Join(list, ", "))
}

// alertProtocol is the alert of a server that speaks none of the protocols that were
// offered.
var alertProtocol = tls.AlertError(120).Error()

// alertOf returns the alert that a peer sent, "" if err is none.
func alertOf(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}

// Admission checks that the collector would take this agent: its certificate, its id,
// the version of the protocol. It says hello and leaves before the collector has heard
// all that it needs for a session, so that a running agent's is not touched.
func (l *Link) Admission() Check {
	return Check{Group: "security", Name: "admission", About: l.Path.addr, Needs: []string{"identity", Key("port", l.Path.addr), Key("tls", l.Path.addr)}, Run: l.admission}
}

// patience is how long a refusal is waited for on a line where connecting took so long:
// one round trip there, of at least one and the work of TLS here.
func patience(connecting time.Duration) time.Duration {
	return min(500*time.Millisecond+10*connecting, 3*time.Second)
}

func (l *Link) admission(ctx context.Context) []Finding {
	began := time.Now()
	conn, bad := l.open(ctx)
	if bad != nil {
		return []Finding{*bad}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience(max(time.Since(began), time.Duration(l.Path.took.Load()))))) // an error shows at the read
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	hello := wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: wire.Version, Agent: l.Agent, Instance: wire.Instance{ID: wire.NewID()}, Streams: 1, Software: "fieldpost doctor"})
	if _, err := conn.Write(hello); err != nil {
		return []Finding{Bad("look at the collector's log", "the connection ended while the hello was written: %v", cause(err))}
	}
	typ, payload, _, err := wire.ReadFrame(bufio.NewReader(conn), nil, wire.MaxFrame)
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return []Finding{Good("the collector takes agent %s", l.Agent)} // it waits for the rest
	case alertOf(err) != "":
		return []Finding{Bad(`enrol again ("collector token create" beside the collector prints the command), or look at tls.ca on both sides`,
			"the collector does not take this agent's certificate: %s", alertOf(err))}
	case errors.Is(err, wire.ErrFrame):
		return []Finding{Bad("correct the address in collectors", "what answers there is no collector: %v", err)}
	case err != nil:
		return []Finding{Bad("look at the collector's log: it may be at its limits", "the collector closed the connection without an answer (%v)", cause(err))}
	case typ != wire.TypeRefuse:
		return []Finding{Bad("correct the address in collectors", "what answers there sends a frame of type %s where a collector would not", typ)}
	}
	var r wire.Refuse
	if err := wire.ParseJSON(typ, payload, &r); err != nil {
		return []Finding{Bad("look at the collector's log", "its refusal is not understood: %v", err)}
	}
	f := Bad(refusals[r.Code], "the collector refuses (%.40q): %.300q", string(r.Code), r.Message)
	if r.Code == wire.RefuseBusy || r.Code == wire.RefuseStore {
		f.Status = Warn
	}
	return []Finding{f}
}

// open connects as the agent would.
func (l *Link) open(ctx context.Context) (net.Conn, *Finding) {
	if l.TLS == nil {
		conn, err := l.Path.connect(ctx)
		if err != nil {
			f := l.Path.closed(ctx, err, 0)
			return nil, &f
		}
		return conn, nil
	}
	conn, _, bad := l.connect(ctx)
	if bad != nil {
		return nil, bad
	}
	return quick{conn}, nil
}

// quick is a TLS connection that closes at once, without a last alert.
type quick struct{ *tls.Conn }

func (q quick) Close() error { return q.NetConn().Close() }

// refusals says what to do about each.
var refusals = map[wire.RefuseCode]string{
	wire.RefuseVersion:  "update whichever of agent and collector is older",
	wire.RefuseIdentity: "the folder has another agent's certificate or id: enrol again",
	wire.RefuseTLS:      "enrol the agent, and leave insecure_plaintext out",
	wire.RefuseRevoked:  `it was revoked ("collector agents revoke"): if it is to come back, enrol it with a new token`,
	wire.RefuseBusy:     "wait: the collector sheds load, and agents come back by themselves",
	wire.RefuseStore:    `look at the collector ("collector doctor" there): its store takes nothing`,
}
