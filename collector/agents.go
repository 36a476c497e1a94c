package collector

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// agent is what the server knows of one agent; guarded by Server.mu.
type agent struct {
	id   wire.AgentID
	live *heartbeat.Liveness

	// of the last hello, or from the store
	software string
	host     wire.Host
	address  string

	link  *link     // the live session's, nil if there is none here
	heard time.Time // as live was told, of this link
	seen  time.Time // of the last link, once it has ended
	rtt   time.Duration
	left  backlog // likewise
	last  *Parting

	contested time.Time // when another process took its id while its link was alive
}

// backlog is what an agent has announced and the store has not settled.
type backlog struct {
	messages, bytes uint64
	oldest          time.Time // zero: not known, or nothing waits
}

func (b *backlog) add(st *stream) {
	if st.announced <= st.w+1 {
		return // all of it is stored, whatever was said of bytes and age before
	}
	b.messages += uint64(st.announced - 1 - st.w)
	b.bytes += st.backlog.bytes
	if t := st.backlog.oldest; !t.IsZero() && (b.oldest.IsZero() || t.Before(b.oldest)) {
		b.oldest = t
	}
}

// newAgent returns what the store knows of an agent.
func newAgent(k *Known, interval time.Duration, now time.Time) *agent {
	a := &agent{
		id: k.Agent, software: plain(k.Software, wire.MaxText), host: plainHost(k.Host), address: k.Address,
		seen: k.Seen, left: backlog{messages: k.Backlog}, last: k.Parting,
	}
	a.begin(interval, now)
	return a
}

func plainHost(h wire.Host) wire.Host {
	return wire.Host{Name: plain(h.Name, wire.MaxText), OS: plain(h.OS, wire.MaxText), Arch: plain(h.Arch, wire.MaxText)}
}

// begin lets the agent's liveness count from now: what was not listened for was
// not missed. A goodbye stays one.
func (a *agent) begin(interval time.Duration, now time.Time) {
	start := now
	if p := a.last; p != nil && p.Goodbye && p.Time.Before(now) {
		start = p.Time
	}
	a.live = heartbeat.NewLiveness(interval, start)
	switch p := a.last; {
	case p == nil:
	case p.Goodbye:
		a.live.Goodbye(start, plain(p.Reason, wire.MaxReason))
	case p.Reason != "":
		a.live.Lost(start, plain(p.Reason, maxMessage))
	}
	for more := true; more; { // not news: it was so before
		_, more = a.live.Check(start)
	}
}

// changed is a change of an agent's state.
type changed struct {
	agent wire.AgentID
	heartbeat.Change
}

// changes appends the agent's changes since the last call to list.
func (a *agent) changes(now time.Time, list []changed) []changed {
	for {
		c, ok := a.live.Check(now)
		if !ok {
			return list
		}
		list = append(list, changed{a.id, c})
	}
}

// say logs changes, without any lock held: a log may block.
func (s *Server) say(list []changed) {
	for _, c := range list {
		s.cfg.Logger.Log(context.Background(), level(c.To), "agent is "+string(c.To), "agent", c.agent, "was", c.From, "cause", c.Cause, "at", c.Time)
	}
}

// welcomed makes l its agent's link, and fences the one before. A hello that was
// granted its session later may have come here first; then l is fenced.
func (s *Server) welcomed(l *link, h *wire.Hello) {
	now := l.since
	s.mu.Lock()
	a := s.agents[h.Agent]
	if a == nil {
		a = newAgent(&Known{Agent: h.Agent}, l.interval, now)
		s.agents[h.Agent] = a
	}
	l.agent = a
	old, by := a.link, l.instance
	var said []changed
	if old != nil && old.session.Number > l.session.Number {
		old, by = l, old.instance
	} else {
		a.link, a.heard = l, now
		a.software, a.host, a.address = plain(h.Software, wire.MaxText), plainHost(h.Host), l.address
		a.live.SetInterval(now, l.interval)
		a.live.Connected(now)
		said = a.changes(now, said)
	}
	if old != nil && by != old.instance {
		a.contested = now.Round(0)
	}
	s.mu.Unlock()
	s.count.sessions.Add(1)
	s.say(said)
	if old != nil {
		old.end(ending{cause: "fenced by a newer link", fenced: true, by: by})
	}
}

