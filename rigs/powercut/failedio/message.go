package failedio

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"github.com/fieldpost/fieldpost/internal/oracle"
)

const (
	agentID  = "pump-7"
	bulkLane = "bulk"
	topic    = "fault"
)

// message names one message of a life. Its body follows from its name.
type message struct {
	Phase    Phase
	Producer int
	Lane     string
	N        int
}

// body returns the message's bytes: mostly small, some that fill much of a segment.
func (m message) body() []byte {
	rng := rand.New(rand.NewPCG(uint64(m.Phase)<<32|uint64(m.Producer), uint64(m.N)))
	size := 100 + rng.IntN(900)
	switch rng.IntN(8) {
	case 0:
		size = 8<<10 + rng.IntN(8<<10)
	case 1, 2:
		size = 2<<10 + rng.IntN(3<<10)
	}
	b := fmt.Appendf(make([]byte, 0, size+40), "%s, lane %s, producer %d, message %d ", m.Phase, m.Lane, m.Producer, m.N)
	for len(b) < size {
		b = strconv.AppendUint(b, rng.Uint64(), 36)
	}
	return b
}

// saying is what an agent's child says of a message: first without an outcome,
// when it is about to be sent.
type saying struct {
	Message message
	Outcome oracle.Outcome
	Why     string
}

// record is what was sent in a life, in its order. Its methods may be called
// concurrently.
type record struct {
	mu      sync.Mutex
	order   []message
	outcome map[message]oracle.Outcome
	errors  []string // of Send
}

// note takes what a child says.
func (r *record) note(s *saying) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, tried := r.outcome[s.Message]
	switch {
	case s.Outcome == "" && !tried:
		if r.outcome == nil {
			r.outcome = map[message]oracle.Outcome{}
		}
		r.order = append(r.order, s.Message)
		r.outcome[s.Message] = oracle.Unknown
	case s.Outcome != "" && tried && old == oracle.Unknown:
		r.outcome[s.Message] = s.Outcome
		if s.Why != "" {
			r.errors = append(r.errors, fmt.Sprintf("send, %s: %s", s.Outcome, s.Why))
		}
	default:
		return fmt.Errorf("%s of %v, which was %q before", s.Outcome, s.Message, old)
	}
	return nil
}

// count returns how many messages were refused or uncertain.
func (r *record) count() (refused, uncertain int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.outcome {
		switch o {
		case oracle.Refused:
			refused++
		case oracle.Unknown:
			uncertain++
		}
	}
	return refused, uncertain
}

// sent returns all of it for a verdict.
func (r *record) sent() *oracle.Sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := new(oracle.Sent)
	for _, m := range r.order {
		s.Add(oracle.Message{Agent: agentID, Lane: m.Lane, Producer: strconv.Itoa(m.Producer), Topic: topic, Body: m.body()}, r.outcome[m])
	}
	return s
}

// failures returns the errors of Send until now.
func (r *record) failures() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errors
}
