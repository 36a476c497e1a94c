package collector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// link is one connection, from accept to close.
//
//	conn --> reader --frames--> streams --entries--> pending --> worker --> Store
//	  ^                |                                           |
//	  +--- writer <----+------- output <-------acks, rejects-------+
//
// The reader is there as long as the link; worker and writer only while there is
// something for the store or for the peer. run joins them all.
type link struct {
	srv      *Server
	serving  *serving
	conn     net.Conn
	address  string       // host and port of the peer, escaped
	from     netip.Prefix // where it counts as a stranger
	accepted time.Time

	// static once secured
	certs    []*x509.Certificate // that the peer showed; of a link verified, nil if it is plain TCP
	identity wire.AgentID        // that of certs

	in  input
	out output

	// static once welcomed
	agent    *agent
	session  Session
	instance wire.Instance
	interval time.Duration
	since    time.Time // of the welcome

	// owned by the reader
	streams    map[uint32]*stream
	lanes      map[wire.Lane]*lane
	opening    *wire.Resume // its further pages are to come
	incomplete int          // streams with a part of a batch

	pending pending

	done           chan struct{} // closed by end
	writer, worker sync.WaitGroup

	mu     sync.Mutex
	ended  *ending          // not changed once done is closed
	pacer  *heartbeat.Pacer // nil before the welcome
	sentAt time.Duration    // last bytes out, after in.base
	timed  time.Time        // when the round trip was measured last
	paused bool             // the reader waits for memory: silence is not the peer's
}

// ending is why a link ends.
type ending struct {
	cause    string // what was seen; of a goodbye the agent's reason
	goodbye  bool   // the agent said so
	shutdown bool   // this side leaves
	refusal  *refusal
	fenced   bool          // another session was granted
	by       wire.Instance // fenced: to this one, zero if that is not known here
	bye      string        // shutdown: why, "": the collector's
	answer   []byte        // the last frame, if it is neither of those
}

func newLink(v *serving, conn net.Conn, from netip.Prefix) *link {
	where := address(conn)
	if v.srv.secure != nil {
		conn = secured{tls.Server(&rationed{Conn: conn, left: maxUnknown}, v.srv.secure)}
	}
	l := &link{srv: v.srv, serving: v, conn: conn, address: where, from: from, accepted: time.Now(), done: make(chan struct{})}
	l.in = input{conn: conn, base: v.srv.base, bytes: &v.srv.count.bytesIn}
	l.in.heard.Store(int64(time.Since(l.in.base)))
	l.out.link = l
	l.pending.link = l
	l.pending.idle.L = &l.pending.mu
	return l
}

// address returns where a connection comes from.
func address(conn net.Conn) string {
	if a := conn.RemoteAddr(); a != nil {
		return a.String()
	}
	return "unknown"
}

// run serves the link until it ends, and returns when its goroutines have.
func (l *link) run() {
	protocol, err := l.secure()
	switch {
	case err != nil:
	case protocol == wire.ProtocolEnroll:
		err = l.enrolment()
	default:
		err = l.hello()
	}
	l.srv.identified(l, err == nil)
	if err != nil {
		l.fail(err)
	} else {
		l.receive()
	}
	l.finish()
}

// receive handles frames until the link ends.
func (l *link) receive() {
	for !l.over() {
		l.in.await()
		t, p, err := l.next(wire.MaxFrame)
		if err == nil {
			l.srv.count.framesIn.Add(1)
			err = l.handle(t, p)
		}
		if err != nil {
			l.fail(err)
			return
		}
	}
}

// lostError is a link's failure that is nobody's fault.
type lostError struct{ cause string }

func (e *lostError) Error() string { return e.cause }

