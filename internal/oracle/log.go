package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// Outcome is what a sender knows of a message.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted" // Send returned nil: it must be stored
	Refused  Outcome = "refused"  // it is certainly not accepted: it must not be stored
	Unknown  Outcome = "unknown"  // it may be stored or not
)

// Message is one message as its sender knows it.
type Message struct {
	Agent    string `json:"agent"`
	Lane     string `json:"lane"`
	Producer string `json:"producer"` // sends its messages one after another: their order counts
	Topic    string `json:"topic"`
	Body     []byte `json:"body"`
}

// note is one line of a log: a message before its Send (N and the message), or
// its outcome (N and Outcome).
type note struct {
	N       int     `json:"n"`
	Outcome Outcome `json:"outcome,omitempty"`
	*Message
}

// Log is a sender's append-only file. It survives the death of the process, not
// of the machine. Its methods may be called concurrently.
type Log struct {
	mu  sync.Mutex
	f   *os.File
	n   int
	err error // first failure; stays
}

// Create makes a log file, which must not exist: each run of a process has one of
// its own.
func Create(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("oracle: %w", err)
	}
	return &Log{f: f}, nil
}

// Try notes a message that is about to be sent and returns its number for Done.
// m is not kept.
func (l *Log) Try(m Message) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	l.write(note{N: l.n, Message: &m})
	return l.n
}

// Done notes the outcome of the message that Try gave number n.
func (l *Log) Done(n int, o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(note{N: n, Outcome: o})
}

// write puts a line into the file in one call, so that a kill leaves it whole or
// cut at its end; l.mu is held.
func (l *Log) write(n note) {
	b, err := json.Marshal(n)
	if err == nil {
		_, err = l.f.Write(append(b, '\n'))
	}
	if l.err == nil {
		l.err = err
	}
}

// Close returns the first error of the log's life: then it proves nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.f.Close(); l.err == nil {
		l.err = err
	}
	if l.err != nil {
		return fmt.Errorf("oracle: %w", l.err)
	}
	return nil
}

// Load adds the log files of one sender to what was sent, in the order of its
// runs. Messages without an outcome are Unknown.
func (s *Sent) Load(paths ...string) error {
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("oracle: %w", err)
		}
		if err := s.load(bytes.NewReader(b)); err != nil {
			return fmt.Errorf("oracle: %s: %w", path, err)
		}
	}
	return nil
}

func (s *Sent) load(r io.Reader) error {
	items := map[int]*item{}
	for d := json.NewDecoder(r); ; {
		var n note
		err := d.Decode(&n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF: // the last line may be cut
			return nil
		case err != nil:
			return err
		case n.Message != nil:
			items[n.N] = s.add(*n.Message, Unknown)
		case items[n.N] == nil:
			return fmt.Errorf("outcome of message %d, which was not sent", n.N)
		default:
			items[n.N].outcome = n.Outcome
		}
	}
}
