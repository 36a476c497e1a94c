package collector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

// listener hands out one end of pipes.
type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
	fail   chan error // the next error of Accept
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{}), fail: make(chan error)}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.fail:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// fixture is a running server in a bubble.
type fixture struct {
	*testing.T
	srv   *collector.Server
	ln    *listener
	store *store
	log   *lines
	stop  func() // ends Serve and waits for it
	peers []*peer
}

// lines is a logger's output.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// count returns how many lines have all parts.
func (l *lines) count(parts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.b.String()) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		n++
	}
	return n
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve runs f in a bubble with a server on an empty store.
func serve(t *testing.T, cfg collector.Config, f func(x *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := start(t, cfg)
		defer x.end()
		f(x)
	})
}

// start starts a server; without a store in cfg, on an empty one.
func start(t *testing.T, cfg collector.Config) *fixture {
	t.Helper()
	x := &fixture{T: t, ln: newListener(), log: &lines{}}
	if cfg.Store == nil {
		cfg.Store = &store{Store: storetest.NewMemory()}
	}
	x.store, _ = cfg.Store.(*store)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(x.log, nil))
	}
	cfg.InsecurePlaintext = cfg.TLS == nil
	srv, err := collector.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	x.srv = srv
	x.run()
	return x
}

// run serves the fixture's listener.
func (x *fixture) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.srv.Serve(ctx, x.ln) }()
	var once sync.Once
	x.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				x.Errorf("Serve: %v", err)
			}
		})
	}
}

// end stops the server and sees that it holds nothing any more.
func (x *fixture) end() {
	for _, p := range x.peers {
		p.conn.Close()
	}
	x.stop()
	for _, p := range x.peers {
		<-p.gone
	}
	if st := x.srv.Stats(); st.Memory != 0 || st.Links != 0 || st.Unidentified != 0 {
		x.Errorf("after the end: %+v", st)
	}
}

// status returns the status of one agent.
func (x *fixture) status(id wire.AgentID) collector.AgentStatus {
	x.Helper()
	for _, a := range x.srv.Agents() {
		if a.ID == id {
			return a
		}
	}
	x.Fatalf("no agent %s", id)
	panic("unreachable")
}

// store lets a test stand between the server and its store.
type store struct {
	collector.Store
	onHello  func(collector.Hello) error
	onResume func(wire.Resume) error
	onAppend func(context.Context, []collector.Append) ([]collector.Answer, error) // nil answers and error: go on

	mu        sync.Mutex
	groups    [][]collector.Append // of Append
	announced []collector.Announcement
	parted    []collector.Parting
}

func (s *store) Hello(ctx context.Context, h collector.Hello) (collector.Grant, error) {
	if s.onHello != nil {
		if err := s.onHello(h); err != nil {
			return collector.Grant{}, err
		}
	}
	return s.Store.Hello(ctx, h)
}

func (s *store) Resume(ctx context.Context, by collector.Session, r wire.Resume) (wire.Seq, error) {
	if s.onResume != nil {
		if err := s.onResume(r); err != nil {
			return 0, err
		}
	}
	return s.Store.Resume(ctx, by, r)
}

func (s *store) Append(ctx context.Context, by collector.Session, list []collector.Append) ([]collector.Answer, error) {
	for i := range list {
		if e := &list[i]; e.Fingerprint != ledger.Fingerprint(&e.Entry, e.Entry.To) {
			return nil, fmt.Errorf("numbers %d to %d come with fingerprint %x", e.Entry.From, e.Entry.To, e.Fingerprint)
		}
	}
	s.mu.Lock()
	s.groups = append(s.groups, append([]collector.Append(nil), list...))
	s.mu.Unlock()
	if s.onAppend != nil {
		if a, err := s.onAppend(ctx, list); a != nil || err != nil {
			return a, err
		}
	}
	return s.Store.Append(ctx, by, list)
}

func (s *store) Announce(ctx context.Context, by collector.Session, list []collector.Announcement) error {
	s.mu.Lock()
	s.announced = append(s.announced, list...)
	s.mu.Unlock()
	return s.Store.Announce(ctx, by, list)
}

func (s *store) Part(ctx context.Context, by collector.Session, p collector.Parting) error {
	s.mu.Lock()
	s.parted = append(s.parted, p)
	s.mu.Unlock()
	return s.Store.Part(ctx, by, p)
}

