package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files say where a side's certificate, its key and the authorities that it
// trusts lie, in PEM. Cert and Key may be one file.
type Files struct {
	Cert, Key, CA string

	// Private files lie in a folder of ours: no symbolic links, and not readable by
	// others. Elsewhere links are usual: that is how certificates are exchanged in
	// one step.
	Private bool
}

// Loaded is what files hold; it is not changed any more.
type Loaded struct {
	Cert  *tls.Certificate // with its Leaf
	CAs   []*x509.Certificate
	Roots *x509.CertPool
}

// Load reads the files. An error that is fs.ErrNotExist means that one is missing.
func (f Files) Load() (*Loaded, error) {
	read := func(path string, secret bool) ([]byte, error) {
		if f.Private && secret {
			return ReadSecret(path)
		}
		return readFile(path, nil)
	}
	certs, err := read(f.Cert, f.Cert == f.Key)
	if err != nil {
		return nil, err
	}
	key := certs
	if f.Key != f.Cert {
		if key, err = read(f.Key, true); err != nil {
			return nil, err
		}
	}
	var l Loaded
	if l.Cert, err = ParsePair(certs, key); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	cas, err := read(f.CA, false)
	if err != nil {
		return nil, err
	}
	if l.CAs, err = ParseCerts(cas); err != nil {
		return nil, fmt.Errorf("%s: %w", f.CA, err)
	}
	l.Roots = Pool(l.CAs)
	return &l, nil
}

// Source has what files hold, and reads them again when they have changed. It
// looks at most once a second. New ones that are bad are logged and not taken.
// Its methods may be called concurrently.
type Source struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	seen    []fs.FileInfo
	current *Loaded
	err     error // of the last reading, as long as there is no current
}

// lookEvery is how often a source looks at its files.
const lookEvery = time.Second

// NewSource returns a source; nothing is read before it is asked.
func NewSource(files Files, log *slog.Logger) *Source { return &Source{files: files, log: log} }

// Get returns what the files hold, or as long as they were never good, why not.
func (s *Source) Get() (*Loaded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.looked.IsZero() || now.Sub(s.looked) >= lookEvery || now.Before(s.looked) {
		s.looked = now
		s.look()
	}
	return s.current, s.err
}

// Forget makes the next Get look at once.
func (s *Source) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = time.Time{}
}

// look reads the files if one of them is another than at the last look.
func (s *Source) look() {
	var seen []fs.FileInfo
	changed := s.seen == nil
	for i, path := range []string{s.files.Cert, s.files.Key, s.files.CA} {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		seen = append(seen, info)
		changed = changed || !sameFile(info, s.seen[i])
	}
	if !changed {
		return
	}
	s.seen = seen
	got, err := s.files.Load()
	switch {
	case err == nil:
		if s.current != nil {
			s.log.Info("the certificate was read again", "file", s.files.Cert, "not_after", got.Cert.Leaf.NotAfter)
		}
		s.current, s.err = got, nil
	case s.current == nil:
		s.err = err
	default:
		s.log.Error("the new certificate files are bad, the old ones stay in use", "error", err)
	}
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
