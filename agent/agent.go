package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/internal/lanes"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// Errors of this package; compare with errors.Is. All but ErrUncertain mean that
// the message is certainly not accepted. ErrIdentity is also for a lane that is
// another agent's.
var (
	ErrFull        = queue.ErrFull      // the lane cannot take it now: the disk is full or failing; the cause is wrapped
	ErrDropped     = queue.ErrDropped   // the lane's policy dropped it and keeps a tombstone
	ErrTooLarge    = queue.ErrTooLarge  // above 1 MiB with topic and headers
	ErrClosed      = queue.ErrClosed    // the agent is closed
	ErrUncertain   = queue.ErrUncertain // it may or may not be accepted; if it is, it is delivered once
	ErrInUse       = queue.ErrInUse     // another process has the folder
	ErrNotAQueue   = queue.ErrNotAQueue // the folder or a file in it is none of Fieldpost's
	ErrIdentity    = errors.New("the folder belongs to another agent")
	ErrUnknownLane = errors.New("unknown lane")
)

// Message is what a user sends. Its slices may be used again as soon as the
// call that took it has returned.
type Message struct {
	Lane    string    // "": by Config.Routes, else the default lane
	Topic   string    // UTF-8, at most 1 KiB, may be empty
	Time    time.Time // zero: now
	Headers []Header  // at most 64
	Body    []byte    // any bytes, may be empty
}

// Header is a key and a value beside a message's body.
type Header = wire.Header

// Agent is an open agent. Its methods may be called concurrently.
type Agent struct {
	// Set by Open.
	cfg      Config // what of it may change is in terms
	id       wire.AgentID
	instance wire.Instance
	opened   time.Time
	lock     *flock.Flock
	link     *transport.Client  // nil without collectors
	creds    *credentials       // nil: links are plain TCP, or there are none
	stop     context.CancelFunc // ends the link and the keeper

	changing sync.Mutex // held while set or terms change
	set      atomic.Pointer[laneSet]
	terms    atomic.Pointer[terms]

	keeper   sync.WaitGroup // renews the certificate, opens lanes that could not be opened
	renewErr atomic.Pointer[error]

	// The link's goroutine closes ended after it has set linkErr.
	ended   chan struct{}
	linkErr error

	relinkMu sync.Mutex
	relink   context.CancelCauseFunc // ends the present link, for another with more lanes

	accepting atomic.Bool
	closing   sync.Once
	closed    chan struct{}
	closeErr  error
}

// Open opens the folder, making it if it is missing, and starts to deliver. It
// does not wait for a collector. ctx bounds the opening alone. The errors are
// ErrInUse, ErrIdentity, ErrNotAQueue, what is wrong with cfg, or the file
// system's.
func Open(ctx context.Context, cfg Config) (_ *Agent, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := durable.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &Agent{
		cfg: cfg, instance: wire.Instance{ID: wire.NewID()}, opened: time.Now(),
		ended: make(chan struct{}), closed: make(chan struct{}),
	}
	a.set.Store(&laneSet{})
	a.terms.Store(newTerms(cfg))
	if a.lock, err = lock(cfg.Dir); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	_, err = readIdentity(cfg.Dir)
	first := errors.Is(err, fs.ErrNotExist)
	defer func() {
		if err != nil {
			err = fmt.Errorf("agent: %w", errors.Join(err, a.release()))
		}
	}()
	if a.id, err = claim(cfg.Dir, wire.AgentID(cfg.ID), cfg.Logger); err != nil {
		return nil, err
	}
	if err = raiseFormat(cfg.Dir); err != nil {
		return nil, err
	}
	host, _ := os.Hostname() // for people only
	if len(cfg.Collectors) > 0 {
		var secure func(string) (*tls.Config, error)
		if !cfg.InsecurePlaintext {
			a.creds = newCredentials(a.id, cfg.Dir, cfg.TLS, cfg.Logger)
			secure = a.creds.settings
		}
		link := cfg.link()
		link.Agent, link.Instance, link.Software, link.Logger = a.id, a.instance, cfg.Software, cfg.Logger
		link.Host = wire.Host{Name: host[:min(len(host), 255)], OS: runtime.GOOS, Arch: runtime.GOARCH}
		link.Dial, link.TLS, link.InsecurePlaintext = cfg.Dial, secure, cfg.InsecurePlaintext
		a.link, err = transport.New(link)
		if err != nil {
			return nil, err
		}
	}
	if err := a.openLanes(ctx, first); err != nil {
		return nil, err
	}
	a.start()
	a.accepting.Store(true)
	return a, nil
}

// openLanes opens every configured lane and every lane that is on disk. One that
// cannot be opened does not keep the others from working, but at the folder's first
// start: there it is a slip of whoever set it up.
func (a *Agent) openLanes(ctx context.Context, first bool) error {
	found, err := lanesOnDisk(a.cfg.Dir)
	if err != nil {
		return err
	}
	first = first || len(found) == 0
	there := make([]string, len(found))
	for i, name := range found {
		there[i] = string(name)
	}
	for name := range a.terms.Load().cfg.Lanes {
		if err := lanes.Check(name, there...); err != nil {
			return err
		}
		found = append(found, wire.Lane(name))
	}
	sortLanes(found)
	for _, name := range slices.Compact(found) {
		q, err := a.openLane(ctx, name, a.terms.Load().cfg.Lanes[string(name)])
		if err != nil && (first || ctx.Err() != nil || errors.Is(err, ErrIdentity)) {
			return fmt.Errorf("lane %s: %w", name, err)
		}
		if err != nil {
			a.cfg.Logger.Error("a lane cannot be opened; the others work, and it is tried again", "lane", name, "every", reopenPause, "err", err)
		}
		a.set.Store(a.set.Load().with(name, q, err))
	}
	return nil
}

