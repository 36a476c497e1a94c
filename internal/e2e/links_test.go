//go:build unix

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

// noticed is how long a silent peer may go unnoticed.
const noticed = 2*beat + time.Second

// underLoad starts both sides, lets producers send while f breaks things, heals,
// and lets all drain.
func (s *site) underLoad(f func()) {
	s.startCollector()
	s.startAgent()
	stop := s.produce(3, 3*time.Millisecond)
	s.sends(50)
	f()
	s.link.Heal()
	s.sends(50)
	stop()
	s.drain()
}

// sends waits until n more messages have been accepted.
func (s *site) sends(n int) {
	s.t.Helper()
	count := func() (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, a := range s.sent {
			if a.outcome == oracle.Accepted {
				n++
			}
		}
		return n
	}
	until := count() + n
	s.eventually("the producers get on", func() bool { return count() >= until })
}

// links are the ways in which a link fails. Each is played under load.
var links = []struct {
	name string
	hurt func(s *site)
}{
	{"cut", func(s *site) {
		for range 20 {
			s.link.Cut()
			time.Sleep(time.Duration(s.r.Int64N(int64(80 * time.Millisecond))))
		}
	}},
	{"cut within frames", func(s *site) {
		for range 20 {
			d := faultnet.Direction(s.r.IntN(2))
			s.link.CutAfter(d, 1+s.r.Int64N(map[faultnet.Direction]int64{faultnet.Up: 8000, faultnet.Down: 300}[d]))
			time.Sleep(time.Duration(s.r.Int64N(int64(80 * time.Millisecond))))
		}
	}},
	{"refused", func(s *site) {
		s.link.Refuse(true)
		s.link.Cut()
		s.sends(50)
	}},
	{"stalled", func(s *site) {
		s.link.Stall(faultnet.Up)
		s.link.Stall(faultnet.Down)
		s.mustNotice()
	}},
	{"one-way", func(s *site) {
		s.link.Swallow(faultnet.Up)
		s.mustNotice()
	}},
	{"acks lost", func(s *site) { loseAcks(s) }},
	{"collector stopped, half-open", func(s *site) {
		s.collector.signal(syscall.SIGSTOP)
		defer s.collector.signal(syscall.SIGCONT)
		s.mustNotice()
	}},
	{"agent stopped, half-open", func(s *site) {
		s.agent.signal(syscall.SIGSTOP)
		time.Sleep(noticed)
		s.agent.signal(syscall.SIGCONT)
	}},
	{"slow and in pieces", func(s *site) {
		s.link.Fragment(true)
		s.link.Delay(50 * time.Millisecond)
		s.sends(100)
	}},
}

// mustNotice waits until the agent is not connected any more.
func (s *site) mustNotice() {
	s.t.Helper()
	begin := time.Now()
	s.eventually("the agent notices the silence", func() bool {
		st, err := s.liveStatus()
		return err == nil && st.Link.State != "connected"
	})
	// The rest is for a busy machine.
	if d := time.Since(begin); d > noticed+2*time.Second {
		s.t.Errorf("noticed after %s, the promise is %s", d, noticed)
	}
}

// loseAcks lets data arrive and its acks vanish, time and again: each time the
// agent has to send again what the collector has already stored.
func loseAcks(s *site) {
	for range 4 {
		s.link.Swallow(faultnet.Down)
		s.sends(30)
		s.link.Heal() // resets the connection
		s.sends(10)
	}
}

func TestLinkFaults(t *testing.T) {
	t.Parallel()
	for _, l := range links {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.underLoad(func() { l.hurt(s) })
			s.mustHold()
		})
	}
}

func TestCollectorAbsentAtStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startAgent()
	s.sendSome(200)
	s.startCollector()
	s.drain()
	s.mustHold()
}

func TestAgentRestartedWithABacklog(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for range 3 {
		s.startAgent()
		s.sendSome(50)
		s.agent.signal(syscall.SIGTERM)
		if code := s.agent.exit(t, 5*time.Second); code != 0 {
			t.Errorf("exit code %d after SIGTERM, want 0 for --stay:\n%s", code, s.agent.said.tail())
		}
	}
	s.startCollector()
	s.startAgent()
	s.drain()
	s.mustHold()
}