// parting returns the last parting the store was told.
func (s *store) parting(t *testing.T) collector.Parting {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parted) == 0 {
		t.Fatal("no session was parted")
	}
	return s.parted[len(s.parted)-1]
}

// stored returns how many messages the store has.
func (s *store) stored() (n int) {
	for _, e := range s.Store.(*storetest.Memory).Entries() {
		if !e.Entry.IsTombstone() {
			n += int(e.Entry.To-e.Entry.From) + 1
		}
	}
	return n
}

// peer is an agent's side of a link, driven by a test frame by frame.
type peer struct {
	t      testing.TB
	conn   net.Conn
	turn   chan struct{} // to write
	frames chan frame
	gone   chan struct{} // closed when reading has ended
	mute   bool          // does not answer pings
	delay  time.Duration // answers them so late

	mu   sync.Mutex
	held chan struct{} // reading waits for it
}

type frame struct {
	t wire.Type
	p []byte
}

// dial opens a link.
func (x *fixture) dial() *peer { return x.dialTo(x.ln) }

func (x *fixture) dialTo(ln *listener) *peer {
	here, there := net.Pipe()
	p := &peer{t: x.T, conn: here, turn: make(chan struct{}, 1), frames: make(chan frame, 10000), gone: make(chan struct{})}
	x.peers = append(x.peers, p)
	ln.conns <- there
	go p.read()
	return p
}

func (p *peer) read() {
	defer close(p.gone)
	defer close(p.frames)
	var pongs sync.WaitGroup
	defer pongs.Wait()
	for {
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held != nil {
			<-held
		}
		t, b, _, err := wire.ReadFrame(p.conn, nil, wire.MaxFrame)
		if err != nil {
			return
		}
		if t == wire.TypePing {
			if nonce, _, err := wire.ParsePing(b); err == nil && !p.mute {
				pongs.Go(func() {
					time.Sleep(p.delay)
					p.send(wire.AppendPong(nil, nonce))
				})
			}
			continue
		}
		p.frames <- frame{t, b}
	}
}

// hold stops the reading, after one more frame, until c is closed.
func (p *peer) hold(c chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = c
}

// send writes frames. An error is not the test's: the server may have closed.
func (p *peer) send(b []byte) error {
	p.turn <- struct{}{} // not the mutex in net.Pipe, which stops a bubble's clock
	defer func() { <-p.turn }()
	_, err := p.conn.Write(b)
	return err
}

// next returns the next frame that is no ping.
func (p *peer) next() frame {
	p.t.Helper()
	select {
	case f, ok := <-p.frames:
		if !ok {
			p.t.Fatal("the link was closed")
		}
		return f
	case <-time.After(time.Hour):
		p.t.Fatal("no frame for an hour")
	}
	panic("unreachable")
}

// quiet fails if a frame is there.
func (p *peer) quiet() {
	p.t.Helper()
	synctest.Wait()
	select {
	case f, ok := <-p.frames:
		if ok {
			p.t.Fatalf("unexpected %s %q", f.t, f.p)
		}
	default:
	}
}

// closed waits for the end of the link and fails if a frame comes before it.
func (p *peer) closed() {
	p.t.Helper()
	select {
	case f, ok := <-p.frames:
		if ok {
			p.t.Fatalf("unexpected %s %q", f.t, f.p)
		}
	case <-time.After(time.Hour):
		p.t.Fatal("not closed for an hour")
	}
}

// ack wants an ack.
func (p *peer) ack(stream uint32, w wire.Seq) {
	p.t.Helper()
	f := p.next()
	gotStream, got, err := wire.ParseAck(f.p)
	if f.t != wire.TypeAck || err != nil || gotStream != stream || got != w {
		p.t.Fatalf("got %s of stream %d, %d (%v), want an ack of stream %d, %d", f.t, gotStream, got, err, stream, w)
	}
}

// refused wants a refusal, and the end of the link after it.
func (p *peer) refused(code wire.RefuseCode, parts ...string) wire.Refuse {
	p.t.Helper()
	f := p.next()
	var r wire.Refuse
	if f.t != wire.TypeRefuse {
		p.t.Fatalf("got %s %q, want refuse %s", f.t, f.p, code)
	}
	if err := wire.ParseJSON(f.t, f.p, &r); err != nil {
		p.t.Fatal(err)
	}
	if r.Code != code {
		p.t.Errorf("refused: %s: %s, want %s", r.Code, r.Message, code)
	}
	for _, part := range parts {
		if !strings.Contains(r.Message, part) {
			p.t.Errorf("refusal %q does not say %q", r.Message, part)
		}
	}
	p.closed()
	p.conn.Close()
	return r
}

