package failedio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

const (
	sendLimit  = 2 * time.Second  // of a call of Send: then its outcome is what it is
	probeLimit = 20 * time.Second // until a lane accepts again by itself
	flushLimit = 35 * time.Second // until all is delivered again by itself: a collector whose store fails asks agents to wait up to 11 s
	closeLimit = 8 * time.Second  // "within about five seconds"
)

// Result is what became of a life.
type Result struct {
	Plan      *Plan // nil: a dry life
	Seed      uint64
	Wrong     []string      // what must not be; empty if all is well
	Counts    Counts        // operations
	Struck    bool          // the fault has come
	Failed    int           // operations
	Took      time.Duration // in all
	Errors    []string      // that the product gave to its users
	Refused   int           // messages
	Uncertain int           // messages
	Messages  oracle.Tally
	Log       string // what the processes have said last, if something is wrong
}

// OK reports whether all is well.
func (r *Result) OK() bool { return len(r.Wrong) == 0 }

// String tells what is wrong.
func (r *Result) String() string {
	plan := "no fault"
	if r.Plan != nil {
		plan = r.Plan.String()
	}
	return fmt.Sprintf("%s (seed %d, %d operations failed):\n  %s\n  errors:\n  %s\n%s", plan, r.Seed, r.Failed,
		strings.Join(r.Wrong, "\n  "), strings.Join(r.Errors, "\n  "), r.Log)
}

// life is a life while it runs.
type life struct {
	at     string // its folder
	rng    *rand.Rand
	plan   *Plan
	last   time.Duration // how long a fault lasts
	hosts  [sides]*host
	linked bool
	online string // the collector's address
	sent   record
	result Result
}

// errOver ends a life in which something is so wrong that it cannot go on.
var errOver = errors.New("the life is over")

// Run runs a life; plan nil: nothing fails. site is a folder for mounts, which
// exists; lives may share it. An error is the rig's own.
func Run(site string, plan *Plan, seed uint64) (_ Result, err error) {
	l := &life{rng: rand.New(rand.NewPCG(seed, 0)), plan: plan, last: 300 * time.Millisecond, result: Result{Plan: plan, Seed: seed}}
	if l.rng.IntN(8) == 0 {
		l.last = 1500 * time.Millisecond
	}
	if plan != nil && plan.For > 0 {
		l.last = plan.For
	}
	if l.at, err = os.MkdirTemp(site, "life-"); err != nil {
		return l.result, err
	}
	begin := time.Now()
	o := lossy.Options{Order: lossy.Order(l.rng.IntN(3)), OwnName: lossy.OwnName(l.rng.IntN(3))}
	for s := range Side(sides) {
		l.hosts[s] = &host{side: s, site: site, at: filepath.Join(l.at, s.String()), disk: lossy.New(o, l.rng.Uint64()), inject: newInjector(s, plan)}
		err = errors.Join(err, l.hosts[s].boot(l.sent.note))
	}
	if err == nil {
		err = l.script()
		if errors.Is(err, errOver) {
			err = nil
		}
	}
	err = errors.Join(err, l.end())
	l.result.Took = time.Since(begin)
	return l.result, err
}

// end takes everything away and counts.
func (l *life) end() error {
	var errs []error
	l.result.Counts = Counts{}
	for _, h := range l.hosts {
		if h.process != nil && !l.result.OK() {
			l.result.Log += fmt.Sprintf("--- the %s:\n%s\n", h.side, &h.process.stderr)
		}
		if err := h.down(!l.result.OK()); err != nil {
			errs = append(errs, err)
		}
		counts, failed := h.inject.seen()
		for p, n := range counts {
			l.result.Counts[p] += n
		}
		l.result.Failed += failed
		l.result.Struck = l.result.Struck || closed(h.inject.struck)
	}
	l.result.Errors = append(l.result.Errors, l.sent.errors...)
	l.result.Refused, l.result.Uncertain = l.sent.count()
	return errors.Join(append(errs, os.RemoveAll(l.at))...)
}

