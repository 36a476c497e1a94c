package wire

import (
	"errors"
	"fmt"
	"time"
)

// Names of what is spoken on a connection, for TLS's ALPN. Both sides MUST agree
// on one of them.
const (
	ProtocolLink   = "fieldpost/1"        // a link: hello, welcome and so on
	ProtocolEnroll = "fieldpost-enroll/1" // one enroll, one answer
)

// Limits of an enrolment.
const (
	MaxEnroll       = 8 << 10  // bytes of an enroll
	MaxEnrolled     = 64 << 10 // bytes of the answer
	MaxRequest      = 2 << 10  // bytes of a certificate request
	MaxCertificates = 8        // in a chain, and of authorities
	TokenSecret     = 20       // bytes of a token's secret
)

// Enroll asks for a certificate: with the secret of a token, or without one to
// renew that with which the connection was made.
type Enroll struct {
	Protocol int     `json:"protocol"`
	Agent    AgentID `json:"agent"`
	Token    []byte  `json:"token,omitempty"` // the secret; base64 in JSON
	Request  []byte  `json:"request"`         // PKCS #10 in DER, for the URI fieldpost://agent/ID
	Software string  `json:"software,omitempty"`
	Host     Host    `json:"host"`
}

func (e Enroll) fit() Enroll {
	h := Hello{Software: e.Software, Host: e.Host}.fit()
	e.Software, e.Host = h.Software, h.Host
	return e
}

// Check verifies an enroll that was read from a peer. It does not read the
// certificate request.
func (e *Enroll) Check() error {
	switch {
	case e.Protocol != Version:
		return fmt.Errorf("protocol version %d, this side speaks %d", e.Protocol, Version)
	case len(e.Token) != 0 && len(e.Token) != TokenSecret:
		return fmt.Errorf("a token's secret of %d bytes, it has %d", len(e.Token), TokenSecret)
	case len(e.Request) == 0 || len(e.Request) > MaxRequest:
		return fmt.Errorf("a certificate request of %d bytes, the limit is %d", len(e.Request), MaxRequest)
	}
	return CheckName("agent id", string(e.Agent))
}

// Enrolled is the answer: certificates in DER.
type Enrolled struct {
	Certificate [][]byte  `json:"certificate"` // the agent's, then those that lead up to an authority
	Authorities [][]byte  `json:"authorities"` // those to trust from now on, instead of any before
	Time        time.Time `json:"time"`        // the collector's clock
}

// Check verifies an answer that was read from a peer. It does not read the
// certificates.
func (e *Enrolled) Check() error {
	for _, list := range [][][]byte{e.Certificate, e.Authorities} {
		if len(list) == 0 || len(list) > MaxCertificates {
			return fmt.Errorf("enrolled with %d certificates and %d authorities: want 1 to %d of each", len(e.Certificate), len(e.Authorities), MaxCertificates)
		}
		for _, der := range list {
			if len(der) == 0 {
				return errors.New("enrolled with an empty certificate")
			}
		}
	}
	return nil
}
