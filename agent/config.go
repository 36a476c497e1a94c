package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// DefaultDir is where an agent keeps its queue if it is not told.
const DefaultDir = "fieldpost-agent"

// Config says who an agent is and where it keeps and sends messages. The zero
// Config works: an agent named like the host that only keeps.
type Config struct {
	// ID names the agent to the collector: 1 to 64 of [A-Za-z0-9._-]. "": what the
	// folder says, or in a new one the host's name. A folder's id never changes.
	ID string

	// Dir holds the queue; it is made if missing. "": DefaultDir.
	Dir string

	// Collectors are host:port addresses, tried in turn. None: messages are kept.
	Collectors []string

	// TLS names the files of this agent's certificate. The zero value: those of the
	// folder, where [Enroll] has put them. Until there are some, messages are kept.
	TLS TLS

	// InsecurePlaintext makes links plain TCP, if the collector does so as well:
	// whoever is on the way can read and change messages, and speak for any agent.
	InsecurePlaintext bool

	// Lanes has the lanes besides the default one, and settings for any of them.
	// A lane that is on disk and not here accepts nothing and is drained. What it
	// was stays known, so that nothing is doubled or lost if it comes back; its
	// folder may be deleted by hand, while no agent runs, once it is drained.
	Lanes map[string]LaneConfig

	// Routes say which lane a message goes to that names none: that of the first
	// route whose topic filter matches, else the default lane.
	Routes []Route

	// Heartbeat is the interval in which both sides show that they live. 0: what
	// the collector says.
	Heartbeat time.Duration

	// Reconnect paces the attempts to reach a collector. The zero value is good.
	Reconnect Reconnect

	// Dial opens connections. nil: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Logger takes what an operator should know. nil: nothing is logged.
	Logger *slog.Logger

	// Software names the program and its version to the collector. "": fieldpost.
	Software string
}

// Reconnect paces the attempts to reach a collector; see [transport.Reconnect].
type Reconnect = transport.Reconnect

// withDefaults returns a checked copy of c with its zero fields filled in, except
// ID, which the folder may know.
func (c Config) withDefaults() (Config, error) {
	if c.ID != "" {
		if err := wire.CheckName("agent id", c.ID); err != nil {
			return c, err
		}
	}
	if c.Dir == "" {
		c.Dir = DefaultDir
	}
	if err := c.lanesWithDefaults(); err != nil {
		return c, err
	}
	for _, addr := range c.Collectors {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return c, fmt.Errorf("collector address %q: want host:port: %w", addr, err)
		}
	}
	if t := c.TLS; t != (TLS{}) && (t.CA == "" || t.Cert == "" || t.Key == "") {
		return c, errors.New("tls: name all of ca, cert and key, or none of them")
	}
	if c.InsecurePlaintext && c.TLS != (TLS{}) {
		return c, errors.New("tls and insecure_plaintext exclude each other: leave one out")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Software == "" {
		c.Software = "fieldpost"
	}
	return c, nil
}

// hostID returns the host's name as an agent id.
func hostID() (wire.AgentID, error) {
	name, err := os.Hostname()
	if err == nil {
		var id wire.AgentID
		if id, err = wire.ParseAgentID(name); err == nil {
			return id, nil
		}
	}
	return "", errors.Join(errors.New("no agent id is set and the host's name cannot be one; set an id"), err)
}
