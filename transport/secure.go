package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// ErrNotEnrolled is what Config.TLS returns as long as the agent has no
// certificate.
var ErrNotEnrolled = errors.New("this agent has no certificate yet")

// secured is a TLS connection that closes at once: tls.Conn would wait up to five
// seconds for its last alert on a dead link, and frames show by themselves that
// nothing is missing.
type secured struct{ *tls.Conn }

func (s secured) Close() error { return s.NetConn().Close() }

// settings returns the TLS settings for a connection to addr on which protocol is
// spoken, nil for plain TCP.
func (cfg *Config) settings(addr, protocol string) (*tls.Config, error) {
	if cfg.InsecurePlaintext {
		return nil, nil
	}
	given, err := cfg.TLS(addr)
	if errors.Is(err, ErrNotEnrolled) {
		return nil, failf(CauseNotEnrolled, "%w", err)
	}
	if err != nil {
		return nil, failf(CauseTLS, "%w", err)
	}
	return forProtocol(given, protocol), nil
}

func forProtocol(given *tls.Config, protocol string) *tls.Config {
	c := given.Clone()
	c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{protocol}
	return c
}

// encrypt makes conn a TLS connection. It takes conn over: after an error it is
// closed.
func encrypt(ctx context.Context, conn net.Conn, c *tls.Config, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	s := secured{tls.Client(conn, c)}
	err := s.HandshakeContext(ctx)
	if err == nil && s.ConnectionState().NegotiatedProtocol != c.NextProtos[0] {
		err = failf(CauseTLS, "what answers at %s is not a collector, or an older one: it does not speak %s", addr, c.NextProtos[0])
	}
	if err != nil {
		s.Close()
		return nil, tlsFailure(err, c, "secure the link to "+addr, time.Now())
	}
	return s, nil
}

// The alert with which a collector refuses a certificate for its time.
var alertExpired = tls.AlertError(45).Error()

// tlsFailure names the cause of a failed handshake, or of a first read after it:
// that is where a collector's refusal of the certificate shows.
func tlsFailure(err error, c *tls.Config, doing string, now time.Time) *failure {
	alert := alertOf(err)
	var f *failure
	if alert == "" && errors.As(err, &f) {
		return f
	}
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	own := ownCertificate(c)
	switch {
	case errors.As(err, &record):
		return failf(CauseTLS, "%s: what answers there does not speak TLS: another program, or a collector that runs with insecure_plaintext (%w)", doing, err)
	case errors.As(err, &verify):
		if f := serverClock(verify, c, doing, now); f != nil {
			return f
		}
		return failf(CauseTLS, "%s: the collector there is not one that this agent trusts: %w", doing, verify.Err)
	case alert == "":
		return asFailure(err, doing)
	case own != nil && now.Before(own.NotBefore):
		return failf(CauseClock, "%s: this machine's clock says %s, but its own certificate was made for %s and later: set the clock (the collector said: %s)",
			doing, stamp(now), stamp(own.NotBefore), alert)
	case own != nil && alert == alertExpired && now.After(own.NotAfter):
		return failf(CauseExpired, "%s: this agent's certificate expired at %s: it was not renewed in time; if the clock, %s, is right, enrol again", doing, stamp(own.NotAfter), stamp(now))
	case own != nil && alert == alertExpired:
		return failf(CauseClock, "%s: by the collector's clock this agent's certificate is not good now, by this machine's clock, %s, it is (until %s): set the clock that is wrong",
			doing, stamp(now), stamp(own.NotAfter))
	}
	return failf(CauseTLS, "%s: the collector does not take this agent's certificate (%s): it trusts another authority; enrol again, or look at tls.ca on both sides", doing, alert)
}

// serverClock returns the failure if the collector's certificate is good but for
// this machine's time, else nil. The time that makes it good is looked for to name
// the cause; the link is not made.
func serverClock(v *tls.CertificateVerificationError, c *tls.Config, doing string, now time.Time) *failure {
	var invalid x509.CertificateInvalidError
	if !errors.As(v.Err, &invalid) || invalid.Reason != x509.Expired || len(v.UnverifiedCertificates) == 0 {
		return nil
	}
	leaf := v.UnverifiedCertificates[0]
	rest := x509.NewCertPool()
	for _, cert := range v.UnverifiedCertificates[1:] {
		rest.AddCert(cert)
	}
	roots := c.RootCAs
	if roots == nil && c.VerifyConnection != nil { // an enrolment: it has pinned the authority, which is in the chain
		roots = rest
	}
	between := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: c.ServerName, Roots: roots, Intermediates: rest, CurrentTime: between}); err != nil {
		return nil
	}
	if now.Before(leaf.NotBefore) {
		return failf(CauseClock, "%s: this machine's clock says %s, which is before the collector's certificate was made (%s): set the clock", doing, stamp(now), stamp(leaf.NotBefore))
	}
	return failf(CauseClock, "%s: this machine's clock says %s, but the collector's certificate ended at %s: set the clock, or if it is right, renew the collector's certificate",
		doing, stamp(now), stamp(leaf.NotAfter))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// alertOf returns the alert that a peer sent, "" if err is none.
func alertOf(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}

// ownCertificate returns the certificate that c shows, nil if there is none.
func ownCertificate(c *tls.Config) *x509.Certificate {
	if c == nil || len(c.Certificates) == 0 {
		return nil
	}
	return c.Certificates[0].Leaf
}

// Enroll asks the collector at addr for a certificate, over one connection that it
// makes with dial (nil: TCP) and given. It returns what the collector answered, its
// frame checked but not its certificates. [CauseOf] tells errors apart.
func Enroll(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error), addr string, given *tls.Config, e wire.Enroll) (wire.Enrolled, error) {
	if dial == nil {
		dial = dialTCP
	}
	doing := "enrol at " + addr
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+handshakeTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return wire.Enrolled{}, asFailure(err, "connect to "+addr)
	}
	c := forProtocol(given, wire.ProtocolEnroll)
	conn, err = encrypt(ctx, conn, c, addr)
	if err != nil {
		return wire.Enrolled{}, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // an error shows at the next read
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(wire.AppendJSON(nil, wire.TypeEnroll, e)); err != nil {
		return wire.Enrolled{}, tlsFailure(err, c, doing, time.Now())
	}
	typ, payload, _, err := wire.ReadFrame(bufio.NewReader(conn), nil, wire.MaxEnrolled)
	switch {
	case errors.Is(err, io.EOF):
		return wire.Enrolled{}, failf(CauseClosed, "%s: the collector closed the connection without an answer", doing)
	case err != nil:
		return wire.Enrolled{}, tlsFailure(err, c, doing, time.Now())
	case typ != wire.TypeEnrolled:
		return wire.Enrolled{}, lastFrame(typ, payload)
	}
	var got wire.Enrolled
	if err := wire.ParseJSON(typ, payload, &got); err != nil {
		return wire.Enrolled{}, asFailure(err, doing)
	}
	if err := got.Check(); err != nil {
		return wire.Enrolled{}, failf(CauseProtocol, "%s: %w", doing, err)
	}
	return got, nil
}

// CauseOf returns the cause of an error of Enroll.
func CauseOf(err error) Cause { return asFailure(err, "").cause }

// exposed returns a warning if what is sent over conn can be read on the way, ""
// if not.
func exposed(conn net.Conn) string {
	if _, ok := conn.(secured); ok {
		return ""
	}
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return ""
	}
	return fmt.Sprintf("the link to %s is not encrypted: whoever is on the way can read and change messages", tcp)
}
