//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

// site is one agent, one collector and the link between them.
type site struct {
	t   *testing.T
	r   *rand.Rand
	b   binaries
	env []string

	agentDir, collectorDir string
	listen                 string // the collector's address, the same for all its runs
	link                   *faultnet.Proxy
	agent, collector       *process // nil: not started yet or killed
	collectorArgs          []string
	agentConfig            string        // more of the agent's configuration, in place of its lanes
	collectorConfig        string        // keys more for the collector's
	pages                  string        // the collector's, of its last run
	past                   []*process    // all that ran
	tls                    time.Duration // life of certificates, 0: the default; below 0: plain TCP
	secrets                []string      // that must not be shown

	patience time.Duration // how long drain waits
	large    int           // bytes that bodies have at most

	mu        sync.Mutex
	sent      []*attempt
	producers int
}

// attempt is one message and what its sender was told.
type attempt struct {
	m       oracle.Message
	outcome oracle.Outcome
}

const agentID = "pump-7"

// beat is the heartbeat interval of the tests: a silent peer is noticed within
// two of them and a second.
const beat = 300 * time.Millisecond

var nextSite atomic.Uint64

// newSite makes the folders and the link; nothing runs yet. sabotage names the
// switches of sabotaged binaries, "" takes the release ones.
func newSite(t *testing.T, sabotage string) *site {
	t.Helper()
	s := &site{t: t, r: rand.New(rand.NewPCG(*seed, nextSite.Add(1))), patience: 30 * time.Second, large: 400, tls: -1}
	if sabotage == "" {
		s.b = get(t, release)
	} else {
		s.b = get(t, sabotaged)
		s.env = []string{"FIELDPOST_SABOTAGE=" + sabotage}
	}
	dir := t.TempDir()
	s.agentDir, s.collectorDir = filepath.Join(dir, "agent"), filepath.Join(dir, "collector")
	s.listen = freePort(t)
	var err error
	if s.link, err = faultnet.NewProxy(s.listen, *seed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.link.Close() })
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range []*process{s.agent, s.collector} {
				if p != nil {
					t.Logf("the last words of %s:\n%s", p.name, p.said.tail())
				}
			}
		}
	})
	return s
}

var nextPort atomic.Int64

// freePort returns a loopback address below the range from which the kernel
// takes the ports of outgoing connections, so that it stays free while a
// collector is down.
func freePort(t *testing.T) string {
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+(int64(os.Getpid())*37+nextPort.Add(1))%12000)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// startCollector starts the collector and waits until it listens.
func (s *site) startCollector() {
	s.t.Helper()
	s.pages = freePort(s.t)
	args := append([]string{"run", "--dir", s.collectorDir, "--listen", s.listen, "--http", s.pages, "--config", s.config("collector")}, s.collectorArgs...)
	s.collector = launch(s.t, s.env, nil, "collector", s.b.collector, args...)
	s.past = append(s.past, s.collector)
	s.eventually("the collector listens", func() bool {
		c, err := net.Dial("tcp", s.listen)
		if err == nil {
			c.Close()
		}
		return err == nil || !s.collector.running()
	})
	if !s.collector.running() {
		s.t.Fatalf("the collector ended:\n%s", s.collector.said.tail())
	}
}

// stop ends both processes.
func (s *site) stop() {
	for _, p := range []*process{s.agent, s.collector} {
		if p != nil {
			p.kill()
		}
	}
}

// config writes a configuration file for an agent or a collector.
func (s *site) config(of string) string {
	text := fmt.Sprintf("heartbeat: {interval: %s}\n", beat)
	switch {
	case s.tls < 0:
		text += "insecure_plaintext: true\n"
	case s.tls > 0 && of == "collector":
		text += fmt.Sprintf("tls: {certificate_life: %s}\n", s.tls)
	}
	if of == "collector" {
		text += s.collectorConfig
	}
	if of == "agent" {
		text += "reconnect: {min: 50ms, max: 500ms}\n"
		if s.agentConfig == "" {
			text += "lanes: {default: {segment_size: 64KiB}}\n"
		}
		text += s.agentConfig
	}
	path := filepath.Join(filepath.Dir(s.agentDir), of+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// startAgent starts the daemon and waits until it takes messages.
func (s *site) startAgent() {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.agentDir, "tls", "agent.pem")); s.tls >= 0 && err != nil {
		if code, said := s.enroll(s.agentDir, agentID, s.listen, s.token()); code != 0 {
			s.t.Fatalf("enroll: code %d, %s", code, said)
		}
	}
	s.agent = launch(s.t, s.env, nil, "agent", s.b.agent, "run", "--stay", "--id", agentID,
		"--dir", s.agentDir, "--collector", s.link.Addr(), "--config", s.config("agent"))
	s.past = append(s.past, s.agent)
	s.eventually("the agent answers", func() bool {
		_, err := s.liveStatus()
		return err == nil || !s.agent.running()
	})
	if !s.agent.running() {
		s.t.Fatalf("the agent ended:\n%s", s.agent.said.tail())
	}
}

// status is what the tests read of an agent's status.
type status struct {
	Link struct {
		State string `json:"state"`
	} `json:"link"`
	Lanes []struct {
		Lane     string `json:"lane"`
		Accepted uint64 `json:"accepted"`
		Acked    uint64 `json:"acked"`
		Backlog  uint64 `json:"backlog"`
	} `json:"lanes"`
}

