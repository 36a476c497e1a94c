package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/transport"
)

// machine is one folder with the processes that run on it, one after another,
// and its uplink. Two machines may have one agent id: clones.
type machine struct {
	w     *world
	name  string
	id    string
	dir   string
	line  *faultnet.Line
	disk  *disk
	life  *life              // nil: not running
	lives int                // begun
	copy  string             // an older copy of the folder, "" if there is none
	last  []agent.LaneStatus // of the lanes, when everything was delivered

	// When a fault began on a link that was connected; zero: there is none.
	stalled, halfOpen time.Time
}

// life is one agent process. Its producers end with it.
type life struct {
	name      string
	begin     time.Time
	end       time.Time // zero: it runs; guarded by world.mu
	a         *agent.Agent
	line      *faultnet.Line
	stop      context.CancelFunc
	producers sync.WaitGroup
	hurry     atomic.Bool       // messages come fast and large
	duplicate bool              // it was seen to know that there is another one
	greeted   atomic.Bool       // it has said hello
	lost      atomic.Int64      // bytes to it that its line had lost by its last hello
	forks     map[string]uint64 // of each lane, when it began
	killed    bool              // guarded by world.mu: what returns now is uncertain
	failed    bool              // guarded by world.mu: a message was refused or uncertain
}

var lanes = []string{"default", "alarm"}

func (w *world) newMachine(name, id, dir string) *machine {
	m := &machine{w: w, name: name, id: id, dir: dir, disk: newDisk(w, "agent")}
	m.connect()
	w.machines = append(w.machines, m)
	return m
}

// connect gives the machine a new line.
func (m *machine) connect() {
	m.line = m.w.net.Line(m.w.r.Uint64())
	m.line.Fragment(true)
	m.stalled, m.halfOpen = time.Time{}, time.Time{}
}

// die is what a picture of the folder does to the process: nobody hears it any
// more.
func (m *machine) die(l *life) {
	m.w.mu.Lock()
	l.killed, l.end = true, time.Now()
	m.w.weaken(l, m.disk.failed())
	m.w.mu.Unlock()
	l.line.Refuse(true)
	l.line.Cut()
}

