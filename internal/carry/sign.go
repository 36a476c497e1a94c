package carry

import "hash"

// Signer signs a message with an agent's or a collector's key.
type Signer func(message []byte) (signature []byte, err error)

// Verifier decides whether a file is believed by what its manifest says, and returns
// what verifies its signatures. It is also asked about a file that is not signed; then
// what it returns is not called.
type Verifier func(m *Manifest) (check func(message, signature []byte) error, err error)

// signedMessage is what is signed in a carry file: all bytes before the signature, and
// whether it is the last one, so that a file that was cut short cannot be given an end.
func signedMessage(last bool, sum hash.Hash) []byte {
	return sum.Sum(append([]byte("fieldpost carry file\x00"), octet(last)))
}

func octet(b bool) byte {
	if b {
		return 1
	}
	return 0
}
