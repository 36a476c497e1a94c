package main

import (
	"bufio"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// Fleet is the child that has many idle agents: the link of each, and nothing of
// its queue.
type Fleet struct {
	conns []net.Conn
	all   sync.WaitGroup
	lost  atomic.Int64
	bytes atomic.Int64 // over TCP, both ways
}

// Crowd says whose agents, how many, and where.
type Crowd struct {
	Dir, Address string
	Agents       int
	Plain        bool
	Heartbeat    time.Duration
}

// Connect connects all agents, 64 at a time.
func (f *Fleet) Connect(c Crowd, _ *Nothing) error {
	issue, err := issuer(&c)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	gate := make(chan struct{}, 64)
	var dialing sync.WaitGroup
	for i := range c.Agents {
		gate <- struct{}{}
		dialing.Go(func() {
			defer func() { <-gate }()
			conn, err := f.link(&c, wire.AgentID(fmt.Sprintf("agent-%05d", i)), issue)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			f.conns = append(f.conns, conn)
		})
	}
	dialing.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d agents did not connect, the first: %w", len(errs), c.Agents, errs[0])
	}
	return nil
}

// issuer returns a function that makes the TLS settings of an agent; nil for plain
// TCP. All share one key: it is the collector that is measured.
func issuer(c *Crowd) (func(wire.AgentID) (*tls.Config, error), error) {
	if c.Plain {
		return nil, nil
	}
	l, err := pki.Files{Cert: filepath.Join(c.Dir, "tls", "ca.pem"), Key: filepath.Join(c.Dir, "tls", "ca-key.pem"), CA: filepath.Join(c.Dir, "tls", "ca.pem")}.Load()
	if err != nil {
		return nil, err
	}
	signer, ok := l.Cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the authority's key does not sign")
	}
	a, err := pki.OpenAuthority(l.Cert.Leaf, signer)
	if err != nil {
		return nil, err
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	return func(id wire.AgentID) (*tls.Config, error) {
		cert, err := a.IssueAgent(id, key.Public(), time.Now().Add(-time.Hour), time.Now().Add(pki.AgentLife))
		if err != nil {
			return nil, err
		}
		pair, err := pki.NewPair([]*x509.Certificate{cert}, key)
		if err != nil {
			return nil, err
		}
		return &tls.Config{RootCAs: l.Roots, ServerName: pki.ServerName, NextProtos: []string{wire.ProtocolLink}, Certificates: []tls.Certificate{*pair}}, nil
	}, nil
}

// counted counts the bytes of a connection.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// link connects one agent with one stream of nothing, and lets it ping.
func (f *Fleet) link(c *Crowd, id wire.AgentID, issue func(wire.AgentID) (*tls.Config, error)) (net.Conn, error) {
	raw, err := net.Dial("tcp", c.Address)
	if err != nil {
		return nil, err
	}
	var conn net.Conn = counted{raw, &f.bytes}
	if issue != nil {
		cfg, err := issue(id)
		if err != nil {
			return nil, err
		}
		conn = tls.Client(conn, cfg)
	}
	state := wire.StreamState{Lane: wire.DefaultLane, Epoch: wire.Epoch{ID: wire.NewID()}, Next: 1, Boundaries: wire.History{{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: 1}}}
	out := wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: wire.Version, Agent: id, Instance: wire.Instance{ID: wire.NewID()}, Streams: 1, Software: "bench", Heartbeat: c.Heartbeat})
	out = wire.AppendHistory(out, state)
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 512)
	typ, p, _, err := wire.ReadFrame(r, nil, wire.MaxFrame)
	var w wire.Welcome
	if err == nil && typ == wire.TypeWelcome {
		err = wire.ParseJSON(typ, p, &w)
	} else if err == nil {
		err = fmt.Errorf("got %s instead of a welcome: %.200q", typ, p)
	}
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire.AppendResume(nil, wire.Resume{Stream: 1, Lane: state.Lane, Epoch: state.Epoch, Next: 1, Boundaries: state.Boundaries})); err != nil {
		return nil, err
	}
	f.all.Go(func() { f.idle(conn, r, w.Heartbeat) })
	return conn, nil
}

// idle answers pings and sends one an interval, as an agent without anything to
// send does.
func (f *Fleet) idle(conn net.Conn, r *bufio.Reader, interval time.Duration) {
	var mu sync.Mutex
	nonce := uint64(0)
	ping := func() {
		mu.Lock()
		defer mu.Unlock()
		nonce++
		_, _ = conn.Write(wire.AppendPing(nil, nonce, nil)) // an error shows at the next read
	}
	var next *time.Timer
	next = time.AfterFunc(interval, func() { ping(); next.Reset(interval) })
	defer next.Stop()
	var buf []byte
	for {
		typ, p, grown, err := wire.ReadFrame(r, buf, wire.MaxFrame)
		buf = grown
		if err != nil {
			f.lost.Add(1)
			return
		}
		if typ != wire.TypePing {
			continue
		}
		if n, _, err := wire.ParsePing(p); err == nil {
			mu.Lock()
			_, _ = conn.Write(wire.AppendPong(nil, n))
			mu.Unlock()
		}
	}
}

// FleetReport is how a fleet stands.
type FleetReport struct {
	Lost  int64 // links
	Bytes int64 // over TCP, both ways, since the beginning
}

// Report says how the fleet stands.
func (f *Fleet) Report(_ Nothing, r *FleetReport) error {
	*r = FleetReport{f.lost.Load(), f.bytes.Load()}
	return nil
}

// Close ends all links.
func (f *Fleet) Close(Nothing, *Nothing) error {
	for _, c := range f.conns {
		c.Close()
	}
	f.all.Wait()
	return nil
}
