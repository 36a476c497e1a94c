package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Client drains sources over one link at a time. Make one with [New].
type Client struct {
	cfg  Config
	log  *slog.Logger
	wake chan struct{}

	again chan struct{} // try now, do not wait

	// Owned by Run; cfg's settings that Configure names change with an attempt.
	retry   *retry
	session uint64   // number of the last session granted to this instance
	leftOut int      // links in a row that a lane was left out of
	logged  struct { // the last failure that was
		cause Cause
		at    time.Time
	}

	rtt                    atomic.Int64
	bytes, frames, entries atomic.Uint64

	mu      sync.Mutex
	status  Status
	goodAt  time.Time // when the present link has been good for a while
	running bool
	next    *Config // what Configure has set and Run has not taken
}

// New returns a client that is ready to [Client.Run]. The error names the field
// of cfg that is not good.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	c := &Client{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), again: make(chan struct{}, 1), retry: newRetry(cfg.Reconnect, cfg.Instance)}
	c.status = Status{State: Stopped, Since: time.Now(), Failures: map[Cause]uint64{}}
	return c, nil
}

// Wake says that a source has something new to send. It never blocks, and may be
// called at any time, also concurrently.
func (c *Client) Wake() { poke(c.wake) }

// Again says that something has changed which may have been why there is no link,
// e.g. the certificate: the next attempt is made now. It never blocks, and may be
// called at any time, also concurrently.
func (c *Client) Again() { poke(c.again) }

// Configure gives the client the Collectors, Lanes, Heartbeat and Reconnect of cfg;
// the rest of it does not count. They hold from the next attempt on: to change a link
// that is there, end Run and start it again. The error names what is not good, and
// nothing is changed then. It may be called at any time, also concurrently.
func (c *Client) Configure(cfg Config) error {
	to, err := c.merge(cfg)
	if err == nil {
		c.mu.Lock()
		c.next = &to
		c.mu.Unlock()
	}
	return err
}

// merge returns the client's settings with those of cfg that may change.
func (c *Client) merge(cfg Config) (Config, error) {
	c.mu.Lock()
	to := c.cfg
	c.mu.Unlock()
	to.Collectors, to.Lanes, to.Heartbeat, to.Reconnect = cfg.Collectors, cfg.Lanes, cfg.Heartbeat, cfg.Reconnect
	to, err := to.withDefaults()
	if err != nil {
		return to, fmt.Errorf("transport: %w", err)
	}
	return to, nil
}

// Check reports what Configure would not take of cfg.
func (c *Client) Check(cfg Config) error {
	_, err := c.merge(cfg)
	return err
}

// settle takes what Configure has set.
func (c *Client) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	to := c.next
	if c.next = nil; to == nil {
		return
	}
	if to.Reconnect != c.cfg.Reconnect {
		c.retry = newRetry(to.Reconnect, c.cfg.Instance)
	}
	c.cfg.Collectors, c.cfg.Lanes, c.cfg.Heartbeat, c.cfg.Reconnect = to.Collectors, to.Lanes, to.Heartbeat, to.Reconnect
}

// Goodbye is the cause of a context that says why a client leaves; see
// [context.WithCancelCause].
type Goodbye string

// Error returns the reason.
func (g Goodbye) Error() string { return string(g) }

// goodbye is what a client says whose context has ended.
func goodbye(ctx context.Context) string {
	var g Goodbye
	if errors.As(context.Cause(ctx), &g) {
		return string(g)
	}
	return "shutdown"
}

// Run links to the collectors in turn and drains the sources, until ctx ends.
// Then it says goodbye, within two seconds, and returns nil once everything it
// started is gone. A call of a source that takes longer is waited for. It returns
// an error at once if it cannot begin: without sources, with two of one lane, or
// while it runs already. No fault of a network, a collector or a disk ends it.
func (c *Client) Run(ctx context.Context, sources ...Source) error {
	if err := c.start(sources); err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	defer func() {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
		c.update(Stopped, func(s *Status) { s.NextAttempt = time.Time{} })
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		c.settle()
		addr := c.cfg.Collectors[i%len(c.cfg.Collectors)]
		err := c.link(ctx, addr, sources)
		if ctx.Err() != nil {
			break
		}
		wait := c.failed(addr, asFailure(err, "link lost"))
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-c.again:
			timer.Stop()
		case <-ctx.Done():
		}
	}
	return nil
}

func (c *Client) start(sources []Source) error {
	if len(sources) == 0 {
		return errors.New("no lanes to drain: pass at least one source")
	}
	seen := map[wire.Lane]bool{}
	for _, s := range sources {
		if name := s.Lane(); seen[name] {
			return fmt.Errorf("two sources are lane %s", name)
		}
		seen[s.Lane()] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		return errors.New("runs already")
	}
	c.running = true
	return nil
}

