package collector

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// Config says how a [Server] works. Only Store is required.
type Config struct {
	Store Store // what is acked is durable in it

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

	Logger *slog.Logger // nil: slog.Default()
}

const (
	defaultUnidentified = 1024
	defaultMemory       = 256 << 20
	minMemory           = 8 << 20 // above a batch of wire.MaxBatchSize

	helloTimeout = 10 * time.Second // from accept until hello and histories are complete
	drainTimeout = 2 * time.Second  // at a shutdown, for entries that have come whole
	lastTimeout  = time.Second      // for the last frame, and for the peer to close after it
	writeTimeout = 10 * time.Second // for one write; the heartbeat may end the link earlier

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
	case c.Memory < minMemory:
		return c, fmt.Errorf("collector: memory of %d bytes: set at least %d, so that every batch fits", c.Memory, minMemory)
	}
	return c, nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
