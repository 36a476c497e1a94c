package transport

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// fakeStore is what fake collectors make "durable".
type fakeStore struct {
	id       wire.StoreID
	replaces []wire.StoreID

	mu       sync.Mutex
	sessions uint64
	live     wire.Session
	streams  map[wire.Epoch]*storeStream
	refuse   map[wire.Seq]bool
	log      []string // what was appended, e.g. "default 1-3", "default 4 rejected"
	wrong    []string // what should never be
}

type storeStream struct {
	lane   wire.Lane
	w      wire.Seq
	stored []wire.Seq
	tombs  []wire.Seq
}

func newStore() *fakeStore {
	return &fakeStore{id: wire.StoreID{ID: wire.NewID()}, streams: map[wire.Epoch]*storeStream{}, refuse: map[wire.Seq]bool{}}
}

func (s *fakeStore) oops(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

func (s *fakeStore) faults() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.wrong, "\n")
}

// numbers returns how many numbers are stored and how many tombstoned.
func (s *fakeStore) numbers() (stored, tombs int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		stored, tombs = stored+len(st.stored), tombs+len(st.tombs)
	}
	return stored, tombs
}

// append is rule 9. It returns W, or the number that is refused, and whether
// anything was taken.
func (s *fakeStore) append(e wire.Epoch, en wire.Entry) (w, rejected wire.Seq, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[e]
	b, err := en.Check()
	if err != nil {
		s.oops("entry: %v", err)
		return st.w, 0, false
	}
	if en.From > st.w+1 || en.To <= st.w {
		return st.w, 0, false
	}
	from := st.w + 1
	if en.IsTombstone() {
		for n := from; n <= en.To; n++ {
			st.tombs = append(st.tombs, n)
		}
	} else {
		for n := from; n <= en.To; n++ {
			if s.refuse[n] {
				return st.w, n, false
			}
		}
		for r, err := range b.Records() {
			if err != nil {
				s.oops("record: %v", err)
			} else if r.Seq >= from && r.Seq <= en.To {
				m, _ := r.Record.Message()
				if want := fmt.Sprintf("%s %s %d ", st.lane, e, r.Seq); !bytes.HasPrefix(m.Body, []byte(want)) {
					s.oops("number %d of %s is %.60q", r.Seq, st.lane, m.Body)
				}
				st.stored = append(st.stored, r.Seq)
			}
		}
	}
	st.w = en.To
	what := ""
	if en.IsTombstone() {
		what = " " + en.Reason.String()
	}
	s.log = append(s.log, fmt.Sprintf("%s %d-%d%s", st.lane, from, en.To, what))
	return st.w, 0, true
}

// fakeCollector answers links as docs/PROTOCOL.md says, but for its hooks.
type fakeCollector struct {
	store    *fakeStore
	interval time.Duration
	window   int
	fragment int

	// Hooks; nil or zero: none.
	hello   func(h wire.Hello) (refuse *wire.Refuse)
	welcome func(w *wire.Welcome)
	dumb    bool                                   // never answers the hello
	filter  func(typ wire.Type, frame []byte) bool // false: this answer is lost
	arrived func(typ wire.Type, p []byte)          // every frame after the welcome
	stalled chan struct{}                          // until it is closed the store takes nothing
	quiet   bool                                   // does not answer what it discards
	merge   bool                                   // leaves out answers: only the last of those that are due together
	pings   bool                                   // pings by itself

	mu        sync.Mutex
	conns     []net.Conn
	hellos    []wire.Hello
	byes      []string
	opened    int
	histories []wire.History // of hellos and resumes
	wg        sync.WaitGroup
}

func newCollector(store *fakeStore) *fakeCollector {
	return &fakeCollector{store: store, interval: time.Second, window: 64 << 10, fragment: 1 << 10}
}

// dial is a Config.Dial that ends at the collector.
func (c *fakeCollector) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	c.accept(far)
	return near, nil
}

func (c *fakeCollector) accept(conn net.Conn) {
	c.mu.Lock()
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	c.wg.Go(func() {
		defer conn.Close()
		c.serve(conn)
	})
}

// cut breaks the last link.
func (c *fakeCollector) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[len(c.conns)-1].Close()
}

