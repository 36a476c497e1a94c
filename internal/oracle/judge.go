package oracle

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Sent is everything that was sent. The zero Sent is empty. It is not for
// concurrent use.
type Sent struct {
	items    map[key]*equals
	counts   map[line]int
	ordered  []*item
	places   map[place][]seen // of messages in earlier states of stores
	declared []Declaration
	apart    map[string]bool // lanes whose streams need not follow one another
}

// key is what makes two messages equal.
type key struct {
	agent, lane string
	hash        [16]byte // of topic and body
}

// equals are equal messages, in the order in which they were sent.
type equals struct {
	list []*item
	free int // those before it are stored or were refused
}

// line is a sequence whose order counts.
type line struct{ agent, lane, producer string }

// reach is a part of a line whose order counts: all of it, or what was numbered
// under one incarnation.
type reach struct {
	line
	incarnation string
}

// item is one sent message.
type item struct {
	line
	n       int // its place in the line, from 1
	begin   string
	outcome Outcome
	stored  int

	declared bool // and not stored
}

func keyOf(agent, lane, topic string, body []byte) key {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(topic), topic)
	h.Write(body)
	return key{agent, lane, [16]byte(h.Sum(nil))}
}

// Apart says of a lane that its streams need not follow one another, because new
// messages go ahead there: order counts within an incarnation, which Stored names.
func (s *Sent) Apart(lane string) {
	if s.apart == nil {
		s.apart = map[string]bool{}
	}
	s.apart[lane] = true
}

// Add notes a sent message. Messages of one agent, lane and producer are added in
// the order in which they were sent.
func (s *Sent) Add(m Message, o Outcome) { s.add(m, o) }

func (s *Sent) add(m Message, o Outcome) *item {
	if s.items == nil {
		s.items, s.counts = map[key]*equals{}, map[line]int{}
	}
	k := keyOf(m.Agent, m.Lane, m.Topic, m.Body)
	l := line{m.Agent, m.Lane, m.Producer}
	s.counts[l]++
	it := &item{line: l, n: s.counts[l], begin: begin(m.Topic, m.Body), outcome: o}
	if s.items[k] == nil {
		s.items[k] = new(equals)
	}
	s.items[k].list = append(s.items[k].list, it)
	s.ordered = append(s.ordered, it)
	return it
}

// AddLines notes the lines of a file as accepted messages of one agent, lane and
// topic, as `agent run < file` makes them: each line without its final newline.
func (s *Sent) AddLines(r io.Reader, m Message) error {
	for b := bufio.NewReader(r); ; {
		text, err := b.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("oracle: %w", err)
		}
		if len(text) > 0 {
			m.Body = text
			if text[len(text)-1] == '\n' {
				m.Body = text[:len(text)-1]
			}
			s.add(m, Accepted)
		}
		if err == io.EOF {
			return nil
		}
	}
}

// Accepted returns how many messages were accepted.
func (s *Sent) Accepted() int {
	n := 0
	for _, it := range s.ordered {
		if it.outcome == Accepted {
			n++
		}
	}
	return n
}

// Stored is one message as a store holds it.
type Stored struct {
	Agent, Lane string
	Incarnation string // under which the number was given; for Earlier and Apart
	Seq         uint64 // for findings, and Earlier
	Topic       string
	Body        []byte // good until the next one
}

// Export reads what `collector export` writes: JSON lines.
func Export(r io.Reader) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		for d := json.NewDecoder(r); ; {
			var e struct {
				Agent      string  `json:"agent"`
				Lane       string  `json:"lane"`
				Seq        uint64  `json:"seq"`
				Topic      string  `json:"topic"`
				Body       *string `json:"body"`
				BodyBase64 []byte  `json:"body_base64"`
			}
			if err := d.Decode(&e); err == io.EOF {
				return
			} else if err != nil {
				yield(Stored{}, fmt.Errorf("oracle: export: %w", err))
				return
			}
			body := e.BodyBase64
			if e.Body != nil {
				body = []byte(*e.Body)
			}
			if !yield(Stored{Agent: e.Agent, Lane: e.Lane, Seq: e.Seq, Topic: e.Topic, Body: body}, nil) {
				return
			}
		}
	}
}

