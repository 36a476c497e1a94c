package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Lifetimes of certificates.
const (
	AuthorityLife = 20 * 365 * 24 * time.Hour
	ServerLife    = 90 * 24 * time.Hour
	AgentLife     = 30 * 24 * time.Hour
)

// Backdate is how long before its issue a certificate begins, for machines whose
// clocks are a little behind.
const Backdate = time.Hour

// Authority signs the certificates of one collector and its agents.
type Authority struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes an authority and returns it with its key.
func NewAuthority(now time.Time) (*Authority, crypto.Signer, error) {
	key, err := NewKey()
	if err != nil {
		return nil, nil, err
	}
	t := template(now, now.Add(AuthorityLife))
	t.Subject = pkix.Name{Organization: []string{"Fieldpost"}, CommonName: "Fieldpost collector authority " + t.SerialNumber.Text(16)[:8]}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	cert, err := sign(t, t, key.Public(), key)
	return &Authority{cert, key}, key, err
}

// OpenAuthority returns the authority with a certificate and its key.
func OpenAuthority(cert *x509.Certificate, key crypto.Signer) (*Authority, error) {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !cert.IsCA:
		return nil, errors.New("the certificate is not that of an authority")
	case !ok || !pub.Equal(cert.PublicKey):
		return nil, errors.New("the authority's key and certificate do not belong together")
	}
	return &Authority{cert, key}, nil
}

// Pin returns what a token says of the authority: the SHA-256 of its certificate.
func (a *Authority) Pin() [sha256.Size]byte { return sha256.Sum256(a.Cert.Raw) }

// IssueAgent signs a certificate with which an agent may connect until notAfter.
func (a *Authority) IssueAgent(id wire.AgentID, pub crypto.PublicKey, notBefore, notAfter time.Time) (*x509.Certificate, error) {
	t := template(notBefore, notAfter)
	t.Subject = pkix.Name{CommonName: string(id)}
	t.URIs = []*url.URL{AgentURI(id)}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(t, pub)
}

// IssueServer signs a collector's certificate for [ServerName] and names, which
// are host names and addresses.
func (a *Authority) IssueServer(names []string, pub crypto.PublicKey, notBefore, notAfter time.Time) (*x509.Certificate, error) {
	t := template(notBefore, notAfter)
	t.Subject = pkix.Name{CommonName: ServerName}
	t.DNSNames = []string{ServerName}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if n != "" && n != ServerName {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return a.sign(t, pub)
}

func (a *Authority) sign(t *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	t.KeyUsage, t.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	if t.NotAfter.After(a.Cert.NotAfter) {
		t.NotAfter = a.Cert.NotAfter
	}
	if !t.NotAfter.After(t.NotBefore) {
		return nil, fmt.Errorf("the authority's certificate expired at %s: nothing can be signed with it", a.Cert.NotAfter.Format(time.RFC3339))
	}
	return sign(t, a.Cert, pub, a.key)
}

func template(notBefore, notAfter time.Time) *x509.Certificate {
	serial := wire.NewID() // 127 random bits
	serial[0] = serial[0]&0x7f | 0x40
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[:]), NotBefore: notBefore.UTC().Truncate(time.Second), NotAfter: notAfter.UTC().Truncate(time.Second)}
}

func sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// RenewAt returns when a certificate is to be renewed: after two thirds of its
// life.
func RenewAt(cert *x509.Certificate) time.Time {
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) * 2 / 3)
}
