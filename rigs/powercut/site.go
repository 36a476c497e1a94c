package powercut

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/wire"
)

// maxOpen is how many messages of an agent may be accepted and not stored before
// its producers wait, so that the drain has an end.
const maxOpen = 200

// site is the agents of a history of a journal, on an honest disk, and what they
// send.
type site struct {
	sent   *attempts
	agents []*agent.Agent

	stop    context.CancelFunc // ends what start began; nil if nothing runs
	running sync.WaitGroup

	mu      sync.Mutex
	address string // of the collector, "" if there is none
}

func (s *site) config(id, dir string) agent.Config {
	return agent.Config{
		ID: id, Dir: dir, Collectors: []string{"collector:0"}, InsecurePlaintext: true, Dial: s.dial, Logger: slog.New(slog.DiscardHandler),
		Lanes:     map[string]agent.LaneConfig{"bulk": {SegmentSize: 64 << 10}, string(wire.DefaultLane): {SegmentSize: 64 << 10}},
		Reconnect: agent.Reconnect{Min: 2 * time.Millisecond, Max: 10 * time.Millisecond},
	}
}

// open makes an agent.
func (s *site) open(id, dir string) error {
	a, err := agent.Open(context.Background(), s.config(id, dir))
	if err == nil {
		s.agents = append(s.agents, a)
	}
	return err
}

// hurry restarts agents whom a collector with a dead disk has asked to come back
// later. Nothing may run.
func (s *site) hurry() error {
	for i, a := range s.agents {
		st := a.Status()
		if time.Until(st.Link.NextAttempt) < 50*time.Millisecond {
			continue
		}
		if err := a.Close(); err != nil {
			return err
		}
		var err error
		if s.agents[i], err = agent.Open(context.Background(), s.config(st.ID, st.Dir)); err != nil {
			s.agents = append(s.agents[:i], s.agents[i+1:]...)
			return err
		}
	}
	return nil
}

// dial connects to whatever collector lives now.
func (s *site) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	address := s.address
	s.mu.Unlock()
	if address == "" {
		return nil, errors.New("no collector lives")
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// serving says where the collector is.
func (s *site) serving(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = address
}

// start lets every agent's producers send, and notes what the agent is told is
// stored, until end.
func (s *site) start(life int) {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, a := range s.agents {
		wake := make(chan struct{}, 2)
		for p, lane := range []string{string(wire.DefaultLane), "bulk"} {
			s.running.Go(func() { s.produce(ctx, a, lane, message{life, p, 0}, wake) })
		}
		s.running.Go(func() {
			for ctx.Err() == nil {
				stored := s.sent.settle(a.ID())
				if a.Flush(ctx) == nil {
					stored()
				}
				for range cap(wake) {
					select {
					case wake <- struct{}{}:
					default:
					}
				}
				pause(ctx, time.Millisecond)
			}
		})
	}
}

// produce sends one message after another. A Send that has begun is waited for:
// the agent's disk is honest, so nothing stays uncertain.
func (s *site) produce(ctx context.Context, a *agent.Agent, lane string, m message, wake <-chan struct{}) {
	for ctx.Err() == nil {
		m.n++
		t := s.sent.try(a.ID(), lane, m)
		switch err := a.Send(context.Background(), agent.Message{Lane: lane, Topic: topic, Body: m.body()}); {
		case err == nil:
			s.sent.done(t, oracle.Accepted)
		case !errors.Is(err, agent.ErrUncertain):
			s.sent.done(t, oracle.Refused)
		}
		for ctx.Err() == nil && s.sent.backlog(a.ID()) > maxOpen {
			select {
			case <-wake:
			case <-ctx.Done():
			}
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// end ends what start began.
func (s *site) end() {
	if s.stop != nil {
		s.stop()
		s.running.Wait()
		s.stop = nil
	}
}

// drain waits until all that was accepted is stored, and nothing runs any more.
func (s *site) drain() error {
	pause(context.Background(), 20*time.Millisecond) // of traffic in the last life
	s.end()
	end := time.Now().Add(patience)
	for _, a := range s.agents {
		stored := s.sent.settle(a.ID())
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			err := a.Flush(ctx)
			cancel()
			if err == nil {
				break
			}
			link := a.Status().Link
			if stuck := link.State != "connected" && link.State != "connecting" && link.State != "waiting"; stuck || time.Now().After(end) {
				return fmt.Errorf("agent %s is not drained: %w; its link is %s: %s", a.ID(), err, link.State, link.Error)
			}
		}
		stored()
	}
	return nil
}

// close ends everything.
func (s *site) close() error {
	s.end()
	var errs []error
	for _, a := range s.agents {
		errs = append(errs, a.Close())
	}
	s.agents = nil
	return errors.Join(errs...)
}
