package powercut

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"github.com/fieldpost/fieldpost/internal/oracle"
)

// message names one message of a history. Its body follows from its name, so a
// child only has to tell names.
type message struct {
	life, producer, n int
}

// topic is that of every message.
const topic = "cut"

// body returns the message's bytes: mostly small, a few that fill much of a
// segment.
func (m message) body() []byte {
	rng := rand.New(rand.NewPCG(uint64(m.life)<<32|uint64(m.producer), uint64(m.n)))
	size := 20 + rng.IntN(300)
	switch rng.IntN(10) {
	case 0:
		size = 8<<10 + rng.IntN(12<<10)
	case 1, 2, 3:
		size = 1<<10 + rng.IntN(3<<10)
	}
	b := fmt.Appendf(make([]byte, 0, size+40), "life %d producer %d message %d ", m.life, m.producer, m.n)
	for len(b) < size {
		b = strconv.AppendUint(b, rng.Uint64(), 36)
	}
	return b
}

// attempt is one Send as the oracle knows it.
type attempt struct {
	message
	agent, lane string
	outcome     oracle.Outcome
	stored      bool // its agent was told that it is stored
}

// attempts are all of a history, in the order in which they were made. Its
// methods may be called concurrently.
type attempts struct {
	mu   sync.Mutex
	list []*attempt
	open map[string][]*attempt // by agent: accepted, and not known to be stored
}

func newAttempts() *attempts { return &attempts{open: map[string][]*attempt{}} }

// try notes a Send that is about to be made.
func (l *attempts) try(agent, lane string, m message) *attempt {
	a := &attempt{message: m, agent: agent, lane: lane, outcome: oracle.Unknown}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, a)
	return a
}

// done notes its outcome.
func (l *attempts) done(a *attempt, o oracle.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.outcome = o; o == oracle.Accepted {
		l.open[a.agent] = append(l.open[a.agent], a)
	}
}

// settle returns a function that notes that all an agent has had accepted until
// now is stored. One of an agent is called before the next one is asked for.
func (l *attempts) settle(agent string) (stored func()) {
	n := l.backlog(agent)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, a := range l.open[agent][:n] {
			a.stored = true
		}
		l.open[agent] = l.open[agent][n:]
	}
}

// backlog returns how many accepted messages of an agent are not known to be
// stored.
func (l *attempts) backlog(agent string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open[agent])
}

// sent returns all of it for a verdict: what was accepted must be stored, or with
// onlyStored only what the agents were told is stored.
func (l *attempts) sent(onlyStored bool) *oracle.Sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := new(oracle.Sent)
	for _, a := range l.list {
		o := a.outcome
		if onlyStored && o == oracle.Accepted && !a.stored {
			o = oracle.Unknown
		}
		s.Add(oracle.Message{Agent: a.agent, Lane: a.lane, Producer: strconv.Itoa(a.producer), Topic: topic, Body: a.body()}, o)
	}
	return s
}