func (s *site) liveStatus() (st status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = control.Call(ctx, s.agentDir, "GET", "/status", nil, &st)
	return st, err
}

// restingStatus reads the folder of a killed agent with the status command.
func (s *site) restingStatus() (st status) {
	s.t.Helper()
	out, _, err := output(s.env, s.b.agent, "status", "--dir", s.agentDir, "--json")
	if err == nil {
		err = json.Unmarshal(out, &st)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// eventually waits for a condition, 30 s at most.
func (s *site) eventually(what string, f func() bool) {
	s.t.Helper()
	if !within(30*time.Second, f) {
		st, err := s.liveStatus()
		s.t.Fatalf("in vain: %s; status %+v, %v", what, st, err)
	}
}

func within(d time.Duration, f func() bool) bool {
	for end := time.Now().Add(d); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// drain waits until the agent has nothing left to deliver. If that never comes,
// the messages that are missing will say so.
func (s *site) drain() {
	s.t.Helper()
	if !within(s.patience, func() bool {
		st, err := s.liveStatus()
		if err != nil || len(st.Lanes) == 0 {
			return false
		}
		for _, l := range st.Lanes {
			if l.Backlog > 0 {
				return false
			}
		}
		return true
	}) {
		st, err := s.liveStatus()
		s.t.Logf("the backlog is not delivered: %+v, %v", st, err)
	}
}

// send sends one message through the daemon's socket, as `agent send` does, and
// notes what the daemon said.
func (s *site) send(producer string, body []byte) error {
	s.mu.Lock()
	a := &attempt{oracle.Message{Agent: agentID, Lane: "default", Producer: producer, Topic: "t", Body: body}, oracle.Unknown}
	s.sent = append(s.sent, a)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := control.Call(ctx, s.agentDir, "POST", "/send", map[string]any{"topic": "t", "time": time.Now(), "body": body}, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	var no *control.Refusal
	switch {
	case err == nil:
		a.outcome = oracle.Accepted
	case errors.As(err, &no) && no.Code != "uncertain", errors.Is(err, control.ErrNotRunning):
		a.outcome = oracle.Refused
	}
	return err
}

// produce lets n producers send as fast as they can, until stop is called.
func (s *site) produce(n int, pause time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range n {
		s.producers++
		name, r := fmt.Sprintf("p%d", s.producers), rand.New(rand.NewPCG(s.r.Uint64(), 0))
		all.Go(func() {
			for i := 1; ctx.Err() == nil; i++ {
				body := fmt.Appendf(nil, "%s %d ", name, i)
				body = append(body, bytes.Repeat([]byte{'x'}, r.IntN(s.large))...)
				if s.send(name, body) != nil {
					return // the agent is gone
				}
				if pause > 0 {
					time.Sleep(time.Duration(r.Int64N(int64(2 * pause))))
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// sendSome sends n messages one after another; the agent must take them.
func (s *site) sendSome(n int) {
	s.t.Helper()
	s.producers++
	for i := range n {
		if err := s.send(fmt.Sprintf("p%d", s.producers), fmt.Appendf(nil, "p%d %d", s.producers, i)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// sendBulk sends several segments full, so that the agent deletes some once they
// are delivered.
func (s *site) sendBulk() {
	s.t.Helper()
	for i := range 400 {
		if err := s.send("bulk", fmt.Appendf(nil, "bulk %d %s", i, strings.Repeat("x", 2000))); err != nil {
			s.t.Fatal(err)
		}
	}
}

// unknown returns how many messages have an uncertain outcome.
func (s *site) unknown() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.sent {
		if a.outcome == oracle.Unknown {
			n++
		}
	}
	return n
}

// judge exports what the collector's folder holds and compares.
func (s *site) judge() oracle.Verdict {
	s.t.Helper()
	export, _, err := output(s.env, s.b.collector, "export", "--dir", s.collectorDir, "--format", "jsonl")
	if err != nil {
		s.t.Fatal(err)
	}
	var sent oracle.Sent
	s.mu.Lock()
	for _, a := range s.sent {
		sent.Add(a.m, a.outcome)
	}
	s.mu.Unlock()
	v, err := sent.Judge(oracle.Export(bytes.NewReader(export)))
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// audit runs the audit command and returns its code and what it printed.
func (s *site) audit() (code int, said string) {
	s.t.Helper()
	out, code, err := output(s.env, s.b.collector, "audit", "--dir", s.collectorDir)
	return code, fmt.Sprintf("%s%v", out, err)
}

// mustHold fails the test unless every accepted message is stored once and in
// order, and the audit agrees.
func (s *site) mustHold() {
	s.t.Helper()
	v := s.judge()
	if !v.OK() || v.Accepted == 0 {
		s.t.Errorf("%v", &v)
	} else {
		s.t.Logf("%v", &v)
	}
	if code, said := s.audit(); code != 0 {
		s.t.Errorf("audit: exit code %d\n%s", code, said)
	}
}

// copyDir replaces to with a copy of from. Sockets are left out.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dest := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case d.IsDir():
			return os.MkdirAll(dest, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(dest, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