// script is what happens in every life.
func (l *life) script() error {
	return inTurn(
		func() error { return l.phase(Opening, l.open) },
		func() error { return l.link(true) },
		func() error { return l.phase(Sending, l.send, l.flush) },
		func() error { return l.link(false) },
		func() error { return l.phase(Storing, l.send) },
		func() error { return l.phase(Closing, l.close) },
		func() error { return l.phase(Reopening, l.open) },
		func() error { return l.link(true) },
		func() error { return l.phase(Draining, l.flush) },
		func() error { return l.link(false) },
		func() error { return l.phase(StoringAgain, l.send) },
		l.cut,
		func() error { return l.phase(Recovering, l.open) },
		func() error { return l.link(true) },
		func() error { return l.phase(DrainingLate, l.send, l.flush) },
		l.status,
		func() error { return l.phase(ClosingLast, l.close) },
		l.judge,
	)
}

func inTurn(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// phase counts operations while steps run. A fault that comes is lifted after a
// while, and then the life must go on by itself.
func (l *life) phase(p Phase, steps ...func(Phase) error) error {
	for _, h := range l.hosts {
		h.inject.begin(p)
	}
	over, ended := make(chan struct{}), make(chan struct{})
	struck := false
	go func() { // joined below
		defer close(ended)
		select {
		case <-l.hosts[Agent].inject.struck:
		case <-l.hosts[Collector].inject.struck:
		case <-over:
		}
		if struck = l.struck(); struck && l.plan.Lasting {
			time.Sleep(l.last)
		}
		for _, h := range l.hosts {
			h.inject.lift()
			h.inject.begin(Quiet)
		}
	}()
	before := l.struck()
	var err error
	for _, step := range steps {
		if err == nil {
			err = step(p)
		}
	}
	close(over)
	<-ended
	if err != nil || !struck || before || p == Closing || p == ClosingLast {
		return err
	}
	return inTurn(func() error { return l.must(Agent, order{Do: "probe", Phase: p, Limit: probeLimit}) }, func() error { return l.flush(p) })
}

// struck reports whether the fault has come.
func (l *life) struck() bool {
	return closed(l.hosts[Agent].inject.struck) || closed(l.hosts[Collector].inject.struck)
}

// wrong notes what must not be.
func (l *life) wrong(format string, a ...any) {
	l.result.Wrong = append(l.result.Wrong, fmt.Sprintf(format, a...))
}

// ask gives an order. A process that does not answer ends the life.
func (l *life) ask(s Side, o order) (*answer, error) {
	a, err := l.hosts[s].process.ask(o)
	if err != nil {
		l.wrong("%s: %v", s, err)
		return nil, errOver
	}
	return a, nil
}

// must gives an order that has to succeed.
func (l *life) must(s Side, o order) error {
	a, err := l.ask(s, o)
	if err == nil && a.Error != "" {
		l.wrong("%s, asked to %s: %s", s, o.Do, a.Error)
		return errOver
	}
	return err
}

// open opens both sides. Where a fault is in the way, an opening may fail; when it
// is gone, the same process opens without trouble.
func (l *life) open(p Phase) error {
	for _, s := range []Side{Collector, Agent} {
		for again := false; ; again = true {
			a, err := l.ask(s, order{Do: "open"})
			if err != nil {
				return err
			}
			if a.Error == "" {
				if s == Collector {
					l.online = a.Address
				}
				break
			}
			inject := l.hosts[s].inject
			if again || !closed(inject.struck) || l.plan.Phase != p {
				l.wrong("the %s does not open, while its disk is well: %s", s, a.Error)
				return errOver
			}
			l.result.Errors = append(l.result.Errors, "open: "+a.Error)
			for _, lie := range []string{"not a queue", "belongs to another", "in use"} {
				if strings.Contains(a.Error, lie) {
					l.wrong("the %s blames what is well for a failed operation: %s", s, a.Error)
				}
			}
			time.Sleep(lossy.Insisting)
			inject.lift()
		}
	}
	return nil
}

// link makes or cuts the link.
func (l *life) link(on bool) error {
	o := order{Do: "link"}
	if on {
		o.Address = l.online
	}
	l.linked = on
	return l.must(Agent, o)
}

// send lets two producers send to each lane, one of them in batches.
func (l *life) send(p Phase) error {
	o := order{Do: "send"}
	for i, lane := range lanes {
		o.Send = append(o.Send,
			sends{First: message{p, 2 * i, lane, 1}, Count: 10, Batch: 1, Limit: sendLimit},
			sends{First: message{p, 2*i + 1, lane, 1}, Count: 12, Batch: 3, Limit: sendLimit})
	}
	failed := len(l.sent.failures())
	if err := l.must(Agent, o); err != nil {
		return err
	}
	if list := l.sent.failures()[failed:]; len(list) > 0 && !closed(l.hosts[Agent].inject.struck) {
		l.wrong("%s: Send fails while the agent's disk is well: %s", p, list[0])
	}
	return nil
}

// flush waits until all is stored, if there is a link.
func (l *life) flush(Phase) error {
	if !l.linked {
		return nil
	}
	return l.must(Agent, order{Do: "flush", Limit: flushLimit})
}

// close closes both sides in order.
func (l *life) close(p Phase) error {
	for s := range Side(sides) {
		begin := time.Now()
		a, err := l.ask(s, order{Do: "close"})
		if err != nil {
			return err
		}
		if a.Error != "" {
			if !closed(l.hosts[s].inject.struck) || l.plan.Phase != p {
				l.wrong("the %s does not close, while its disk is well: %s", s, a.Error)
			}
			l.result.Errors = append(l.result.Errors, "close: "+a.Error)
		}
		if took := time.Since(begin); took > closeLimit {
			l.wrong("the %s took %s to close", s, took)
		}
		if a.Left != "" {
			l.wrong("the closed %s leaves goroutines: %s", s, a.Left)
		}
	}
	return nil
}

// cut cuts the power on both sides, and boots the machines again.
func (l *life) cut() error {
	for _, h := range l.hosts {
		if err := h.cut(l.rng.Uint64()); err != nil {
			return err
		}
		if err := h.boot(l.sent.note); err != nil {
			return err
		}
	}
	return nil
}

// status looks at the agent once all is stored.
func (l *life) status() error {
	a, err := l.ask(Agent, order{Do: "status"})
	if err != nil {
		return err
	}
	for _, s := range a.Status.Lanes {
		if s.Backlog != 0 || len(s.Dropped) > 0 || s.DeadLetters > 0 || s.Forks > 0 || s.RolledBack > 0 || s.Quarantined > 0 || s.Trouble != "" {
			l.wrong("lane %s: backlog %d, dropped %v, dead letters %d, forks %d, rolled back %d, quarantined %d, %s",
				s.Lane, s.Backlog, s.Dropped, s.DeadLetters, s.Forks, s.RolledBack, s.Quarantined, s.Trouble)
		}
	}
	if len(a.Status.Lanes) != len(lanes) {
		l.wrong("the agent has %d lanes", len(a.Status.Lanes))
	}
	return nil
}

// judge compares what the journal holds with what was sent.
func (l *life) judge() error {
	path := filepath.Join(l.at, "stored.jsonl")
	a, err := l.ask(Collector, order{Do: "judge", Path: path})
	if err != nil {
		return err
	}
	if a.Error != "" {
		l.wrong("the journal cannot be read: %s", a.Error)
		return nil
	}
	if !a.Report.OK {
		b, _ := json.Marshal(a.Report.Findings)
		l.wrong("the audit: %s", b)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	v, err := l.sent.sent().Judge(oracle.Export(bytes.NewReader(b)))
	if err != nil {
		l.wrong("the export: %v", err)
		return nil
	}
	l.result.Messages = v.Tally
	if !v.OK() {
		l.wrong("%s", &v)
	}
	if v.Accepted == 0 {
		l.wrong("nothing was accepted")
	}
	return nil
}
