package collector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// Server talks to agents over links and hands what they send to a [Store].
// Its methods may be called concurrently.
type Server struct {
	cfg    Config
	base   time.Time // times are counted from here by the monotonic clock
	memory budget
	count  counters
	quiet  quiet
	door   door
	secure *tls.Config // that every connection begins with, nil: plain TCP

	mu           sync.Mutex
	agents       map[wire.AgentID]*agent
	open         int    // connections, refused ones as well
	unidentified int    // links without a welcome
	refusers     int    // links refused at the door that wait for their last frame
	servings     int    // running calls of Serve
	stopSweeper  func() // waits for it

	interval atomic.Int64 // Config.Heartbeat, ns
}

// SetHeartbeat sets the interval for links that are welcomed from now on, as
// Config.Heartbeat did. The error says what to set; the old one holds then. It may be
// called at any time.
func (s *Server) SetHeartbeat(interval time.Duration) error {
	setDefault(&interval, heartbeat.DefaultInterval)
	if err := heartbeat.CheckInterval(interval); err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	s.interval.Store(int64(interval))
	return nil
}

func (s *Server) pace() time.Duration { return time.Duration(s.interval.Load()) }

// New returns a server for cfg's store, whose agents it reads: until two
// intervals after Serve began, none of them is called offline. New starts
// nothing. An error says what to set in cfg, or is the store's.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, base: time.Now(), memory: budget{limit: cfg.Memory}, agents: map[wire.AgentID]*agent{}}
	s.interval.Store(int64(cfg.Heartbeat))
	if cfg.TLS != nil {
		s.secure = (&protocols{given: cfg.TLS}).entry()
	}
	known, err := cfg.Store.Agents(context.Background())
	if err != nil {
		return nil, fmt.Errorf("collector: the store did not list its agents: %w", err)
	}
	for i := range known {
		s.agents[known[i].Agent] = newAgent(&known[i], cfg.Heartbeat, s.base)
	}
	return s, nil
}

// serving is one call of Serve.
type serving struct {
	srv     *Server
	store   context.Context    // of the store's calls; ends some time after Serve's context
	links   map[*link]struct{} // guarded by Server.mu
	running sync.WaitGroup
}

// Serve accepts links on ln until ctx ends, and returns nil then; ln is closed.
// Agents are told that the collector shuts down, entries that have come whole
// are given two seconds to be stored and acked, and every goroutine is joined:
// Serve may take as long as a call of the store that does not heed its context.
// Serve may be called for several listeners at once. An error means that ln was
// closed by someone else.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	store, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	v := &serving{srv: s, store: store, links: map[*link]struct{}{}}
	s.beginServing()
	defer s.endServing()

	accepted := make(chan struct{})
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-ctx.Done():
		case <-accepted:
		}
		ln.Close()
	})
	err := v.accept(ctx, ln)
	close(accepted)
	closer.Wait()

	s.mu.Lock()
	open := make([]*link, 0, len(v.links))
	for l := range v.links {
		open = append(open, l)
	}
	s.mu.Unlock()
	for _, l := range open {
		l.end(ending{shutdown: true, cause: "the collector shuts down"})
	}
	defer time.AfterFunc(drainTimeout, cancel).Stop()
	v.running.Wait()
	return err
}

// accept takes links until ctx ends. Errors of Accept, e.g. that all file
// descriptors are in use, are waited out.
func (v *serving) accept(ctx context.Context, ln net.Listener) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	delay := shortest
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			delay = shortest
			v.take(conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("collector: the listener on %s was closed: %w", ln.Addr(), err)
		default:
			v.srv.warn("accept", "no link can be accepted now: if file descriptors have run out, raise their limit", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(delay):
			}
			delay = min(2*delay, longest)
		}
	}
}

// take serves a connection, or refuses it if too many are open or at the door.
func (v *serving) take(conn net.Conn) {
	s := v.srv
	s.count.accepted.Add(1)
	from := origin(conn)
	if !s.door.enter(from, time.Now()) {
		s.count.refused(wire.RefuseBusy)
		s.warn(source("", "door", address(conn)), "too many connections from one address that do not say who they are", "address", address(conn))
		conn.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open < s.cfg.MaxLinks && s.unidentified < s.cfg.MaxUnidentified:
		s.open++
		s.unidentified++
		l := newLink(v, conn, from)
		v.links[l] = struct{}{}
		v.running.Go(func() {
			l.run()
			s.closed()
		})
	case s.open < s.cfg.MaxLinks && s.refusers < maxRefusers && s.secure == nil:
		s.open++
		s.refusers++
		l := newLink(v, conn, from)
		v.running.Go(func() {
			l.fail(s.busy("too many links wait for their welcome"))
			l.finish()
			s.door.leave(from, false, time.Now())
			s.closed()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refusers--
		})
	default:
		s.count.refused(wire.RefuseBusy)
		s.door.leave(from, false, time.Now())
		conn.Close()
	}
}

func (s *Server) closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// identified notes that a link is not at the door any more; welcomed says whether
// it is an agent's now.
func (s *Server) identified(l *link, welcomed bool) {
	s.door.leave(l.from, welcomed, time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unidentified--
}

// busy makes the refusal of a link for which there is no room.
func (s *Server) busy(why string) error {
	return &refusal{code: wire.RefuseBusy, retry: spread(), err: errors.New(why + ": try again later")}
}

// warn logs one line of a kind a minute.
func (s *Server) warn(kind, msg string, args ...any) {
	if ok, missed := s.quiet.allow(kind, time.Now()); ok {
		if missed > 0 {
			args = append(args, "not_logged", missed)
		}
		s.cfg.Logger.Log(context.Background(), slog.LevelWarn, msg, args...)
	}
}