func (c *fakeCollector) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	h, said, err := readHello(r)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.hellos = append(c.hellos, h)
	for _, s := range said {
		c.histories = append(c.histories, s.Boundaries)
	}
	c.mu.Unlock()
	if c.dumb {
		_, _ = r.ReadByte()
		return
	}
	if c.hello != nil {
		if refuse := c.hello(h); refuse != nil {
			_, _ = conn.Write(wire.AppendJSON(nil, wire.TypeRefuse, refuse))
			return
		}
	}
	w := c.grant(h, said)
	if c.welcome != nil {
		c.welcome(&w)
	}
	if _, err := conn.Write(wire.AppendJSON(nil, wire.TypeWelcome, w)); err != nil {
		return
	}
	l := &collectorLink{c: c, conn: conn, session: w.Session, streams: map[uint32]wire.Epoch{}, partial: map[uint32]*partial{}, due: make(chan answer, 1<<16)}
	var wg sync.WaitGroup
	wg.Go(l.answers)
	stop := make(chan struct{})
	if c.pings {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(c.interval):
					l.write(wire.TypePing, wire.AppendPing(nil, 7, nil))
				}
			}
		})
	}
	for {
		typ, p, _, err := wire.ReadFrame(r, nil, wire.MaxFrame)
		if err == nil {
			if c.arrived != nil {
				c.arrived(typ, p)
			}
			err = l.take(typ, p)
		}
		if err != nil {
			break
		}
	}
	close(stop)
	close(l.due)
	conn.Close()
	wg.Wait()
}

func readHello(r *bufio.Reader) (h wire.Hello, said []wire.StreamState, err error) {
	typ, p, _, err := wire.ReadFrame(r, nil, wire.MaxHello)
	if err != nil {
		return h, nil, err
	}
	if err := wire.ParseJSON(typ, p, &h); err != nil {
		return h, nil, err
	}
	var pages wire.History
	for len(said) < h.Streams {
		typ, p, _, err := wire.ReadFrame(r, nil, wire.MaxPage)
		if err != nil {
			return h, nil, err
		}
		var s wire.StreamState
		if err := wire.ParseJSON(typ, p, &s); err != nil {
			return h, nil, err
		}
		s.Boundaries = append(pages, s.Boundaries...)
		if pages = nil; s.More {
			pages = s.Boundaries
			continue
		}
		if err := s.Check(); err != nil {
			return h, nil, err
		}
		said = append(said, s)
	}
	return h, said, h.Check()
}

func (c *fakeCollector) grant(h wire.Hello, said []wire.StreamState) wire.Welcome {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions = max(s.sessions, h.LastSession) + 1
	s.live = wire.Session{Number: s.sessions, Nonce: wire.NewID()}
	w := wire.Welcome{Session: s.live, Store: s.id, Replaces: s.replaces, Heartbeat: c.interval, Window: c.window, Fragment: c.fragment, Time: time.Now()}
	for _, st := range said {
		m := wire.Match{}
		if have := s.streams[st.Epoch]; have != nil {
			m = wire.Match{Found: true, Epoch: st.Epoch, W: have.w, Common: have.w}
		}
		w.Matches = append(w.Matches, m)
	}
	return w
}

type partial struct {
	entry wire.Entry
	size  int
}

type answer struct {
	stream uint32
	epoch  wire.Epoch
	entry  wire.Entry
}

// collectorLink is one link after its welcome.
type collectorLink struct {
	c       *fakeCollector
	conn    net.Conn
	session wire.Session
	streams map[uint32]wire.Epoch
	pages   wire.History // of the resume that is coming in
	partial map[uint32]*partial
	due     chan answer
	mu      sync.Mutex // writing, pending
	pending map[wire.Lane]int
}

func (l *collectorLink) write(typ wire.Type, frame []byte) {
	if l.c.filter != nil && !l.c.filter(typ, frame) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.conn.Write(frame)
}

