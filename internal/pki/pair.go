package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// EncodeCerts returns certificates in PEM.
func EncodeCerts(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a bytes.Buffer takes everything
	}
	return b.Bytes()
}

// EncodeKey returns a key in PEM.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseCerts returns all certificates in data, at least one. Other blocks are
// passed over.
func ParseCerts(data []byte) (certs []*x509.Certificate, err error) {
	for len(data) > 0 {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in it: want PEM with BEGIN CERTIFICATE")
	}
	return certs, nil
}

// ParseKey returns the first private key in data. Its errors show nothing of it.
func ParseKey(data []byte) (crypto.Signer, error) {
	for len(data) > 0 {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		switch b.Type {
		case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
			return parseKey(b.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key has a passphrase: nobody is there to type it; store it without one, for its owner only")
		}
	}
	return nil, errors.New("no private key in it: want PEM with BEGIN PRIVATE KEY")
}

func parseKey(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch k := k.(type) {
		case *ecdsa.PrivateKey:
			return k, nil
		case *rsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return k, nil
		}
		return nil, errors.New("a private key of a kind that TLS does not use")
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	return nil, errors.New("the private key cannot be read")
}

// NewPair returns a certificate with its chain and key, as TLS wants it.
func NewPair(chain []*x509.Certificate, key crypto.Signer) (*tls.Certificate, error) {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(chain[0].PublicKey) {
		return nil, errors.New("certificate and private key do not belong together")
	}
	c := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, cert := range chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c, nil
}

// EncodePair returns a key and its certificates in PEM, for one file: they change
// together or not at all.
func EncodePair(key crypto.Signer, chain ...*x509.Certificate) ([]byte, error) {
	b, err := EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return append(b, EncodeCerts(chain...)...), nil
}

// ParsePair reads certificates and their key.
func ParsePair(certs, key []byte) (*tls.Certificate, error) {
	chain, err := ParseCerts(certs)
	if err != nil {
		return nil, err
	}
	k, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	return NewPair(chain, k)
}

// Pool returns a pool of certs.
func Pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// ParseDER reads a chain of certificates as a frame carries it.
func ParseDER(list [][]byte) (certs []*x509.Certificate, err error) {
	if len(list) == 0 || len(list) > 8 {
		return nil, fmt.Errorf("%d certificates: want 1 to 8", len(list))
	}
	for _, der := range list {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return certs, nil
}
