package collector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// Config says how a [Server] works. Store is required, and either TLS or
// InsecurePlaintext.
type Config struct {
	Store Store // what is acked is durable in it

	// TLS has the collector's certificate, and in ClientCAs the authorities of its
	// agents. Its GetConfigForClient may give other settings for new connections;
	// it is called for each, and should return the same pointer as long as nothing
	// has changed. Whatever it says, the version is TLS 1.3, there are no session
	// tickets, and a link needs a verified client's certificate with the URI
	// fieldpost://agent/ID: the agent speaks for that id alone.
	TLS *tls.Config

	// InsecurePlaintext serves plain TCP, for agents that do so as well. Whoever
	// reaches the port can then speak for any agent.
	InsecurePlaintext bool

	// Admit says whether an agent with a verified certificate may have a link; an
	// error ends it, one that is [*Denied] with what it says. Called for each hello
	// and by [Server.Recheck], concurrently. Nil: all are admitted.
	Admit func(id wire.AgentID, cert *x509.Certificate) error

	// Enroll answers a request for a certificate. It decides by the request's token,
	// or by the certificates that the applicant has shown, which it has to verify. An
	// error that is [*Denied] is told. Called concurrently. Nil: no certificates are
	// given.
	Enroll func(ctx context.Context, by Applicant, e wire.Enroll) (wire.Enrolled, error)

	// Heartbeat is the interval that goes out in the welcome, 100 ms to 1 h; 0: 30 s.
	// An agent that asks for another one within these limits gets it.
	Heartbeat time.Duration

	Window   int // most bytes of a lane on their way unacked; 0: wire.DefaultWindow
	Fragment int // most bytes of a batch in one frame; 0: wire.DefaultFragment

	// MaxUnidentified is how many links may be open without a welcome; 0: 1024.
	// Links beyond that are refused as busy.
	MaxUnidentified int

	// Memory is how many bytes of batches may lie in memory over all links, at
	// least 8 MiB; 0: 256 MiB. At the limit reading pauses. Batches of
	// several lanes of one link that arrive at once may go beyond it, up to twice
	// the limit; then the link that wants more is refused as busy.
	Memory int64

	// MaxLinks is how many connections may be open in all; 0: nine tenths of the
	// descriptors that the process may have. Beyond that they are closed at once.
	MaxLinks int

	Logger *slog.Logger // nil: slog.Default()
}

const (
	defaultUnidentified = 1024
	defaultMemory       = 256 << 20
	minMemory           = 8 << 20 // above a batch of wire.MaxBatchSize

	tlsTimeout   = 5 * time.Second  // for the TLS handshake
	helloTimeout = 10 * time.Second // from accept until hello and histories are complete
	drainTimeout = 2 * time.Second  // at a shutdown, for entries that have come whole
	lastTimeout  = time.Second      // for the last frame, and for the peer to close after it
	writeTimeout = 10 * time.Second // for one write; the heartbeat may end the link earlier

	maxUnknown     = 16 << 10  // bytes that a peer may send before TLS has told who it is
	maxHelloBounds = 1 << 18   // boundaries over all streams of one hello
	maxUnwritten   = 256 << 10 // bytes of frames, acks apart, that a peer may leave unread
	maxRefusers    = 64        // links refused at the door that still wait for their last frame
)

// withDefaults returns c with every zero replaced by its meaning, or an error
// that says what to set.
func (c Config) withDefaults() (Config, error) {
	if c.Store == nil {
		return c, errors.New("collector: Config.Store is nil: pass a store, e.g. an open journal")
	}
	setDefault(&c.Heartbeat, heartbeat.DefaultInterval)
	setDefault(&c.Window, wire.DefaultWindow)
	setDefault(&c.Fragment, wire.DefaultFragment)
	setDefault(&c.MaxUnidentified, defaultUnidentified)
	setDefault(&c.Memory, defaultMemory)
	setDefault(&c.MaxLinks, max(1, descriptors()-descriptors()/reserveLeft))
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := heartbeat.CheckInterval(c.Heartbeat); err != nil {
		return c, fmt.Errorf("collector: %w", err)
	}
	const most = wire.MaxFrame - 1024 // beside an entry's head
	switch {
	case c.Fragment < 1024 || c.Fragment > most:
		return c, fmt.Errorf("collector: fragment of %d bytes: set 1024 to %d", c.Fragment, most)
	case c.Window < c.Fragment:
		return c, fmt.Errorf("collector: window of %d bytes: set at least the fragment, %d", c.Window, c.Fragment)
	case c.MaxUnidentified < 0:
		return c, fmt.Errorf("collector: MaxUnidentified %d: set at least 1", c.MaxUnidentified)
	case c.MaxLinks < 1:
		return c, fmt.Errorf("collector: MaxLinks %d: set at least 1", c.MaxLinks)
	case c.Memory < minMemory:
		return c, fmt.Errorf("collector: memory of %d bytes: set at least %d, so that every batch fits", c.Memory, minMemory)
	}
	if (c.TLS == nil) != c.InsecurePlaintext {
		return c, errors.New("collector: set either Config.TLS or Config.InsecurePlaintext: links are encrypted unless both sides say otherwise")
	}
	return c, nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