func (l *collectorLink) take(typ wire.Type, p []byte) error {
	switch typ {
	case wire.TypeResume:
		var r wire.Resume
		if err := wire.ParseJSON(typ, p, &r); err != nil {
			return err
		}
		r.Boundaries = append(l.pages, r.Boundaries...)
		if l.pages = nil; r.More {
			l.pages = r.Boundaries
			return nil
		}
		l.c.mu.Lock()
		l.c.opened++
		l.c.histories = append(l.c.histories, r.Boundaries)
		l.c.mu.Unlock()
		s := l.c.store
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := r.Check(); err != nil {
			s.oops("resume: %v", err)
		}
		if _, twice := l.streams[r.Stream]; twice {
			s.oops("stream %d is opened twice", r.Stream)
		}
		if s.streams[r.Epoch] == nil {
			s.streams[r.Epoch] = &storeStream{lane: r.Lane, w: r.Base}
		}
		if s.streams[r.Epoch].w != r.Base {
			s.oops("resume with base %d, W is %d", r.Base, s.streams[r.Epoch].w)
		}
		l.streams[r.Stream] = r.Epoch
	case wire.TypePing:
		nonce, list, err := wire.ParsePing(p)
		if err != nil {
			return err
		}
		for _, a := range list {
			if _, ok := l.streams[a.Stream]; !ok {
				l.c.store.mu.Lock()
				l.c.store.oops("ping announces stream %d, which is not open", a.Stream)
				l.c.store.mu.Unlock()
			}
		}
		l.write(wire.TypePong, wire.AppendPong(nil, nonce))
	case wire.TypePong:
	case wire.TypeBye:
		var b wire.Bye
		if err := wire.ParseJSON(typ, p, &b); err != nil {
			return err
		}
		l.c.mu.Lock()
		l.c.byes = append(l.c.byes, b.Reason)
		l.c.mu.Unlock()
		return fmt.Errorf("goodbye")
	case wire.TypeData, wire.TypeMore:
		return l.data(typ, p)
	default:
		return fmt.Errorf("%s from an agent", typ)
	}
	return nil
}

func (l *collectorLink) data(typ wire.Type, p []byte) error {
	var stream uint32
	var part []byte
	s := l.c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if typ == wire.TypeData {
		st, e, size, first, err := wire.ParseData(p)
		if err != nil {
			s.oops("data: %v", err)
			return err
		}
		if l.partial[st] != nil {
			s.oops("stream %d: another batch before the end of the last", st)
		}
		stream, part = st, first
		l.partial[st] = &partial{e, size}
	} else {
		st, more, err := wire.ParseMore(p)
		if err != nil || l.partial[st] == nil {
			s.oops("more: %v", err)
			return fmt.Errorf("more")
		}
		stream, part = st, more
	}
	epoch, ok := l.streams[stream]
	if !ok {
		s.oops("data for stream %d, which is not open", stream)
		return fmt.Errorf("stream")
	}
	x := l.partial[stream]
	if x.size > 0 {
		x.entry.Batch = append(x.entry.Batch, part...)
	}
	if len(x.entry.Batch) < x.size {
		return nil
	}
	delete(l.partial, stream)
	lane := s.streams[epoch].lane
	l.mu.Lock()
	if l.pending == nil {
		l.pending = map[wire.Lane]int{}
	}
	if l.pending[lane] += len(x.entry.Batch); l.pending[lane] > 2*l.c.window && l.pending[lane] > len(x.entry.Batch) {
		s.oops("lane %s: %d bytes without an answer, two windows are twice %d", lane, l.pending[lane], l.c.window)
	}
	l.mu.Unlock()
	l.due <- answer{stream, epoch, x.entry}
	return nil
}

// answers appends and answers.
func (l *collectorLink) answers() {
	for a := range l.due {
		if l.c.stalled != nil {
			<-l.c.stalled
		}
		list := []answer{a}
		if l.c.merge {
			time.Sleep(10 * time.Millisecond)
			for len(l.due) > 0 {
				list = append(list, <-l.due)
			}
		}
		for i, a := range list {
			s := l.c.store
			s.mu.Lock()
			lane, fenced := s.streams[a.epoch].lane, l.session != s.live
			s.mu.Unlock()
			if fenced {
				continue
			}
			w, rejected, taken := s.append(a.epoch, a.entry)
			l.mu.Lock()
			l.pending[lane] -= len(a.entry.Batch)
			l.mu.Unlock()
			switch {
			case rejected > 0:
				l.write(wire.TypeReject, wire.AppendReject(nil, a.stream, rejected, "no"))
			case l.c.quiet && !taken:
			case l.c.merge && i+1 < len(list) && list[i+1].stream == a.stream:
			default:
				l.write(wire.TypeAck, wire.AppendAck(nil, a.stream, w))
			}
		}
	}
}
