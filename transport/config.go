package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// Config is what a Client needs to know. Agent, Instance and Collectors must be
// set, and either TLS or InsecurePlaintext.
type Config struct {
	Agent      wire.AgentID
	Instance   wire.Instance // of this process
	Software   string        // name and version, for people
	Host       wire.Host     // for people
	Collectors []string      // host:port, tried in turn

	// Dial opens a connection. It must keep to its context, which ends after ten
	// seconds. Nil is a TCP dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// TLS gives the settings for a connection to the collector at addr that is made
	// now: what to trust, by which name, and the agent's certificate, first of its
	// Certificates. It is called ahead of each attempt, so that new files count, and
	// is not changed. [ErrNotEnrolled]: there is no certificate yet. The version is
	// always TLS 1.3.
	TLS func(addr string) (*tls.Config, error)

	// InsecurePlaintext makes links plain TCP, if the collector does so as well.
	InsecurePlaintext bool

	// Lanes says how lanes share the link. A lane that is not here has the zero
	// policy; all of them may.
	Lanes map[wire.Lane]LanePolicy

	Heartbeat time.Duration // interval to ask the collector for; 0: what the collector says
	Reconnect Reconnect
	Logger    *slog.Logger // nil: no log

	// Changed is called with the new status on each change of state, from Run's
	// goroutine, which waits for it. Nil: nobody is told.
	Changed func(Status)
}

// LanePolicy says how a lane shares the link with others.
type LanePolicy struct {
	// Priority: between two fragments of batches, the lane with the higher one goes
	// first; equals take turns. Lanes of different priorities also keep what is on
	// its way small, so that a message of the highest one arrives within about a
	// second however much the others have to send.
	Priority int

	// Share is how much of the link, in per cent, the lane keeps while higher ones
	// have more to send than it can carry; 0: DefaultShare, at most MaxShare.
	Share int
}

// Shares of the link, in per cent.
const (
	DefaultShare = 10
	MaxShare     = 90
)

// Reconnect says when to try again after a fault of the network. The zero value
// is good.
type Reconnect struct {
	Min         time.Duration // the first delay is random, up to this; 0: 500 ms
	Max         time.Duration // the bound doubles with each attempt, up to this; 0: 60 s
	MaxAttempts int           // after so many failures in a row, wait Slow between attempts; 0: unlimited
	Slow        time.Duration // 0: 10 min
}

// withDefaults returns a checked copy of cfg with its zero values filled in.
func (cfg Config) withDefaults() (Config, error) {
	cfg.Collectors = slices.Clone(cfg.Collectors)
	cfg.Lanes = maps.Clone(cfg.Lanes)
	cfg.Reconnect = cfg.Reconnect.withDefaults()
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg, cfg.check()
}

func (r Reconnect) withDefaults() Reconnect {
	if r.Min == 0 {
		r.Min = 500 * time.Millisecond
	}
	if r.Max == 0 {
		r.Max = max(time.Minute, r.Min)
	}
	if r.Slow == 0 {
		r.Slow = 10 * time.Minute
	}
	return r
}

func (cfg *Config) check() error {
	if err := wire.CheckName("agent id", string(cfg.Agent)); err != nil {
		return err
	}
	if cfg.Instance.IsZero() {
		return errors.New("no instance: set a random one for each process")
	}
	if len(cfg.Collectors) == 0 {
		return errors.New("no collectors: name at least one as host:port")
	}
	for _, a := range cfg.Collectors {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return fmt.Errorf("collector %.300q: want host:port", a)
		}
	}
	if (cfg.TLS == nil) != cfg.InsecurePlaintext {
		return errors.New("set either TLS or InsecurePlaintext: a link is encrypted unless both sides say otherwise")
	}
	if cfg.Heartbeat != 0 {
		if err := heartbeat.CheckInterval(cfg.Heartbeat); err != nil {
			return err
		}
	}
	for name, l := range cfg.Lanes {
		if l.Share < 0 || l.Share > MaxShare {
			return fmt.Errorf("lane %s: a share of %d per cent, want 0 (the default, %d) to %d", name, l.Share, DefaultShare, MaxShare)
		}
	}
	switch r := cfg.Reconnect; {
	case r.Min < 0 || r.Max < r.Min || r.Slow < 0:
		return fmt.Errorf("reconnect from %s to %s, then %s: want 0 or more, and the first at most the second", r.Min, r.Max, r.Slow)
	case r.MaxAttempts < 0:
		return fmt.Errorf("reconnect with at most %d attempts: want 0 (unlimited) or more", r.MaxAttempts)
	}
	return nil
}

func (cfg *Config) hello(lastSession uint64, streams int) wire.Hello {
	return wire.Hello{Protocol: wire.Version, Agent: cfg.Agent, Instance: cfg.Instance, LastSession: lastSession,
		Streams: streams, Software: cfg.Software, Host: cfg.Host, Heartbeat: cfg.Heartbeat}
}