// start opens the folder. If the disk is failing that may be refused, and is
// tried again later. A crash that is armed may fall into the opening.
func (m *machine) start(arm func() *crash) error {
	m.lives++
	l := &life{name: fmt.Sprintf("%s.%d", m.name, m.lives), line: m.line, begin: time.Now(), forks: map[string]uint64{}}
	m.disk.mount(m.dir, func() { m.die(l) })
	var c *crash
	if arm != nil {
		c = arm()
	}
	config := agent.Config{
		ID: m.id, Dir: m.dir, Collectors: []string{address}, InsecurePlaintext: true, Dial: m.line.Dial,
		Lanes:     map[string]agent.LaneConfig{},
		Reconnect: agent.Reconnect{Min: 100 * time.Millisecond, Max: 5 * time.Second},
		Logger:    m.w.logger(l.name),
	}
	for _, lane := range lanes {
		config.Lanes[lane] = m.w.policy.lanes[lane]
	}
	a, err := agent.Open(context.Background(), config)
	if err != nil {
		crashed := c != nil && m.disk.disarm(c)
		hurt := m.disk.hurt()
		m.disk.unmount()
		switch {
		case crashed:
			return m.revive(c)
		case hurt:
			m.w.note("%s does not open: %v", l.name, err)
			m.w.saw("agent: a failing disk keeps it from opening")
			return nil
		}
		return fmt.Errorf("%s: open: %w", l.name, err)
	}
	l.a = a
	m.life = l
	for _, s := range a.Status().Lanes {
		l.forks[s.Lane] = s.Forks
		if s.Trouble != "" && s.Next == 0 { // it has no numbers before it is open
			m.w.saw("agent: a failing disk keeps a lane from opening")
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	m.w.mu.Lock()
	m.w.alive[a.Status().Instance] = l
	m.w.mu.Unlock()
	for i := range 2 {
		seed := m.w.r.Uint64()
		l.producers.Go(func() { m.w.produce(ctx, m.id, l, i, rand.New(rand.NewPCG(seed, 0))) })
	}
	if c != nil && m.disk.disarm(c) {
		return m.bury(c)
	}
	return nil
}

// stop ends an agent in good order.
func (m *machine) stop() error {
	l := m.life
	err := m.end()
	m.w.mu.Lock()
	l.end = time.Now()
	if err != nil {
		m.w.weaken(l, m.disk.failed())
	}
	m.w.mu.Unlock()
	if err != nil && m.disk.hurt() {
		m.w.note("%s closes with: %v", m.name, err)
		err = nil
	}
	m.disk.unmount()
	if err != nil {
		return fmt.Errorf("%s: close: %w", m.name, err)
	}
	return nil
}

// end closes the agent and waits for its producers.
func (m *machine) end() error {
	l := m.life
	l.stop()
	l.producers.Wait()
	m.count()
	m.life = nil
	return l.a.Close()
}

// count notes what the process says of itself before it ends.
func (m *machine) count() {
	l := m.life
	m.w.mu.Lock()
	killed := l.killed
	m.w.mu.Unlock()
	if killed {
		return
	}
	m.look()
	for _, s := range l.a.Status().Lanes {
		for range s.Forks - l.forks[s.Lane] {
			m.w.saw("fork")
			if !m.w.copied {
				m.w.fault("%s: lane %s forked, and nothing was copied or put back", l.name, s.Lane)
			}
		}
		if s.RolledBack > 0 || s.Quarantined > 0 {
			m.w.fault("%s: lane %s: %+v: no memory went back, no file was damaged", l.name, s.Lane, s)
		}
		for reason := range s.Dropped {
			if !m.w.policy.allows(s.Lane, reason) {
				m.w.fault("%s: lane %s: %+v: nothing may be dropped as %s", l.name, s.Lane, s, reason)
			}
		}
	}
}

// look notes what the agent's link has met.
func (m *machine) look() {
	if m.life == nil {
		return
	}
	s := m.life.a.Status().Link
	timeout := s.Cause == string(transport.CauseTimeout)
	switch {
	case timeout && !m.halfOpen.IsZero() && s.FailedAt.After(m.halfOpen):
		m.w.saw("half-open link noticed")
		m.halfOpen = time.Time{}
	case timeout && !m.stalled.IsZero() && s.FailedAt.After(m.stalled):
		m.w.saw("stalled peer noticed")
		m.stalled = time.Time{}
	}
	if s.State == string(transport.DuplicateIdentity) && !m.life.duplicate {
		m.life.duplicate = true
		m.w.saw("two clones: duplicate identity")
	}
}

func (m *machine) connected() bool {
	return m.life != nil && m.life.a.Status().Link.State == string(transport.Connected)
}

// kill ends an agent as SIGKILL does, in a moment when it has nothing to do.
func (m *machine) kill() error {
	m.w.freeze()
	m.die(m.life)
	next := m.w.newDir(m.name)
	if err := copyDir(next, m.dir); err != nil {
		return err
	}
	m.disk.kill()
	m.endGhost()
	m.dir = next
	return nil
}

// endGhost ends a process that was killed, where nobody hears it.
func (m *machine) endGhost() {
	m.w.freeze()
	if err := m.end(); err != nil {
		m.w.note("the ghost of %s closed with: %v", m.name, err)
	}
	m.disk.unmount()
	m.connect()
}

// killAtStep lets the agent die ahead of a step: of its opening, if it is not
// running, else of one of its segments' turnovers. Whether it comes to that is the
// schedule's luck.
func (m *machine) killAtStep() error {
	r := m.w.r
	if m.life == nil {
		skip := r.IntN(30)
		return m.start(func() *crash { return m.disk.arm("", skip) })
	}
	phases := turnover["agent"]
	c := m.disk.arm(phases[r.IntN(len(phases))], r.IntN(2))
	m.life.hurry.Store(true)
	select {
	case <-c.done:
	case <-time.After(patience):
	}
	m.life.hurry.Store(false)
	if !m.disk.disarm(c) {
		return nil
	}
	return m.bury(c)
}

// bury ends the process that died in c, and starts another on what it left.
func (m *machine) bury(c *crash) error {
	m.endGhost()
	return m.revive(c)
}

func (m *machine) revive(c *crash) error {
	if c.err != nil {
		return fmt.Errorf("%s: picture: %w", m.name, c.err)
	}
	m.connect()
	m.dir = c.to
	if err := m.start(nil); err != nil {
		return err
	}
	if m.life != nil {
		c.count(m.w, "agent")
	}
	return nil
}

// clone copies the folder of a running agent and starts a second one on the copy.
func (m *machine) clone() error {
	if m.w.cloned || m.life == nil {
		return nil
	}
	m.w.cloned, m.w.copied = true, true
	m.w.freeze()
	dir := m.w.newDir(m.name + "-clone")
	if err := copyDir(dir, m.dir); err != nil {
		return err
	}
	return m.w.newMachine(m.name+"-clone", m.id, dir).start(nil)
}

// save copies the folder.
func (m *machine) save() error {
	m.w.freeze()
	m.copy = m.w.newDir(m.name + "-copy")
	return copyDir(m.copy, m.dir)
}

// restore puts an older copy in the place of the folder, after all that only the
// newer one held has been delivered: then nothing may be lost. If there is no
// older copy it makes one.
func (m *machine) restore() error {
	w := m.w
	if m.copy == "" {
		return m.save()
	}
	w.healDisks()
	if err := m.drain(); err != nil {
		return err
	}
	return m.putBack()
}

// putBack puts the older copy in the folder's place.
func (m *machine) putBack() error {
	w := m.w
	if err := m.stop(); err != nil {
		return err
	}
	w.copied, w.restored = true, true
	w.center.copy = "" // it may lack what only the newer folder had
	m.disk.settle()
	m.dir = w.newDir(m.name)
	if err := copyDir(m.dir, m.copy); err != nil {
		return err
	}
	return m.start(nil)
}

// drain heals what stands between m and the store and waits until m has
// delivered everything. Its producers have ended then.
func (m *machine) drain() error {
	w := m.w
	m.line.Heal()
	if w.center.door == nil {
		if err := w.center.start(); err != nil {
			return err
		}
	}
	if m.life == nil {
		if err := m.start(nil); err != nil {
			return err
		}
	}
	if w.center.door == nil || m.life == nil {
		return errors.New("does not start on a disk that is well")
	}
	m.life.stop()
	m.life.producers.Wait()
	// What was acked counts only after the store, as it is now, has answered a hello.
	instance := m.life.a.Status().Instance
	const enough = 3 * time.Hour     // clones wait for minutes, again and again
	const retried = 15 * time.Second // after which a lane has tried once more, on a disk that is well
	begin := time.Now()
	for !w.center.door.store.resumed(instance) {
		m.look()
		if time.Since(begin) > enough {
			return fmt.Errorf("%s does not come back: %+v", m.name, m.life.a.Status())
		}
		time.Sleep(time.Second)
	}
	time.Sleep(retried) // what is uncertain is no part of what Flush waits for until it is stored
	ctx, cancel := context.WithTimeout(context.Background(), enough)
	defer cancel()
	if err := m.life.a.Flush(ctx); err != nil {
		return fmt.Errorf("%s does not drain: %w; %+v", m.name, err, m.life.a.Status())
	}
	m.look()
	m.last = m.life.a.Status().Lanes
	return nil
}
