package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"

	"github.com/fieldpost/fieldpost/wire"
)

// MaxRequest is the most bytes a certificate request may have.
const MaxRequest = 2 << 10

// NewKey returns a fresh key.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// NewRequest returns the DER form of a request for a certificate of an agent,
// signed with its key.
func NewRequest(id wire.AgentID, key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: string(id)}, URIs: []*url.URL{AgentURI(id)},
	}, key)
}

// Request is an agent's wish for a certificate.
type Request struct {
	ID        wire.AgentID
	PublicKey crypto.PublicKey
	KeyInfo   []byte // the public key in its DER form
}

// ParseRequest reads and checks a request: for which agent it is, that the
// sender has the key, and that the key is not too weak and not too costly.
func ParseRequest(der []byte) (Request, error) {
	if len(der) > MaxRequest {
		return Request{}, fmt.Errorf("certificate request of %d bytes, the limit is %d", len(der), MaxRequest)
	}
	c, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return Request{}, fmt.Errorf("certificate request: %w", err)
	}
	if err := checkKey(c.PublicKey); err != nil {
		return Request{}, fmt.Errorf("certificate request: %w", err)
	}
	if err := c.CheckSignature(); err != nil {
		return Request{}, fmt.Errorf("certificate request: it is not signed with its own key: %w", err)
	}
	id, err := agentOf(c.URIs)
	if err != nil {
		return Request{}, fmt.Errorf("certificate request: %w", err)
	}
	return Request{id, c.PublicKey, c.RawSubjectPublicKeyInfo}, nil
}

func checkKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 4096 {
			return fmt.Errorf("an RSA key of %d bits: want 2048 to 4096, or a key on P-256", n)
		}
	case nil:
		return errors.New("a key of an unknown kind: want one on P-256")
	}
	return nil
}