// lost takes l off its agent and says why it ended.
func (s *Server) lost(l *link, e *ending) {
	now := time.Now()
	var said []changed
	var id wire.AgentID
	s.mu.Lock()
	delete(l.serving.links, l)
	if a := l.agent; a != nil {
		id = a.id
		if a.link == l {
			a.link = nil
			a.seen, a.rtt, a.left = l.in.lastHeard(), l.roundTrip(), l.pending.backlog()
			a.last = &Parting{Time: a.seen, Goodbye: e.goodbye, Reason: e.cause}
			if e.goodbye {
				a.live.Goodbye(now, e.cause)
			} else {
				a.live.Lost(now, e.cause)
			}
			said = a.changes(now, said)
		}
	}
	s.mu.Unlock()
	s.say(said)

	switch {
	case e.refusal != nil:
		s.count.refused(e.refusal.code)
		if e.refusal.code != wire.RefuseStore { // which has been logged once for all links
			s.warn(source(id, e.refusal.code, l.address), "a link was refused", "address", l.address, "agent", id, "code", e.refusal.code, "cause", e.cause)
		}
	case e.fenced:
		s.count.refused(wire.RefuseFenced)
		if e.by != l.instance {
			s.warn("identity "+string(id), "an agent's session was fenced by another process: if it happens again, two agents share an id",
				"agent", id, "address", l.address, "instance", l.instance, "by", e.by)
		}
	default:
		s.cfg.Logger.Debug("link ended", "address", l.address, "agent", id, "cause", e.cause)
	}
}

// beginServing starts the sweeper with the first call of Serve.
func (s *Server) beginServing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servings++; s.servings > 1 {
		return
	}
	now := time.Now()
	for _, a := range s.agents {
		if a.link == nil {
			a.begin(s.pace(), now)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	s.stopSweeper = func() {
		close(stop)
		<-stopped
	}
	go func() {
		defer close(stopped)
		s.sweepUntil(stop)
	}()
}

// endServing waits for the sweeper with the last call.
func (s *Server) endServing() {
	s.mu.Lock()
	s.servings--
	stop := s.stopSweeper
	last := s.servings == 0
	s.mu.Unlock()
	if last {
		stop()
	}
}

// sweepUntil looks after all agents and links until stop is closed.
func (s *Server) sweepUntil(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
			timer.Reset(s.sweep(time.Now()))
		}
	}
}

// sweep pings where a ping is due, ends silent links, and says whose state has
// changed. It returns when to sweep again.
func (s *Server) sweep(now time.Time) time.Duration {
	var said []changed
	var ended []*link
	s.mu.Lock()
	shortest := s.pace()
	for _, a := range s.agents {
		if l := a.link; l != nil {
			shortest = min(shortest, l.interval)
			if l.expired(now) {
				ended = append(ended, l)
			}
			if heard := l.pulse(now); heard.After(a.heard) {
				a.heard = heard
				a.live.Heard(heard)
			}
		}
		said = a.changes(now, said)
	}
	s.mu.Unlock()
	for _, l := range ended {
		l.end(ending{cause: "its certificate has expired", shutdown: true, bye: "your certificate has expired: connect with the new one"})
	}
	slices.SortFunc(said, func(x, y changed) int { return x.Time.Compare(y.Time) })
	s.say(said)
	return max(25*time.Millisecond, min(shortest/8, heartbeat.Slack/2))
}

// Knows reports whether the store or this server has seen an agent.
func (s *Server) Knows(id wire.AgentID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agents[id] != nil
}

// Forget drops an agent from what the server shows, once the store has forgotten
// it, and ends its link if it has one. If the agent comes back it is a new one.
func (s *Server) Forget(id wire.AgentID) {
	s.mu.Lock()
	var l *link
	if a := s.agents[id]; a != nil {
		l = a.link
		delete(s.agents, id)
	}
	s.mu.Unlock()
	if l != nil {
		l.fail(&refusal{code: wire.RefuseRevoked, err: fmt.Errorf("agent %s was given up by an operator of the collector: if that is a mistake, enrol it again", id)})
	}
}

// Agents returns all agents that the store or this server has seen, in order of
// their ids. The caller owns the result.
func (s *Server) Agents() []AgentStatus {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]AgentStatus, 0, len(s.agents))
	for _, a := range s.agents {
		list = append(list, a.status(now))
	}
	slices.SortFunc(list, func(x, y AgentStatus) int { return cmp.Compare(x.ID, y.ID) })
	return list
}
