package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
)

// event is one kind of thing that may happen in a schedule.
type event struct {
	name   string
	weight int
	do     func(w *world, m *machine) error // m is a random machine
}

var events = []event{
	{"cut", 6, func(w *world, m *machine) error { m.line.Cut(); return nil }},
	{"cut after some bytes up", 6, func(w *world, m *machine) error {
		m.line.CutAfter(faultnet.Up, 1+w.r.Int64N(20000))
		return nil
	}},
	{"cut after some bytes down", 6, func(w *world, m *machine) error {
		m.line.CutAfter(faultnet.Down, 1+w.r.Int64N(600))
		return nil
	}},
	{"stall up", 3, func(w *world, m *machine) error { m.stall(faultnet.Up); return nil }},
	{"stall down", 3, func(w *world, m *machine) error { m.stall(faultnet.Down); return nil }},
	{"one-way: acks lost", 4, func(w *world, m *machine) error { m.line.Swallow(faultnet.Down); return nil }},
	{"one-way: data lost", 3, func(w *world, m *machine) error { m.line.Swallow(faultnet.Up); return nil }},
	{"half-open", 3, func(w *world, m *machine) error {
		if m.connected() {
			m.halfOpen = time.Now()
		}
		m.line.Swallow(faultnet.Up)
		m.line.Swallow(faultnet.Down)
		return nil
	}},
	{"refuse", 2, func(w *world, m *machine) error { m.line.Refuse(true); return nil }},
	{"outage", 3, func(w *world, m *machine) error {
		m.line.Refuse(true)
		m.line.Cut()
		return nil
	}},
	{"delay", 2, func(w *world, m *machine) error {
		m.line.Delay(time.Duration(w.r.Int64N(int64(3 * time.Second))))
		return nil
	}},
	{"heal", 14, func(w *world, m *machine) error {
		m.look()
		m.stalled, m.halfOpen = time.Time{}, time.Time{}
		m.line.Heal()
		return nil
	}},
	{"collector restarts", 3, func(w *world, m *machine) error {
		if w.center.door == nil {
			return w.center.start()
		}
		return w.center.stop()
	}},
	{"collector is killed", 3, func(w *world, m *machine) error {
		if w.center.door == nil {
			return w.center.start()
		}
		return w.center.kill()
	}},
	{"collector is killed at a step", 3, func(w *world, m *machine) error { return w.center.killAtStep() }},
	{"collector's disk fails", 3, func(w *world, m *machine) error {
		if w.center.files {
			w.center.disk.fail(w.r)
		}
		return nil
	}},
	{"agent restarts", 3, func(w *world, m *machine) error {
		if m.life == nil {
			return m.start(nil)
		}
		return m.stop()
	}},
	{"agent is killed", 4, func(w *world, m *machine) error {
		if m.life == nil {
			return m.start(nil)
		}
		return m.kill()
	}},
	{"agent is killed at a step", 4, func(w *world, m *machine) error { return m.killAtStep() }},
	{"agent is killed as it goes live first", 3, func(w *world, m *machine) error { return m.killAtTurn() }},
	{"operator purges", 3, func(w *world, m *machine) error { return m.purge() }},
	{"agent's disk fails", 4, func(w *world, m *machine) error { m.disk.fail(w.r); return nil }},
	{"folder is copied", 2, func(w *world, m *machine) error { return m.save() }},
	{"folder is restored", 2, func(w *world, m *machine) error { return m.restore() }},
	{"folder is cloned", 1, func(w *world, m *machine) error { return m.clone() }},
	{"a stick is written", 1, func(w *world, m *machine) error { return m.export() }},
	{"a stick is imported", 1, func(w *world, m *machine) error { return w.center.carryIn(m) }},
	{"a stick's receipt is taken", 1, func(w *world, m *machine) error { return m.settle() }},
	{"a stick takes what a folder had that is put back", 1, func(w *world, m *machine) error { return m.restoreBehind() }},
	{"a stick goes round", 1, func(w *world, m *machine) error {
		return errors.Join(m.export(), w.center.carryIn(m), m.settle())
	}},
	{"operator forgets the agent", 1, func(w *world, m *machine) error { return w.center.forget(m) }},
	{"store is copied", 1, func(w *world, m *machine) error { return w.center.save() }},
	{"store is set back", 3, func(w *world, m *machine) error { return w.center.setBack() }},
	{"store is replaced", 1, func(w *world, m *machine) error { return w.center.replace() }},
}

func (m *machine) stall(d faultnet.Direction) {
	if m.connected() {
		m.stalled = time.Now()
	}
	m.line.Stall(d)
}

// play plays the schedule of a seed.
func (w *world) play() error {
	if w.r.IntN(4) > 0 { // else the collector is absent at first
		if err := w.center.start(); err != nil {
			return err
		}
	}
	for i := range 1 + w.r.IntN(2) {
		name := fmt.Sprintf("pump-%d", i+1)
		if err := w.newMachine(name, name, w.newDir(name)).start(nil); err != nil {
			return err
		}
		w.freeze()
	}
	// Each schedule draws which events it has, so that there are calm ones and
	// single faults, and everything at once.
	p := []int{20, 50, 100}[w.r.IntN(3)]
	var menu []event
	for _, e := range events {
		weight := e.weight
		if w.sneaker && strings.HasPrefix(e.name, "a stick") {
			weight *= 15
		}
		if e.name == "heal" || w.r.IntN(100) < p {
			for range weight {
				menu = append(menu, e)
			}
		}
	}
	for range 5 + w.r.IntN(25) {
		time.Sleep(time.Duration(w.r.Int64N(int64(4 * time.Second))))
		e, m := menu[w.r.IntN(len(menu))], w.machines[w.r.IntN(len(w.machines))]
		w.note("%s: %s", m.name, e.name)
		if err := e.do(w, m); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		w.freeze() // what began now ends alike each time
		w.overdue()
	}
	w.note("everything heals")
	w.healDisks()
	for _, m := range w.machines {
		if err := m.drain(); err != nil {
			return err
		}
	}
	w.center.bringHome()
	return nil
}

// close ends what runs.
func (w *world) close() (err error) {
	for _, m := range w.machines {
		m.line.Heal()
		if m.life != nil {
			err = errors.Join(err, m.stop())
		}
	}
	if w.center.door != nil {
		err = errors.Join(err, w.center.stop())
	}
	return err
}

// run plays, ends and judges the schedule.
func (w *world) run() error {
	err := w.play()
	if cerr := w.close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = w.judge()
	}
	if len(w.faults) > 0 {
		err = errors.Join(err, errors.New(strings.Join(w.faults, "\n")))
	}
	return err
}