// An identity of tests: epoch and incarnation of one lane.
type ids struct {
	epoch wire.Epoch
	inc   wire.Incarnation
}

func newIDs() ids {
	return ids{wire.Epoch{ID: wire.NewID()}, wire.Incarnation{ID: wire.NewID()}}
}

func (i ids) history() wire.History { return wire.History{{Incarnation: i.inc, First: 1}} }

func (i ids) state(lane wire.Lane, next wire.Seq) wire.StreamState {
	return wire.StreamState{Lane: lane, Epoch: i.epoch, Next: next, Boundaries: i.history()}
}

// resume opens stream 1 of a lane from base.
func (i ids) resume(stream uint32, lane wire.Lane, base, next wire.Seq) []byte {
	return wire.AppendResume(nil, wire.Resume{Stream: stream, Lane: lane, Epoch: i.epoch, Base: base, Next: next, Boundaries: i.history()})
}

// entry makes an entry of messages from..to of the default lane.
func (i ids) entry(from, to wire.Seq) *wire.Entry { return i.entryOf(wire.DefaultLane, from, to, 8) }

func (i ids) entryOf(lane wire.Lane, from, to wire.Seq, size int) *wire.Entry {
	var records []byte
	for n := from; n <= to; n++ {
		var err error
		records, err = wire.AppendRecord(records, &wire.Message{Topic: "t", Time: time.Unix(int64(n), 0), Body: make([]byte, size)})
		if err != nil {
			panic(err)
		}
	}
	h := wire.BatchHeader{Lane: lane, Epoch: i.epoch, Incarnation: i.inc, First: from, Count: uint32(to - from + 1)}
	return &wire.Entry{From: from, To: to, Incarnation: i.inc, Batch: wire.AppendBatch(nil, h, records)}
}

// data returns the frames of an entry.
func data(stream uint32, e *wire.Entry) []byte { return wire.AppendData(nil, stream, e, 0) }

// helloFrames returns a hello and its histories.
func helloFrames(h wire.Hello, states ...wire.StreamState) []byte {
	if h.Protocol == 0 {
		h.Protocol = wire.Version
	}
	if h.Instance.IsZero() {
		h.Instance = wire.Instance{ID: wire.NewID()}
	}
	h.Streams = len(states)
	b := wire.AppendJSON(nil, wire.TypeHello, h)
	for _, s := range states {
		b = wire.AppendHistory(b, s)
	}
	return b
}

// hello says hello and returns the welcome.
func (p *peer) hello(h wire.Hello, states ...wire.StreamState) (w wire.Welcome) {
	p.t.Helper()
	p.send(helloFrames(h, states...))
	f := p.next()
	if f.t != wire.TypeWelcome {
		p.t.Fatalf("got %s %q, want a welcome", f.t, f.p)
	}
	if err := wire.ParseJSON(f.t, f.p, &w); err != nil {
		p.t.Fatal(err)
	}
	if err := w.Check(states); err != nil {
		p.t.Fatal(err)
	}
	return w
}

// link opens a link for an agent with one fresh stream of 100 numbers, resumed
// as stream 1.
func (x *fixture) link(id wire.AgentID) (*peer, ids) {
	x.Helper()
	p, i := x.dial(), newIDs()
	p.hello(wire.Hello{Agent: id}, i.state(wire.DefaultLane, 101))
	p.send(i.resume(1, wire.DefaultLane, 0, 101))
	return p, i
}

var errStore = errors.New("disk on fire")

// sendThree is what package agent does for you: say hello, open a stream, send a
// batch of three messages, wait for its ack.
func sendThree(address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		panic(err)
	}
	ids := newIDs()
	out := helloFrames(wire.Hello{Agent: "pump-7"}, ids.state(wire.DefaultLane, 4))
	out = append(out, ids.resume(1, wire.DefaultLane, 0, 4)...) // a real agent waits for the welcome first
	out = append(out, data(1, ids.entry(1, 3))...)
	if _, err := conn.Write(out); err != nil {
		panic(err)
	}
	for acked := false; !acked; {
		t, _, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
		if err != nil {
			panic(err)
		}
		acked = t == wire.TypeAck
	}
}
