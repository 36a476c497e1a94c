package sim

import (
	"os"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/wire"
)

// killAtTurn lets the agent die ahead of a step of going live first: its line is
// gone for long enough, comes back, and one of the next steps in the folders of
// the lanes' streams is its last.
func (m *machine) killAtTurn() error {
	w := m.w
	away := time.Duration(0)
	for _, c := range w.policy.lanes {
		away = max(away, c.LiveFirst)
	}
	if away == 0 {
		return nil
	}
	if m.life == nil {
		if err := m.start(nil); err != nil || m.life == nil {
			return err
		}
	}
	if w.center.door == nil {
		if err := w.center.start(); err != nil {
			return err
		}
	}
	m.line.Refuse(true)
	m.line.Cut()
	time.Sleep(away + time.Duration(w.r.Int64N(int64(4*time.Second))))
	c := m.disk.arm("", w.r.IntN(16))
	if w.r.IntN(3) > 0 {
		m.disk.armBelow(c, "/streams/")
	}
	m.line.Heal()
	select {
	case <-c.done:
	case <-time.After(patience):
	}
	if !m.disk.disarm(c) {
		return nil
	}
	return m.bury(c)
}

// halfBegun reports whether a picture of an agent's folder has a stream that is
// not begun yet: a folder without a segment.
func halfBegun(dir string) bool {
	streams, _ := filepath.Glob(filepath.Join(dir, "lane-*", "streams", "0*"))
	for _, s := range streams {
		segs, _ := filepath.Glob(filepath.Join(s, "0*.seg"))
		if _, err := os.Stat(s); err == nil && len(segs) == 0 {
			return true
		}
	}
	return false
}

// sawLiveFirst counts what the store shows of lanes that go live first.
func (w *world) sawLiveFirst(c *contents, numberOf map[*attempt]number) {
	at := map[number]int{}
	for i, s := range c.held {
		at[number{s.Agent, s.Lane, s.Incarnation, s.Seq}] = i
	}
	for _, line := range w.lines() {
		last := -1
		for _, t := range line {
			n, ok := numberOf[t]
			if !ok {
				continue
			}
			if at[n] < last {
				w.saw("live first: a message is stored ahead of an older one")
				break
			}
			last = at[n]
		}
	}
	for _, m := range w.machines {
		for _, s := range m.last {
			for _, g := range c.gone {
				if g.agent == m.id && g.lane == s.Lane && g.epoch != s.Epoch && g.reason == wire.ReasonOverflow && w.policy.lanes[s.Lane].LiveFirst > 0 && w.policy.lanes[s.Lane].Overflow == agent.DropOldest {
					w.saw("live first: a backlog makes room")
					break
				}
			}
		}
	}
}