// next reads one frame of at most limit bytes of payload. An error is the peer's,
// or a lostError.
func (l *link) next(limit int) (wire.Type, []byte, error) {
	t, p, err := l.in.next(limit)
	switch {
	case err == nil, errors.Is(err, wire.ErrFrame):
	case errors.Is(err, io.EOF):
		err = &lostError{"closed by the agent without a goodbye"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the link was closed in the middle of a frame")
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("hello and histories were not complete within %s", helloTimeout)
	default:
		err = &lostError{plain(err.Error(), maxMessage)}
	}
	return t, p, err
}

// over reports whether the link has ended.
func (l *link) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// fail ends the link for an error of its reader. One that is neither a refusal
// nor a loss is the peer's breach of the protocol.
func (l *link) fail(err error) {
	e := ending{cause: plain(err.Error(), maxMessage)}
	var lost *lostError
	if !errors.As(err, &lost) && !errors.As(err, &e.refusal) {
		e.refusal = &refusal{code: wire.RefuseProtocol, err: err}
	}
	l.end(e)
}

// end ends the link; the first cause counts. It returns at once, and may be
// called concurrently. Nothing but the refusal goes out once a link is fenced.
func (l *link) end(e ending) {
	l.mu.Lock()
	first := l.ended == nil
	if first {
		l.ended = &e
	}
	l.mu.Unlock()
	if !first {
		return
	}
	if e.fenced {
		l.out.mute()
	}
	close(l.done)
	l.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// finish says the last frame, closes the connection, and joins the link's
// goroutines.
func (l *link) finish() {
	<-l.done // by whoever was first, which may still be at it
	e := l.ended
	drain := e.goodbye || e.shutdown
	if drain {
		l.pending.drain()
	}
	l.pending.discard()
	last := l.last(e)
	l.out.finish(last)
	if drain || last != nil {
		l.conn.SetWriteDeadline(time.Now().Add(lastTimeout))
		l.linger(last != nil)
	}
	l.conn.Close()
	l.writer.Wait()
	l.part(e)
	l.worker.Wait()
	l.release()
}

// last returns the last frame for the peer, nil if there is none.
func (l *link) last(e *ending) []byte {
	switch {
	case e.shutdown && e.bye != "":
		return wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: e.bye})
	case e.shutdown:
		return wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "shutdown"})
	case e.answer != nil:
		return e.answer
	case e.fenced:
		return wire.AppendJSON(nil, wire.TypeRefuse, wire.Refuse{Code: wire.RefuseFenced, Instance: e.by,
			Message: "another session of this agent id was granted: if this machine or that one is a clone, stop it and give it a folder and an id of its own"})
	case e.refusal != nil:
		return e.refusal.frame()
	}
	return nil
}

// linger waits until all is written, and if the peer is to read a last frame,
// until it has closed its side; neither for long. A connection that is closed
// with bytes unread resets, and the peer would never read that frame.
func (l *link) linger(last bool) {
	var writing sync.WaitGroup
	writing.Go(func() {
		l.writer.Wait()
		if last {
			closeWrite(l.conn)
		}
	})
	if last {
		l.conn.SetReadDeadline(time.Now().Add(lastTimeout))
		io.Copy(io.Discard, io.LimitReader(l.conn, 16<<20))
	}
	writing.Wait()
}

// closeWrite tells the peer that nothing more comes, where the connection can.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// part takes the link off its agent and notes in the store how the session ended.
func (l *link) part(e *ending) {
	l.srv.lost(l, e)
	if l.agent == nil || e.fenced {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastTimeout)
	defer cancel()
	p := Parting{Time: l.in.lastHeard(), Goodbye: e.goodbye, Reason: e.cause}
	if err := l.srv.cfg.Store.Part(ctx, l.session, p); err != nil {
		l.srv.warn("store", "the store did not note how a session ended", "agent", l.agent.id, "error", err)
	}
}

// release gives back what the link held of the memory for batches.
func (l *link) release() {
	for _, st := range l.streams {
		l.srv.memory.give(st.part.room.memory)
	}
	l.in.release()
}

// writeTimeout returns how long a write may take: less once the link has ended,
// and no longer than a silent peer is endured.
func (l *link) writeTimeout() time.Duration {
	switch {
	case l.over():
		return lastTimeout
	case l.interval == 0:
		return writeTimeout
	}
	return min(writeTimeout, 2*l.interval+heartbeat.Slack)
}

// wrote notes that n bytes went out.
func (l *link) wrote(n int) {
	if n == 0 {
		return
	}
	l.srv.count.bytesOut.Add(int64(n))
	at := time.Since(l.in.base)
	l.mu.Lock()
	l.sentAt = max(l.sentAt, at)
	l.mu.Unlock()
}

// pause tells the sweeper whether the reader waits for this side.
func (l *link) pause(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = on
}

// pulse looks after a welcomed link: it pings when a ping is due and ends the
// link when the peer is silent. It returns when the peer was heard last.
func (l *link) pulse(now time.Time) time.Time {
	heard := l.in.lastHeard()
	l.mu.Lock()
	if l.paused {
		heard = now
	}
	l.pacer.Heard(heard)
	l.pacer.Sent(l.in.base.Add(l.sentAt))
	dead := l.pacer.Dead(now)
	var nonce uint64
	if untimed := now.Sub(l.timed) > 8*l.interval; !dead && l.pacer.Due(now, untimed) {
		nonce = l.pacer.Ping(now)
	}
	l.mu.Unlock()
	switch {
	case dead:
		l.end(ending{cause: fmt.Sprintf("silent for %s", now.Sub(heard).Round(time.Millisecond))})
	case nonce != 0:
		l.out.ping(nonce)
	}
	return heard
}

// ponged notes the answer to a ping.
func (l *link) ponged(nonce uint64) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pacer.Pong(nonce, now) {
		l.timed = now
	}
}
