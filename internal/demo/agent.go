package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

// fileLane carries the lines of --file and nothing else, so that the number of
// accepted messages is the number of lines that need not be sent again.
const fileLane = "file"

// every is the time between two readings of a gauge.
const every = 100 * time.Millisecond

// sender is an agent process: it embeds package agent, as a user's program would.
type sender struct {
	id, dir, collector string
	token              string // file with the token to enrol with, unless that is done
	notes              string // the oracle's log
	run                int
	file               string
	every              time.Duration

	a   *agent.Agent
	log *oracle.Log
}

// figures is one line of an agent process's output: what the demo shows.
type figures struct {
	State     string `json:"state"`
	Accepted  uint64 `json:"accepted"`
	Delivered uint64 `json:"delivered"`
	Backlog   uint64 `json:"backlog"`
}

func agentCommand() *cobra.Command {
	s := &sender{}
	c := &cobra.Command{
		Use: "demo-agent", Hidden: true, Args: cobra.NoArgs,
		Short: "One agent process of the demo",
		RunE: func(c *cobra.Command, _ []string) error {
			stop, gone := childContext(c.Context(), c.InOrStdin())
			return s.work(stop, gone, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&s.id, "id", "", "agent id")
	f.StringVar(&s.dir, "dir", "", "the agent's folder")
	f.StringVar(&s.collector, "collector", "", "host:port")
	f.StringVar(&s.token, "token-file", "", "file with an enrolment token")
	f.StringVar(&s.notes, "notes", "", "file to note what was sent in; must not exist")
	f.IntVar(&s.run, "run", 1, "number of this run of the agent")
	f.StringVar(&s.file, "file", "", "send the lines of this file as well")
	f.DurationVar(&s.every, "every", every, "time between two readings of a gauge, 0: none")
	return c
}

// work sends until stop ends, then delivers the rest, and returns nil when all of
// it is delivered. When gone ends it leaves at once.
func (s *sender) work(stop, gone context.Context, out io.Writer) (err error) {
	if s.log, err = oracle.Create(s.notes); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.log.Close()) }()
	if err := s.enroll(gone); err != nil {
		return err
	}
	s.a, err = agent.Open(gone, agent.Config{
		ID: s.id, Dir: s.dir, Collectors: []string{s.collector},
		Lanes:     map[string]agent.LaneConfig{fileLane: {SegmentSize: 1 << 20}, "default": {SegmentSize: 1 << 20}},
		Heartbeat: heartbeat,
		Reconnect: agent.Reconnect{Min: 100 * time.Millisecond, Max: time.Second},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Software:  "fieldpost-demo",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.a.Close()) }()

	var producers, report sync.WaitGroup
	quiet, hush := context.WithCancel(gone)
	report.Go(func() { s.report(quiet, out) })
	defer report.Wait()
	defer hush()

	for _, g := range gauges() {
		if s.every > 0 {
			producers.Go(func() { s.sendReadings(stop, gone, &g) })
		}
	}
	var fileErr error
	if s.file != "" {
		producers.Go(func() { fileErr = s.sendFile(stop, gone) })
	}
	<-stop.Done()
	producers.Wait()
	return errors.Join(fileErr, s.a.Flush(gone))
}

// enroll gets the agent's certificate with its first run.
func (s *sender) enroll(ctx context.Context) error {
	if _, err := agent.ReadEnrolment(s.dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	token, err := os.ReadFile(s.token)
	if err != nil {
		return err
	}
	_, err = agent.Enroll(ctx, agent.EnrollConfig{ID: s.id, Dir: s.dir, Collector: s.collector, Token: string(token), Software: "fieldpost-demo"})
	return err
}

// sendReadings sends what a gauge says until stop ends.
func (s *sender) sendReadings(stop, gone context.Context, g *gauge) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for n := 1; stop.Err() == nil; n++ {
		body, err := json.Marshal(g.take(s.run, n))
		if err != nil {
			body = fmt.Appendf(nil, `{"run":%d,"n":%d,"error":%q}`, s.run, n, err)
		}
		note := s.note("default", g.topic, body)
		s.outcome(note, g.topic, s.a.Send(gone, agent.Message{Topic: g.topic, Body: body}))
		select {
		case <-stop.Done():
		case <-tick.C:
		}
	}
}

// sendFile sends the lines of the file, from the first one that no earlier run
// of this agent has put on disk.
func (s *sender) sendFile(stop, gone context.Context) error {
	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close()
	var done uint64
	for _, l := range s.a.Status().Lanes {
		if l.Lane == fileLane {
			done = l.Accepted
		}
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for r, n := bufio.NewReader(f), uint64(1); stop.Err() == nil; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if len(line) > 0 && n > done {
			if line[len(line)-1] == '\n' {
				line = line[:len(line)-1]
			}
			note := s.note(fileLane, "file", line)
			waiting.Add(1)
			s.a.SendAsync(agent.Message{Lane: fileLane, Topic: "file", Body: line}, func(err error) {
				s.outcome(note, "file", err)
				waiting.Done()
			})
		}
		if err == io.EOF {
			return nil
		}
	}
	return nil
}

// note notes a message that is about to be sent.
func (s *sender) note(lane, topic string, body []byte) int {
	return s.log.Try(oracle.Message{Agent: s.id, Lane: lane, Producer: topic, Topic: topic, Body: body})
}

// outcome notes what became of it.
func (s *sender) outcome(note int, topic string, err error) {
	switch {
	case err == nil:
		s.log.Done(note, oracle.Accepted)
	case errors.Is(err, agent.ErrUncertain):
		s.log.Done(note, oracle.Unknown)
	default:
		s.log.Done(note, oracle.Refused)
		slog.Warn("not accepted", "topic", topic, "err", err)
	}
}

// report prints the agent's figures until ctx ends, and once more then.
func (s *sender) report(ctx context.Context, out io.Writer) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		st := s.a.Status()
		f := figures{State: string(st.Link.State)}
		for _, l := range st.Lanes {
			f.Accepted += uint64(l.Accepted)
			f.Delivered += uint64(l.Acked)
			f.Backlog += uint64(l.Backlog)
		}
		if b, err := json.Marshal(f); err == nil {
			fmt.Fprintf(out, "%s\n", b)
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
