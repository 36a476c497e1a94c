package oracle

import (
	"fmt"
	"iter"
)

// A store that was set back to an older copy, or that gave its place to another
// store, held messages that the store to be judged may lack for good: the agent
// deleted them when it got their acks. It must say so, number by number. Earlier
// and Declare let the judge hold it to that.

// place is where a store held a message. An incarnation's numbers are never given
// twice, so that it means one message, in whatever store.
type place struct {
	agent, lane, incarnation string
	seq                      uint64
}

// seen is a message that a store held once.
type seen struct {
	it    *item
	store string
}

// Declaration says of numbers that a store has, or had, them, and that the agent
// cannot send them any more.
type Declaration struct {
	Agent, Lane string
	Incarnation string // under which the numbers were given
	From, To    uint64
	Store       string // that had acked them
}

// Earlier notes what a store, named as the declarations name it, held at a time
// when it could still be believed: before it was set back, or replaced. Messages
// must have their Incarnation and Seq. It is called after all of them were added.
// Such a message may be missing from the store that is judged if a declaration
// names it; all others must be there. The error is that of stored.
func (s *Sent) Earlier(store string, stored iter.Seq2[Stored, error]) error {
	if s.places == nil {
		s.places = map[place][]seen{}
	}
	for e, err := range stored {
		if err != nil {
			return err
		}
		eq := s.items[keyOf(e.Agent, e.Lane, e.Topic, e.Body)]
		if eq == nil || len(eq.list) != 1 {
			return fmt.Errorf("oracle: store %s held a message that cannot be told from others: agent %s lane %s number %d, %s",
				store, e.Agent, e.Lane, e.Seq, begin(e.Topic, e.Body))
		}
		p := place{e.Agent, e.Lane, e.Incarnation, e.Seq}
		s.places[p] = append(s.places[p], seen{eq.list[0], store})
	}
	return nil
}

// Declare notes what the store that is judged says in the place of messages.
func (s *Sent) Declare(d Declaration) { s.declared = append(s.declared, d) }

// excuse marks what the declarations name, and finds those that are not true: of
// numbers that the named store never held, or whose message is stored.
func (s *Sent) excuse(v *Verdict) {
	for _, it := range s.ordered {
		it.declared = false
	}
	for _, d := range s.declared {
		for n := d.From; n <= d.To; n++ {
			what := fmt.Sprintf("agent %s lane %s number %d of incarnation %s, declared for store %s", d.Agent, d.Lane, n, d.Incarnation, d.Store)
			it := s.at(place{d.Agent, d.Lane, d.Incarnation, n}, d.Store)
			switch {
			case it == nil:
				v.find(d.Agent, untrue, "untrue: %s, which never held it", what)
			case it.stored > 0:
				v.find(d.Agent, untrue, "untrue: %s; it is %s, which is stored", what, it)
			case it.declared:
				v.find(d.Agent, doubled, "declared twice: %s; it is %s", what, it)
			default:
				it.declared = true
			}
		}
	}
}

// at returns the message that a store once held at a place, nil if it did not.
func (s *Sent) at(p place, store string) *item {
	for _, e := range s.places[p] {
		if e.store == store {
			return e.it
		}
	}
	return nil
}
