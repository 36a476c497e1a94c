package collector

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/fieldpost/fieldpost/wire"
)

// Applicant is who asks for a certificate.
type Applicant struct {
	Address string // host and port of the peer

	// Certificates is the chain that the peer showed, nil if none. The peer has the
	// first one's key; nothing else of it is verified.
	Certificates []*x509.Certificate
}

// enrolment answers the one question of a connection for enrolment. What it
// returns is the link's end in any case.
func (l *link) enrolment() error {
	l.conn.SetReadDeadline(l.accepted.Add(helloTimeout))
	if l.over() {
		return errEnded
	}
	t, p, err := l.next(wire.MaxEnroll)
	if err != nil {
		return err
	}
	if t != wire.TypeEnroll {
		return fmt.Errorf("the first frame is %s, not enroll", t)
	}
	var e wire.Enroll
	if err := wire.ParseJSON(t, p, &e); err != nil {
		return err
	}
	if err := e.Check(); err != nil {
		return err
	}
	e.Software, e.Host = plain(e.Software, wire.MaxText), plainHost(e.Host)
	if l.srv.cfg.Enroll == nil {
		return &refusal{code: wire.RefuseEnroll, err: errors.New("this collector gives no certificates: its agents have theirs from elsewhere (tls: in the configuration)")}
	}
	ctx, cancel := context.WithTimeout(l.serving.store, helloTimeout)
	defer cancel()
	answer, err := l.srv.cfg.Enroll(ctx, Applicant{l.address, l.certs}, e)
	if err != nil {
		r := deny(err)
		if r.err != err {
			l.srv.warn("enroll", "an enrolment failed", "agent", e.Agent, "address", l.address, "error", err)
		}
		return r
	}
	l.srv.count.enrolled.Add(1)
	l.end(ending{cause: "enrolled", answer: wire.AppendJSON(nil, wire.TypeEnrolled, answer)})
	return errEnded
}