// Judge compares all that is stored, in its order, with what was sent. It may be
// called again with another state of the store. The error is that of stored.
func (s *Sent) Judge(stored iter.Seq2[Stored, error]) (Verdict, error) {
	v := Verdict{Agents: map[string]*Tally{}}
	for _, it := range s.ordered {
		it.stored = 0
	}
	for _, eq := range s.items {
		eq.free = 0
	}
	last := map[reach]*item{} // the furthest one that was stored
	for e, err := range stored {
		if err != nil {
			return v, err
		}
		s.place(&v, last, &e)
	}
	s.excuse(&v)
	for _, it := range s.ordered {
		switch it.outcome {
		case Accepted:
			v.count(it.agent, accepted)
			switch {
			case it.stored > 0:
				v.count(it.agent, isStored)
			case it.declared:
				v.count(it.agent, isDeclared)
			default:
				v.find(it.agent, missing, "missing: %s", it)
			}
		case Unknown:
			v.count(it.agent, uncertain)
			if it.stored > 0 {
				v.count(it.agent, survived)
			}
		}
	}
	return v, nil
}

// place finds the sent message that a stored one is.
func (s *Sent) place(v *Verdict, last map[reach]*item, e *Stored) {
	what := fmt.Sprintf("agent %s lane %s number %d, %s", e.Agent, e.Lane, e.Seq, begin(e.Topic, e.Body))
	eq := s.items[keyOf(e.Agent, e.Lane, e.Topic, e.Body)]
	if eq == nil || !slices.ContainsFunc(eq.list, (*item).mayBeStored) {
		v.find(e.Agent, foreign, "never sent: %s", what)
		return
	}
	of := ""
	if s.apart[e.Lane] {
		of = e.Incarnation
	}
	pick := eq.pick(last, of)
	if pick == nil {
		it := eq.list[slices.IndexFunc(eq.list, (*item).mayBeStored)]
		v.find(e.Agent, doubled, "doubled: %s; it is %s", what, it)
		return
	}
	pick.stored++
	if l := last[reach{pick.line, of}]; l != nil && l.n > pick.n {
		v.find(e.Agent, misplaced, "out of order: %s; it is %s, stored after number %d", what, pick, l.n)
		return
	}
	last[reach{pick.line, of}] = pick
}

// pick returns the message that a stored one is, nil if all are taken: the first
// free one that keeps its line's order, accepted ones before uncertain ones; else
// any free one.
func (eq *equals) pick(last map[reach]*item, incarnation string) (best *item) {
	for eq.free < len(eq.list) && (eq.list[eq.free].stored > 0 || !eq.list[eq.free].mayBeStored()) {
		eq.free++
	}
	bestRank := 4
	for _, it := range eq.list[eq.free:] {
		if it.stored > 0 || !it.mayBeStored() {
			continue
		}
		rank := 0
		if it.outcome == Unknown {
			rank = 1
		}
		if l := last[reach{it.line, incarnation}]; l != nil && l.n > it.n {
			rank += 2
		}
		if rank < bestRank {
			best, bestRank = it, rank
		}
		if rank == 0 {
			break
		}
	}
	return best
}

func (it *item) mayBeStored() bool { return it.outcome != Refused }

// String names the message for a person.
func (it *item) String() string {
	return fmt.Sprintf("message %d of producer %q, agent %s lane %s (%s), %s", it.n, it.producer, it.agent, it.lane, it.outcome, it.begin)
}

// begin returns the beginning of a message, quoted.
func begin(topic string, body []byte) string {
	const most = 24
	if len(body) > most {
		return fmt.Sprintf("%q %q...", topic, body[:most])
	}
	return fmt.Sprintf("%q %q", topic, body)
}
