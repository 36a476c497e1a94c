package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// RenewGrace is for how long after its end an agent's certificate still says who it
// is, to be renewed or under a carry file: who was out of reach for a season is not
// lost. A machine that was lost is revoked.
const RenewGrace = 365 * 24 * time.Hour

// algorithm returns how the owner of a key signs messages.
func algorithm(pub crypto.PublicKey) (x509.SignatureAlgorithm, error) {
	switch pub.(type) {
	case *ecdsa.PublicKey:
		return x509.ECDSAWithSHA256, nil
	case *rsa.PublicKey:
		return x509.SHA256WithRSA, nil
	case ed25519.PublicKey:
		return x509.PureEd25519, nil
	}
	return 0, fmt.Errorf("a key of type %T signs nothing here: use ECDSA, Ed25519 or RSA", pub)
}

// SignMessage signs a message, which is short and says what it is for, with a
// certificate's key.
func SignMessage(c *tls.Certificate, message []byte) ([]byte, error) {
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the certificate's key cannot sign")
	}
	alg, err := algorithm(key.Public())
	if err != nil {
		return nil, err
	}
	if alg == x509.PureEd25519 {
		return key.Sign(rand.Reader, message, crypto.Hash(0))
	}
	hash := sha256.Sum256(message)
	return key.Sign(rand.Reader, hash[:], crypto.SHA256)
}

// VerifyMessage verifies a signature of SignMessage.
func VerifyMessage(cert *x509.Certificate, message, signature []byte) error {
	alg, err := algorithm(cert.PublicKey)
	if err != nil {
		return err
	}
	return cert.CheckSignature(alg, message, signature)
}

// VerifyAgent returns the certificate with which an agent has signed something and
// whose it is: the first of a chain that leads to roots. It may have ended within
// [RenewGrace] before now.
func VerifyAgent(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (wire.AgentID, *x509.Certificate, error) {
	leaf, at := chain[0], now
	if now.After(leaf.NotAfter) {
		if at = leaf.NotAfter; now.Sub(at) > RenewGrace {
			return "", nil, fmt.Errorf("the certificate ended at %s, too long ago", leaf.NotAfter.Format(time.RFC3339))
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: Pool(chain[1:]), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return "", nil, err
	}
	id, err := AgentOf(leaf)
	return id, leaf, err
}

// VerifyServer returns the certificate with which a collector has signed something:
// the first of a chain that leads to roots, and with one of the names, if any is known.
// Whether it has ended does not count: what was signed may have travelled for long.
func VerifyServer(chain []*x509.Certificate, roots *x509.CertPool, names []string) (*x509.Certificate, error) {
	leaf := chain[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: Pool(chain[1:]), CurrentTime: leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err = leaf.VerifyHostname(name); err == nil {
			return leaf, nil
		}
	}
	return leaf, err
}