// wake tells the link that a lane has something new.
func (a *Agent) wake() {
	if a.link != nil {
		a.link.Wake()
	}
}

// start runs the link; Close ends and joins it.
func (a *Agent) start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	if len(a.set.Load().broken) > 0 {
		a.keeper.Go(func() { a.reopen(ctx) })
	}
	if a.link == nil {
		close(a.ended)
		return
	}
	if a.creds != nil {
		a.keeper.Go(func() { a.keep(ctx) })
	}
	go func() {
		defer close(a.ended)
		a.linkErr = a.runLink(ctx)
		if a.linkErr != nil {
			a.cfg.Logger.Error("the link has ended for good; messages are still accepted and kept", "err", a.linkErr)
		}
	}()
}

// ID returns the agent's id, as the folder has it.
func (a *Agent) ID() string { return string(a.id) }

// lane returns the queue that m goes to.
func (a *Agent) lane(m *Message) (*queue.Lane, error) {
	if !a.accepting.Load() {
		return nil, ErrClosed
	}
	now := a.terms.Load()
	name := m.Lane
	if name == "" {
		name = now.routes.Lane(m.Topic)
	}
	// Only configured lanes take messages; the others are being drained.
	if _, ok := now.cfg.Lanes[name]; !ok {
		return nil, fmt.Errorf("%w %q: add it to the configuration", ErrUnknownLane, name)
	}
	return a.ready(wire.Lane(name))
}

func (m *Message) wire(now func() time.Time) wire.Message {
	t := m.Time
	if t.IsZero() {
		t = now()
	}
	return wire.Message{Topic: m.Topic, Time: t, Headers: m.Headers, Body: m.Body}
}

// Send returns nil once m is on disk. ctx.Err() means that it is certainly not;
// ErrUncertain, if ctx ends while it is being written, that it may be.
func (a *Agent) Send(ctx context.Context, m Message) error {
	q, err := a.lane(&m)
	if err != nil {
		return err
	}
	return q.Put(ctx, m.wire(time.Now))
}

// SendBatch puts all messages on disk or none, in order, in one transaction per
// batch. They must be for one lane, named or by their routes. Errors as for Send; ErrTooLarge also for
// more than 64 MiB in all.
func (a *Agent) SendBatch(ctx context.Context, list []Message) error {
	q, msgs, err := a.batch(list)
	if err != nil || len(msgs) == 0 {
		return err
	}
	return q.Put(ctx, msgs...)
}

func (a *Agent) batch(list []Message) (*queue.Lane, []wire.Message, error) {
	if len(list) == 0 {
		return nil, nil, nil
	}
	q, err := a.lane(&list[0])
	if err != nil {
		return nil, nil, err
	}
	msgs := make([]wire.Message, len(list))
	for i := range list {
		if i > 0 && (list[i].Lane != list[0].Lane || list[i].Lane == "" && list[i].Topic != list[0].Topic) {
			other, err := a.lane(&list[i])
			if err != nil {
				return nil, nil, err
			}
			if other != q {
				return nil, nil, fmt.Errorf("batch for lanes %q and %q: a batch goes to one lane", q.Lane(), other.Lane())
			}
		}
		msgs[i] = list[i].wire(time.Now)
	}
	return q, msgs, nil
}

// SendAsync hands m over and returns; done is called exactly once with what Send
// would have returned, in the order of the calls for a lane, from the lane's own
// goroutine: it must not block and must not send. Only the error of a message
// that is not taken at all (a limit, a closed agent) comes at once, from
// SendAsync itself. SendAsync waits while too many bytes are on their
// way to the disk, so one goroutine can keep the group commit full and no more; and
// for as long as a lane that blocks is full.
func (a *Agent) SendAsync(m Message, done func(error)) {
	q, err := a.lane(&m)
	if err != nil {
		done(err)
		return
	}
	if err := q.PutAsync([]wire.Message{m.wire(time.Now)}, done); err != nil {
		done(err)
	}
}

// Flush returns nil once all that was accepted before the call is stored at the
// collector (or its drop is in the store's ledger), else ctx.Err() or ErrClosed.
func (a *Agent) Flush(ctx context.Context) error {
	for _, name := range a.set.Load().names {
		q, err := a.ready(name)
		if err == nil {
			err = q.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close stops accepting, commits what was handed in, says goodbye to the
// collector and gives the folder back. What is not delivered stays on disk for
// the next Open. It is done within about five seconds; more calls return what
// the first one did.
func (a *Agent) Close() error {
	a.closing.Do(func() {
		defer close(a.closed)
		a.accepting.Store(false)
		a.stop()
		<-a.ended
		a.keeper.Wait()
		a.changing.Lock() // until a change that is under way is through
		defer a.changing.Unlock()
		a.closeErr = a.release()
		if a.closeErr != nil {
			a.closeErr = fmt.Errorf("agent: close: %w", a.closeErr)
		}
	})
	<-a.closed
	return a.closeErr
}

// release closes the lanes and gives the folder back.
func (a *Agent) release() error {
	var errs []error
	for name, q := range a.set.Load().open {
		if err := q.Close(); err != nil {
			errs = append(errs, fmt.Errorf("lane %s: %w", name, err))
		}
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Unlock())
	}
	return errors.Join(errs...)
}
