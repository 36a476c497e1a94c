package failedio

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

// segmentSize makes lanes and journals begin a new file every few dozen messages.
const segmentSize = 64 << 10

var lanes = []string{string(wire.DefaultLane), bulkLane}

// errContradiction: Send has said two things at once.
var errContradiction = errors.New("the agent contradicts itself")

// agentChild is an agent that is told what to do.
type agentChild struct {
	dir   string
	log   *slog.Logger
	agent *agent.Agent
	link  link

	probes int
}

func (c *agentChild) do(o *order, a *answer) (err error) {
	if o.Do == "link" {
		c.link.to(o.Address)
		return nil
	}
	if (o.Do == "open") == (c.agent != nil) {
		return errOrder
	}
	switch o.Do {
	case "open":
		cfg := agent.Config{
			ID: agentID, Dir: c.dir, Lanes: map[string]agent.LaneConfig{}, Logger: c.log, Collectors: []string{"collector:0"}, InsecurePlaintext: true, Dial: c.link.dial,
			Reconnect: agent.Reconnect{Min: 2 * time.Millisecond, Max: 10 * time.Millisecond},
		}
		for _, lane := range lanes {
			cfg.Lanes[lane] = agent.LaneConfig{SegmentSize: segmentSize}
		}
		c.agent, err = agent.Open(context.Background(), cfg)
	case "send":
		var producers sync.WaitGroup
		var mu sync.Mutex
		for _, s := range o.Send {
			producers.Go(func() {
				e := c.produce(s)
				mu.Lock()
				defer mu.Unlock()
				err = errors.Join(err, e)
			})
		}
		producers.Wait()
	case "probe":
		err = c.probe(o.Phase, o.Limit)
	case "flush":
		ctx, cancel := context.WithTimeout(context.Background(), o.Limit)
		defer cancel()
		if err = c.agent.Flush(ctx); err != nil {
			l := c.agent.Status().Link
			err = fmt.Errorf("%w; the link is %s: %s", err, l.State, l.Error)
		}
	case "status":
		s := c.agent.Status()
		a.Status = &s
	case "close":
		err = c.agent.Close()
		c.agent = nil
		a.Left = left()
	default:
		return errOrder
	}
	return err
}

// produce sends one call after another. Its error is a contradiction.
func (c *agentChild) produce(s sends) error {
	for m, end := s.First, s.First.N+s.Count; m.N < end; {
		var list []message
		for len(list) < s.Batch && m.N < end {
			list = append(list, m)
			m.N++
		}
		if err := c.send(list, s.Limit); errors.Is(err, errContradiction) {
			return err
		}
	}
	return nil
}

// send makes one call and says what came of it.
func (c *agentChild) send(list []message, limit time.Duration) error {
	msgs := make([]agent.Message, len(list))
	for i, m := range list {
		say(line{Said: &saying{Message: m}})
		msgs[i] = agent.Message{Lane: m.Lane, Topic: topic, Body: m.body()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var err error
	if len(list) == 1 {
		err = c.agent.Send(ctx, msgs[0])
	} else {
		err = c.agent.SendBatch(ctx, msgs)
	}
	s := saying{Outcome: oracle.Accepted}
	switch {
	case errors.Is(err, agent.ErrUncertain) && errors.Is(err, agent.ErrFull):
		return fmt.Errorf("%w: both uncertain and certainly not stored: %w", errContradiction, err)
	case errors.Is(err, agent.ErrUncertain):
		s.Outcome, s.Why = oracle.Unknown, err.Error()
	case err != nil:
		s.Outcome, s.Why = oracle.Refused, err.Error()
	}
	for _, m := range list {
		s.Message = m
		say(line{Said: &s})
	}
	return err
}

// probe sends to each lane until it accepts.
func (c *agentChild) probe(p Phase, limit time.Duration) error {
	const producer = 100
	for _, lane := range lanes {
		for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
			c.probes++
			err := c.send([]message{{p, producer, lane, c.probes}}, time.Until(end))
			if err == nil {
				break
			}
			if time.Now().After(end) || errors.Is(err, errContradiction) {
				return fmt.Errorf("lane %s accepts nothing: %w", lane, err)
			}
		}
	}
	return nil
}

// link is the way to the collector.
type link struct {
	mu      sync.Mutex
	address string // "": cut
	open    []net.Conn
}

// to makes the link lead to an address, "" for none.
func (l *link) to(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address = address
	for _, c := range l.open {
		c.Close()
	}
	l.open = nil
}

func (l *link) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	l.mu.Lock()
	address := l.address
	l.mu.Unlock()
	if address == "" {
		return nil, errors.New("the link is cut")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.address != address {
		c.Close()
		return nil, errors.New("the link was cut meanwhile")
	}
	l.open = append(l.open, c)
	return c, nil
}
