package main

import (
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// site is an agent and, from its drain on, a collector, each in a process of its
// own, with their folders in one folder.
type site struct {
	dir              string
	address          string // of the collector
	door             string // of the agent
	opened           time.Duration
	agent, collector *child
}

// site starts an agent in a folder, which may hold a backlog.
func (b *bench) site(dir string) (*site, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, address: l.Addr().String()}
	if err := l.Close(); err != nil { // the collector takes the address over
		return nil, err
	}
	if s.agent, err = start("agent"); err != nil {
		return nil, err
	}
	o, err := call[Opened](s.agent, "Open", Opening{filepath.Join(dir, "agent"), s.address})
	if err != nil {
		s.kill()
		return nil, err
	}
	s.door, s.opened = o.Door, o.Took
	return s, nil
}

// kill ends what runs, as a power cut would.
func (s *site) kill() {
	for _, c := range []*child{s.agent, s.collector} {
		if c != nil {
			c.kill()
		}
	}
	s.agent, s.collector = nil, nil
}

// stop ends both in order.
func (s *site) stop() error {
	defer s.kill() // what an error has left
	if err := s.agent.stop(); err != nil {
		return err
	}
	s.agent = nil
	err := s.collector.stop()
	s.collector = nil
	return err
}

// drain starts the collector and waits until it has stored so many messages.
func (s *site) drain(j *journey, messages int) (err error) {
	if s.collector, err = start("collector"); err != nil {
		return err
	}
	agent, err := usageOf(s.agent.pid())
	if err != nil {
		return err
	}
	stop := peak(s.agent.pid(), s.collector.pid())
	if _, err = call[Nothing](s.collector, "Open", Serving{Dir: s.dir, Address: s.address}); err == nil {
		j.drained, err = s.arrived(messages)
	}
	most := stop()
	if err != nil {
		return err
	}
	j.agentPeak, j.storePeak = most[0], most[1]
	after, err := usageOf(s.agent.pid())
	if err != nil {
		return err
	}
	j.agentUsed = after.since(agent)
	j.storeUsed, err = usageOf(s.collector.pid())
	return err
}

// arrived waits until the collector has stored so many messages.
func (s *site) arrived(messages int) (Seen, error) {
	const patience = 20 * time.Second
	last, at := -1, time.Now()
	for {
		r, err := call[Seen](s.collector, "Report", Nothing{})
		switch {
		case err != nil || r.Messages == messages:
			return r, err
		case r.Messages > messages:
			return r, fmt.Errorf("the collector has stored %d of %d messages", r.Messages, messages)
		case r.Messages != last:
			last, at = r.Messages, time.Now()
		case time.Since(at) > patience:
			return r, fmt.Errorf("the collector has stored %d of %d messages, and none for %s", r.Messages, messages, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