// link makes one attempt, and if it succeeds drains the sources until the link
// ends. The error says why it did.
func (c *Client) link(ctx context.Context, addr string, sources []Source) error {
	c.attempt(addr)
	secure, err := c.cfg.settings(addr, wire.ProtocolLink)
	if err != nil {
		return err
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := c.cfg.Dial(dialCtx, "tcp", addr)
	cancel()
	if err != nil {
		return asFailure(err, "connect to "+addr)
	}
	if secure != nil {
		if conn, err = encrypt(ctx, conn, secure, addr); err != nil {
			return err
		}
	}
	defer conn.Close()
	hello, greetings, said, err := c.hello(sources)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 4<<10)
	w, err := shake(ctx, conn, r, hello, said)
	c.bytes.Add(uint64(len(hello)))
	c.frames.Add(uint64(1 + len(said)))
	if secure != nil && alertOf(err) != "" {
		return tlsFailure(err, secure, "secure the link to "+addr, time.Now())
	}
	if err != nil {
		return err
	}
	c.session = max(c.session, w.Session.Number)
	c.noteClock(w.Time, time.Now())
	if err := checkStore(&w, sources); err != nil {
		sayGoodbye(conn, "different store")
		return err
	}
	heard, err := newLink(c, conn, r, w).run(ctx, greetings)
	c.mu.Lock()
	good := !c.goodAt.IsZero() && !heard.Before(c.goodAt)
	c.goodAt = time.Time{}
	c.mu.Unlock()
	if good || errors.Is(err, errLaneReturn) { // neither the network nor the collector has failed
		c.retry.reset()
	}
	return err
}

// attempt notes that an address is tried. Behind a fault of the configuration
// the state stays what it is until something else is known.
func (c *Client) attempt(addr string) {
	c.mu.Lock()
	state := c.status.State
	c.mu.Unlock()
	if state != Refused && state != DifferentStore && state != DuplicateIdentity && state != NotEnrolled {
		state = Connecting
	}
	c.update(state, func(s *Status) { s.Address, s.NextAttempt = addr, time.Time{} })
}

// connected notes that all lanes have taken the welcome.
func (c *Client) connected(l *link) {
	now := time.Now()
	c.rtt.Store(0)
	c.mu.Lock()
	c.goodAt = now.Add(max(10*time.Second, 2*l.welcome.Heartbeat))
	addr := c.status.Address
	c.mu.Unlock()
	warning := exposed(l.conn)
	c.update(Connected, func(s *Status) {
		s.Links++
		s.Exposed = warning
		s.Session, s.Store = l.welcome.Session.Number, l.welcome.Store
	})
	c.log.Info("connected", "address", addr, "store", l.welcome.Store, "session", l.welcome.Session.Number,
		"interval", l.welcome.Heartbeat, "streams", len(l.streams), "failed_before", c.retry.failed)
	if warning != "" {
		c.log.Warn(warning, "next", "enrol this agent, and start both sides without insecure_plaintext")
	}
}

// noteClock notes what a welcome said of the collector's clock.
func (c *Client) noteClock(theirs, now time.Time) {
	if theirs.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.ClockOffset, c.status.ClockAt = theirs.Sub(now), now
}

// failed notes why an attempt or a link ended, and returns how long to wait.
func (c *Client) failed(addr string, f *failure) time.Duration {
	state, wait := c.retry.next(f)
	now := time.Now()
	c.update(state, func(s *Status) {
		s.Cause, s.LastError, s.FailedAt = f.cause, f.Error(), now
		s.Failures[f.cause]++
		s.Attempts, s.NextAttempt = c.retry.failed, now.Add(wait)
	})
	c.logFailure(addr, state, f, wait, now)
	return wait
}

// logFailure logs the first failure, each doubling of their number, and another
// cause at most once a minute. What is tried again after minutes is logged each
// time: a fault that somebody has to repair, and attempts beyond the maximum. That
// there is no certificate is said once an hour.
func (c *Client) logFailure(addr string, state State, f *failure, wait time.Duration, now time.Time) {
	n := c.retry.failed
	other := f.cause != c.logged.cause && now.Sub(c.logged.at) >= time.Minute
	if state == NotEnrolled && f.cause == c.logged.cause && now.Sub(c.logged.at) < time.Hour {
		return
	}
	if state == Waiting && n&(n-1) != 0 && !other && !c.retry.slow() {
		return
	}
	c.logged.cause, c.logged.at = f.cause, now
	level := slog.LevelWarn
	if state != Waiting {
		level = slog.LevelError
	}
	c.log.Log(context.Background(), level, "no link to the collector", "state", state, "address", addr, "cause", f.cause,
		"error", f.Error(), "attempts", n, "next_attempt_in", wait.Round(time.Millisecond))
}
