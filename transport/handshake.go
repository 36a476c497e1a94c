package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// greeting is what a source said in the hello.
type greeting struct {
	source Source
	said   []wire.StreamState
}

// hello encodes the hello and its histories, and returns what was said: by each
// source, and in all.
func (c *Client) hello(sources []Source) (frames []byte, list []greeting, said []wire.StreamState, err error) {
	for _, s := range sources {
		g := greeting{s, s.Streams()}
		list, said = append(list, g), append(said, g.said...)
	}
	if len(said) > wire.MaxStreams {
		return nil, nil, nil, failf(CauseQueue, "the lanes have %d streams in all, a hello holds %d: purge streams that are delivered", len(said), wire.MaxStreams)
	}
	frames = wire.AppendJSON(nil, wire.TypeHello, c.cfg.hello(c.session, len(said)))
	for _, s := range said {
		frames = wire.AppendHistory(frames, s)
	}
	return frames, list, said, nil
}

// shake sends the hello, which said so, and returns the welcome. It ends early when ctx ends.
func shake(ctx context.Context, conn net.Conn, r *bufio.Reader, hello []byte, said []wire.StreamState) (wire.Welcome, error) {
	var w wire.Welcome
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return w, asFailure(err, "handshake")
	}
	unblock := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer unblock()

	// The collector may refuse before it has read everything, so reading does not
	// wait for the hello to be written.
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(hello)
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			// What it said may be there to be read; but it is not waited for.
			_ = conn.SetReadDeadline(time.Now().Add(lastWords))
		}
		wrote <- err
	}()
	typ, payload, _, err := wire.ReadFrame(r, nil, wire.MaxFrame)
	_ = conn.SetWriteDeadline(time.Unix(1, 0)) // whoever has answered needs no more of the hello
	werr := <-wrote
	switch {
	case err != nil && werr != nil && !errors.Is(err, wire.ErrFrame):
		return w, asFailure(werr, "send the hello")
	case errors.Is(err, io.EOF):
		return w, failf(CauseClosed, "the collector closed the link without an answer to the hello")
	case err != nil:
		return w, asFailure(err, "wait for the welcome")
	case typ != wire.TypeWelcome:
		return w, lastFrame(typ, payload)
	case werr != nil:
		return w, failf(CauseProtocol, "the collector sent a welcome before it had read the hello")
	}
	if err := wire.ParseJSON(typ, payload, &w); err != nil {
		return w, asFailure(err, "welcome")
	}
	if err := w.Check(said); err != nil {
		return w, failf(CauseProtocol, "%w", err)
	}
	if err := heartbeat.CheckInterval(w.Heartbeat); err != nil {
		return w, failf(CauseProtocol, "welcome: %w", err)
	}
	return w, nil
}

// checkStore holds rule 4: nothing goes to a store that does not stand in for the
// one that a lane last obeyed.
func checkStore(w *wire.Welcome, sources []Source) error {
	for _, s := range sources {
		if old := s.Store(); !old.IsZero() && !w.Replaced(old) {
			return failf(CauseStore, "lane %s belongs to store %s, this collector is a door to store %s: start the collector with --replaces %s, or point the agent at the old one",
				s.Lane(), old, w.Store, old)
		}
	}
	return nil
}

// lastFrame turns a frame that ends the link, or should not be there, into an
// error.
func lastFrame(typ wire.Type, payload []byte) error {
	switch typ {
	case wire.TypeRefuse:
		var r wire.Refuse
		if err := wire.ParseJSON(typ, payload, &r); err != nil {
			return asFailure(err, "refuse")
		}
		return refused(r)
	case wire.TypeBye:
		var b wire.Bye
		if err := wire.ParseJSON(typ, payload, &b); err != nil {
			return asFailure(err, "bye")
		}
		return failf(CauseClosed, "the collector said goodbye: %.500q", b.Reason)
	}
	return failf(CauseProtocol, "the collector sent a frame of type %s, which it must not send here", typ)
}

// sayGoodbye is for a link on which nothing else is written.
func sayGoodbye(conn net.Conn, reason string) {
	_ = conn.SetWriteDeadline(time.Now().Add(lastWords))
	_, _ = conn.Write(wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: reason}))
}
