package collector

import (
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// hello reads the hello and its histories, has the store grant a session, and
// welcomes the agent.
func (l *link) hello() error {
	l.conn.SetReadDeadline(l.accepted.Add(helloTimeout))
	if l.over() { // the line before must not undo what end did
		return errEnded
	}
	t, p, err := l.next(wire.MaxHello)
	if errors.Is(err, wire.ErrFrame) { // a browser, a scanner, TLS, another program's client
		return fmt.Errorf("this port is for Fieldpost agents, and what came is no hello: %w", err)
	}
	if err != nil {
		return err
	}
	h, err := parseHello(t, p)
	if err != nil {
		return err
	}
	if err := l.authorize(h.Agent); err != nil {
		return err
	}
	states, held, err := l.histories(h.Streams)
	defer l.srv.memory.give(held)
	if err != nil {
		return err
	}
	l.conn.SetReadDeadline(time.Time{})
	if l.over() {
		return errEnded
	}

	store := l.srv.cfg.Store
	hello := Hello{Hello: h, Streams: states, Address: l.address, Time: time.Now()}
	grant, err := store.Hello(l.serving.store, hello)
	if err == nil && len(grant.Matches) != len(states) {
		err = fmt.Errorf("the store gave %d matches for %d streams", len(grant.Matches), len(states))
	}
	if errors.Is(err, ErrLimit) {
		return &refusal{code: wire.RefuseLimit, err: err}
	}
	if err != nil {
		return l.srv.storeFailed(fmt.Errorf("hello of agent %s: %w", h.Agent, err))
	}

	l.session = Session{h.Agent, grant.Session}
	l.instance, l.interval = h.Instance, l.srv.pace()
	if heartbeat.CheckInterval(h.Heartbeat) == nil {
		l.interval = h.Heartbeat
	}
	l.streams, l.lanes = map[uint32]*stream{}, map[wire.Lane]*lane{}
	l.since = time.Now()
	l.pacer = heartbeat.NewPacer(l.interval, l.since)
	l.srv.welcomed(l, &hello.Hello)
	if err := l.authorize(h.Agent); err != nil { // a Recheck since may not have seen this link
		return err
	}
	id := store.Identity()
	l.out.welcome(wire.Welcome{
		Session: grant.Session,
		Store:   id.ID, Replaces: id.Replaces, ReplacesAny: id.ReplacesAny,
		Heartbeat: l.interval, Window: l.srv.cfg.Window, Fragment: l.srv.cfg.Fragment,
		Time: l.since, Matches: grant.Matches,
	})
	return nil
}

// boundarySize is what a boundary takes in memory.
const boundarySize = 24

// histories reads the histories of n streams. held is what they take of the
// memory, for the caller to give back whatever the error.
func (l *link) histories(n int) (states []wire.StreamState, held int64, err error) {
	total := 0
	for range n {
		var h history
		for whole := false; !whole; {
			t, p, err := l.next(wire.MaxPage)
			if err != nil {
				return nil, held, err
			}
			before := len(h.state.Boundaries)
			if whole, err = h.add(t, p); err != nil {
				return nil, held, err
			}
			came := len(h.state.Boundaries) - before
			if total += came; total > maxHelloBounds {
				return nil, held, fmt.Errorf("hello with more than %d boundaries in all", maxHelloBounds)
			}
			if !l.srv.memory.take(int64(came) * boundarySize) {
				return nil, held, l.srv.busy("the collector's memory is full")
			}
			held += int64(came) * boundarySize
		}
		states = append(states, h.state)
	}
	return states, held, nil
}

// helloPart is what is read of a hello before it is clear that the rest of it is
// of this version.
type helloPart struct {
	Protocol int    `json:"protocol"`
	Agent    string `json:"agent"`
}

// parseHello reads a hello. A version or an id that cannot be served gives a
// refusal with its own code.
func parseHello(t wire.Type, p []byte) (h wire.Hello, err error) {
	if t != wire.TypeHello {
		return h, fmt.Errorf("the first frame is %s, not hello", t)
	}
	var part helloPart
	if err := wire.ParseJSON(t, p, &part); err != nil {
		return h, err
	}
	if part.Protocol != wire.Version {
		return h, &refusal{code: wire.RefuseVersion,
			err: fmt.Errorf("protocol version %d is not spoken here, %d is: update whichever side is older", part.Protocol, wire.Version)}
	}
	if err := wire.CheckName("agent id", part.Agent); err != nil {
		return h, &refusal{code: wire.RefuseIdentity, err: fmt.Errorf("%w: start the agent with another id", err)}
	}
	if err := wire.ParseJSON(t, p, &h); err != nil {
		return h, err
	}
	return h, h.Check()
}

// history joins the pages of one stream of a hello.
type history struct {
	state wire.StreamState
	begun bool
}

// add takes a page and reports whether it was the last.
func (h *history) add(t wire.Type, p []byte) (whole bool, err error) {
	if t != wire.TypeHistory {
		return false, fmt.Errorf("%s where a history is due", t)
	}
	var page wire.StreamState
	if err := wire.ParseJSON(t, p, &page); err != nil {
		return false, err
	}
	if len(page.Boundaries) > wire.MaxPageBounds {
		return false, fmt.Errorf("history page of %d boundaries, the limit is %d", len(page.Boundaries), wire.MaxPageBounds)
	}
	if s := &h.state; h.begun {
		if page.Lane != s.Lane || page.Epoch != s.Epoch || page.Next != s.Next || page.Acked != s.Acked {
			return false, fmt.Errorf("the history pages of lane %s, epoch %s are not of one stream", s.Lane, s.Epoch)
		}
		page.Boundaries = append(s.Boundaries, page.Boundaries...)
	}
	h.state, h.begun = page, true
	if page.More {
		if len(page.Boundaries) == 0 {
			return false, errors.New("history page without boundaries, and more to come")
		}
		if len(page.Boundaries) > wire.MaxHelloBounds {
			return false, fmt.Errorf("lane %s: more than %d boundaries", page.Lane, wire.MaxHelloBounds)
		}
		return false, nil
	}
	return true, page.Check()
}
