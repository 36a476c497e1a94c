package sim

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// stick is a medium that is carried between a machine and the center. What is on
// it stays: it is imported late, twice, behind newer ones, or never, and so are its
// receipts.
type stick struct {
	id       string // of the agent
	file     []byte
	only     bool // it holds what a folder held that was put back since: it must arrive
	receipts [][]byte
}

// sticks returns those of an agent.
func (w *world) sticksOf(id string) (list []*stick) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sticks {
		if s.id == id {
			list = append(list, s)
		}
	}
	return list
}

// export writes a stick, mostly at a site whose link is down.
func (m *machine) export() error {
	w := m.w
	if w.r.IntN(3) > 0 {
		m.line.Refuse(true)
		m.line.Cut()
		time.Sleep(time.Duration(w.r.Int64N(int64(5 * time.Second))))
	}
	if m.life == nil {
		return nil
	}
	o := agent.CarryOptions{All: w.r.IntN(4) == 0}
	if w.r.IntN(4) == 0 {
		o.Lane = lanes[w.r.IntN(len(lanes))]
	}
	var b bytes.Buffer
	done, err := m.life.a.Carry(context.Background(), &b, o)
	switch {
	case errors.Is(err, agent.ErrNothing):
		return nil
	case err != nil && m.disk.hurt():
		return nil
	case err != nil:
		return err
	}
	w.note("%s: a stick holds %+v", m.name, done)
	w.saw("carry: exported")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sticks = append(w.sticks, &stick{id: m.id, file: b.Bytes()})
	return nil
}

// restoreBehind puts an older copy in the place of the folder, after all that the
// newer one held has gone to a stick.
func (m *machine) restoreBehind() error {
	w := m.w
	if m.copy == "" {
		return m.save()
	}
	if m.life == nil || w.policy.poison { // nobody makes a dead letter of what is refused then
		return nil
	}
	w.healDisks()
	m.life.stop()
	m.life.producers.Wait()
	time.Sleep(15 * time.Second) // what was uncertain is stored now
	var b bytes.Buffer
	done, err := m.life.a.Carry(context.Background(), &b, agent.CarryOptions{All: true})
	if err != nil && !errors.Is(err, agent.ErrNothing) {
		return err
	}
	if err == nil {
		w.note("%s: a stick holds all there is, %+v", m.name, done)
		w.mu.Lock()
		w.sticks = append(w.sticks, &stick{id: m.id, file: b.Bytes(), only: true})
		w.mu.Unlock()
	}
	w.saw("carry: a folder is put back, and what it held is on a stick")
	return m.putBack()
}

// bringHome imports the sticks that must arrive.
func (c *center) bringHome() {
	c.w.mu.Lock()
	list := append([]*stick(nil), c.w.sticks...)
	c.w.mu.Unlock()
	for _, s := range list {
		if s.only {
			c.take(c.door, s)
		}
	}
}

// carryIn imports a stick, half of the time while the schedule goes on.
func (c *center) carryIn(m *machine) error {
	w := c.w
	list := w.sticksOf(m.id)
	if len(list) == 0 || c.door == nil {
		return nil
	}
	s, d := list[len(list)-1], c.door
	if w.r.IntN(3) == 0 {
		s = list[w.r.IntN(len(list))]
	}
	if w.r.IntN(2) == 0 {
		d.imports.Go(func() { c.take(d, s) })
		return nil
	}
	c.take(d, s)
	return nil
}

// take imports a stick through a collector, and puts the receipt on it.
func (c *center) take(d *door, s *stick) {
	w := c.w
	w.mu.Lock()
	known := len(s.receipts) > 0
	w.mu.Unlock()
	report, err := collector.ImportFile(context.Background(), d.store, bytes.NewReader(s.file), collector.ImportOptions{})
	w.note("import: %v, %+v", err, report.Streams)
	switch {
	case errors.Is(err, collector.ErrGap) && len(c.earlier) > 0:
		w.saw("carry: a store that was set back or replaced lacks what is not on the stick")
		return
	case errors.Is(err, collector.ErrOtherStore) && len(c.earlier) > 0:
		return
	case errors.Is(err, collector.ErrGap), errors.Is(err, collector.ErrOtherStore), errors.Is(err, collector.ErrMemory), errors.Is(err, collector.ErrCarryFile):
		w.fault("import: %v", err)
		return
	case err != nil:
		w.saw("carry: an import is cut short")
		return
	}
	for _, r := range report.Streams {
		if r.Stored+r.Tombstoned > 0 {
			w.saw("carry: imported")
		}
		if r.Stored > 0 && r.Known > 0 {
			w.saw("carry: a stick overlaps what is stored")
		}
		if known && r.Stored+r.Tombstoned == 0 {
			w.saw("carry: a stick is imported again")
		}
		if r.Forked {
			w.saw("carry: lines have parted, and the stick's goes on beside")
		}
		if r.Rejected > 0 {
			w.saw("carry: a message is refused for good")
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.receipts = append(s.receipts, report.Receipt)
}

// settle gives the machine a receipt.
func (m *machine) settle() error {
	w := m.w
	var receipts [][]byte
	for _, s := range w.sticksOf(m.id) {
		w.mu.Lock()
		receipts = append(receipts, s.receipts...)
		w.mu.Unlock()
	}
	if len(receipts) == 0 || m.life == nil {
		return nil
	}
	list, err := m.life.a.Settle(context.Background(), bytes.NewReader(receipts[w.r.IntN(len(receipts))]), agent.SettleOptions{})
	w.note("%s: receipt: %+v, %v", m.name, list, err)
	switch {
	case errors.Is(err, agent.ErrReceipt) && (w.copied || len(w.center.earlier) > 0):
		w.saw("carry: a receipt of another history or store is refused")
	case err != nil && !m.disk.hurt():
		return err
	}
	for _, s := range list {
		switch {
		case s.To > 0:
			w.saw("carry: a receipt acks")
		case s.Error == "":
			w.saw("carry: a receipt says nothing new")
		}
		if s.Rejected > 0 {
			w.saw("carry: a receipt makes a dead letter")
		}
	}
	return nil
}

// Import is a transaction as the others are, of a store that may refuse messages.
func (s *slowStore) Import(ctx context.Context, im collector.Import) (collector.Imported, error) {
	return transaction(s, func() (collector.Imported, error) {
		if !s.w.policy.poison || len(im.Entries) == 0 {
			return s.Store.Import(ctx, im)
		}
		look := im
		look.Entries = nil
		at, err := s.Store.Import(ctx, look)
		if err != nil {
			return at, err
		}
		for i := range im.Entries {
			e := im.Entries[i]
			n := poisoned(&e, at.Match.Common)
			if n == 0 {
				continue
			}
			list := append([]wire.Entry(nil), im.Entries[:i]...)
			if e.To = n - 1; e.From <= e.To && e.To > at.Match.Common {
				list = append(list, e)
			}
			im.Entries = list
			got, err := s.Store.Import(ctx, im)
			got.Rejected, got.Why = n, "poison"
			return got, err
		}
		return s.Store.Import(ctx, im)
	})
}
