package transport

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

const (
	outboxMax = 48 << 10               // the pump adds no further frame above this
	lastWords = 250 * time.Millisecond // for what a peer said before it closed, or is told in passing
	farewell  = 2 * time.Second        // for a goodbye to arrive and the last acks to come
	maxEvents = 1 << 17                // answers that the pump has not taken; honest ones are bounded by the windows
	maxPongs  = 64                     // pings to answer; older ones are left out
)

// event is an ack, or with a reason a reject.
type event struct {
	reject bool
	stream uint32
	n      wire.Seq
	why    string
}

// link is one link after its welcome: three goroutines, which share it.
type link struct {
	client  *Client
	conn    net.Conn
	reader  *bufio.Reader
	welcome wire.Welcome

	ready  chan struct{} // for the writer: there is something to write
	signal chan struct{} // for the pump: events, room, or the end
	dead   chan struct{} // closed at the first failure

	pump // owned by the pump

	mu        sync.Mutex
	err       error // the first failure
	pacer     *heartbeat.Pacer
	answered  time.Time // when the collector last answered something
	deadline  time.Time // of the connection, as last set
	events    []event
	pongs     []uint64
	out       []byte // whole frames, to be written in this order
	frames    int    // in out
	outMax    int
	flow      flow
	open      []*opened // streams to announce
	greet     bool      // ping at once
	leaving   bool      // the goodbye is in out, nothing may follow
	writerErr error     // why the writer has ended while the reader listens for last words
}

// opened is a stream that a resume has opened, as the writer announces it.
type opened struct {
	source Source
	number uint32
	epoch  wire.Epoch
	last   wire.Announcement // as last sent
}

func newLink(c *Client, conn net.Conn, r *bufio.Reader, w wire.Welcome) *link {
	now := time.Now()
	return &link{client: c, conn: conn, reader: r, welcome: w, pacer: heartbeat.NewPacer(w.Heartbeat, now), answered: now, outMax: outboxMax,
		ready: make(chan struct{}, 1), signal: make(chan struct{}, 1), dead: make(chan struct{})}
}

// run keeps the link going until it fails or ctx ends, which is told to the
// collector. It returns why the link ended and when it last answered. conn is
// closed and all goroutines are gone when it returns.
func (l *link) run(ctx context.Context, greetings []greeting) (lastHeard time.Time, err error) {
	l.mu.Lock()
	l.renew(true)
	l.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { l.fail(l.read()) })
	wg.Go(func() { l.write() })
	l.fail(l.work(ctx, greetings))
	_ = l.conn.Close()
	wg.Wait()
	l.takeAcks(l.takeEvents())
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered, l.err
}

// fail ends the link; the first error stays.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || err == nil {
		return
	}
	l.err = err
	close(l.dead)
	// Whoever reads or writes now is not to wait for the deadline.
	_ = l.conn.SetDeadline(time.Unix(1, 0))
}

// poke wakes a goroutine that waits on ch, now or when it comes to it.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// heard notes an answer of the collector's. Its pings are none: they come in as
// well over a link that carries only one way. mu is held.
func (l *link) heard(now time.Time) {
	l.answered = now
	l.pacer.Heard(now)
	l.renew(false)
}

// renew moves the connection's deadline, for reads and writes that wait and those
// to come. Moving it for every frame would cost a system call's worth for
// nothing. mu is held.
func (l *link) renew(now bool) {
	if l.err != nil || l.leaving || l.writerErr != nil {
		return
	}
	if d := l.pacer.Deadline(); now || d.Sub(l.deadline) > min(l.pacer.Interval()/8, heartbeat.Slack/4) {
		l.deadline = d
		_ = l.conn.SetDeadline(d) // an error shows at the next read
	}
}

// read takes frames until the link ends.
func (l *link) read() error {
	var buf []byte
	for {
		typ, payload, grown, err := wire.ReadFrame(l.reader, buf, wire.MaxFrame)
		if buf = grown; err != nil {
			return l.readError(err)
		}
		if err := l.take(typ, payload, time.Now()); err != nil {
			return err
		}
	}
}

// readError says why reading ended.
func (l *link) readError(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.leaving:
		return errLeft
	case l.writerErr != nil && !errors.Is(err, wire.ErrFrame):
		return asFailure(l.writerErr, "send")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return asFailure(errSilent, "link lost")
	}
	return asFailure(err, "link lost")
}

// take handles one frame.
func (l *link) take(typ wire.Type, payload []byte, now time.Time) error {
	var e event
	var err error
	switch typ {
	case wire.TypeAck:
		e.stream, e.n, err = wire.ParseAck(payload)
	case wire.TypeReject:
		e.reject = true
		e.stream, e.n, e.why, err = wire.ParseReject(payload)
	case wire.TypePing:
		return l.takePing(payload)
	case wire.TypePong:
		return l.takePong(payload, now)
	default:
		return lastFrame(typ, payload)
	}
	if err != nil {
		return asFailure(err, "link")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) >= maxEvents {
		return failf(CauseProtocol, "the collector sends more answers than it was sent entries")
	}
	l.heard(now)
	l.events = append(l.events, e)
	poke(l.signal)
	return nil
}

func (l *link) takePing(payload []byte) error {
	nonce, _, err := wire.ParsePing(payload)
	if err != nil {
		return asFailure(err, "link")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pongs) < maxPongs {
		l.pongs = append(l.pongs, nonce)
	}
	poke(l.ready)
	return nil
}

func (l *link) takePong(payload []byte, now time.Time) error {
	nonce, err := wire.ParsePong(payload)
	if err != nil {
		return asFailure(err, "link")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard(now)
	switch {
	case l.flow.pong(nonce, now):
		poke(l.signal)
	case l.pacer.Pong(nonce, now):
		l.client.rtt.Store(int64(l.pacer.RTT()))
	}
	return nil
}

// takeEvents returns the answers that came in since the last call.
func (l *link) takeEvents() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.events
	l.events = nil
	return list
}
