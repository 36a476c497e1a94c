package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
)

// Agent is the child that has an agent open. Its producers are goroutines of its
// own, or come by its door from the parent.
type Agent struct {
	agent *agent.Agent
	texts [][]byte
	door  net.Listener
	doors sync.WaitGroup
}

// Opening says which agent to open.
type Opening struct {
	Dir       string
	Collector string // address
}

// Opened is how that went.
type Opened struct {
	Took time.Duration
	Door string // address
}

// Open opens the agent, and a door beside it.
func (a *Agent) Open(o Opening, r *Opened) (err error) {
	a.texts = bodies(5000)
	began := time.Now()
	a.agent, err = agent.Open(context.Background(), agent.Config{ID: "bench", Dir: o.Dir, Collectors: []string{o.Collector}, InsecurePlaintext: true,
		Reconnect: agent.Reconnect{Min: 20 * time.Millisecond, Max: 100 * time.Millisecond}})
	if err != nil {
		return err
	}
	r.Took = time.Since(began)
	if a.door, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	r.Door = a.door.Addr().String()
	a.doors.Go(a.welcome)
	return nil
}

// send is what a producer does.
func (a *Agent) send(_, from, count int) error {
	if count == 1 {
		return a.agent.Send(context.Background(), agent.Message{Body: a.texts[from%len(a.texts)]})
	}
	list := make([]agent.Message, count)
	for i := range list {
		list[i].Body = a.texts[(from+i)%len(a.texts)]
	}
	return a.agent.SendBatch(context.Background(), list)
}

// Put loads the agent.
func (a *Agent) Put(l Load, r *Done) (err error) {
	*r, err = l.run(a.send)
	return err
}

// Steady says how many messages a second to send, and for how long.
type Steady struct {
	Rate int
	For  time.Duration
}

// Steady sends at a steady rate, and returns how many it has sent.
func (a *Agent) Steady(s Steady, sent *int) (err error) {
	*sent, err = steady(s.Rate, s.For, a.send)
	return err
}

// Backlog returns how many messages no ack has come for.
func (a *Agent) Backlog(_ Nothing, n *uint64) error {
	*n = a.agent.Status().Lanes[0].Backlog
	return nil
}

// Close closes the agent.
func (a *Agent) Close(Nothing, *Nothing) error {
	err := errors.Join(a.door.Close(), a.agent.Close())
	a.doors.Wait()
	return err
}

// welcome serves the door: on each connection a body comes with its length in
// front, in 4 bytes, and one byte answers once it is on disk.
func (a *Agent) welcome() {
	for {
		conn, err := a.door.Accept()
		if err != nil {
			return // closed
		}
		a.doors.Go(func() {
			defer conn.Close()
			r := bufio.NewReader(conn)
			var head [4]byte
			for {
				if _, err := io.ReadFull(r, head[:]); err != nil {
					return // the producer has left
				}
				body := make([]byte, min(binary.BigEndian.Uint32(head[:]), 1<<20))
				if _, err := io.ReadFull(r, body); err != nil {
					return
				}
				if a.agent.Send(context.Background(), agent.Message{Body: body}) != nil {
					return // the producer sees it
				}
				if _, err := conn.Write(head[:1]); err != nil {
					return
				}
			}
		})
	}
}

// knock loads an agent through its door, from this process.
func knock(address string, l Load) (Done, error) {
	texts := bodies(5000)
	conns := make([]net.Conn, l.Producers)
	for i := range conns {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return Done{}, err
		}
		defer conn.Close()
		conns[i] = conn
	}
	return l.run(func(producer, from, _ int) error {
		body := texts[from%len(texts)]
		frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
		if _, err := conns[producer].Write(append(frame, body...)); err != nil {
			return err
		}
		if _, err := io.ReadFull(conns[producer], frame[:1]); err != nil {
			return fmt.Errorf("the agent did not take a message: %w", err)
		}
		return nil
	})
}
