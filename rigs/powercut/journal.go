package powercut

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

// collectorGasp is how long a collector may go on with a dead disk, to show that
// it acks nothing on it.
const collectorGasp = 30 * time.Millisecond

// Journal runs a history of a collector whose journal is on a lossy disk. Its
// agents are this process's, on an honest one. An error is the rig's own.
func Journal(cfg Config, seed uint64) (_ Result, err error) {
	h, err := begin(cfg, seed)
	if err != nil {
		return Result{}, err
	}
	s := &site{sent: newAttempts()}
	defer func() { err = errors.Join(err, s.close()) }()
	for i := range 1 + h.rng.IntN(3) {
		if err := s.open(fmt.Sprintf("pump-%d", i+1), filepath.Join(h.at, fmt.Sprintf("agent-%d", i+1))); err != nil {
			return h.result, err
		}
	}
	lives := 1 + h.rng.IntN(maxLives)
	for n := 1; n <= lives && h.result.OK(); n++ {
		l := &life{ending: h.drawEnding(), trap: h.draw(journalEvents)}
		if h.rng.IntN(2) == 0 {
			l.gasp = collectorGasp
		}
		if err := h.journalLife(l, s, n, false); err != nil {
			return h.result, err
		}
	}
	if h.result.OK() {
		if err := h.journalLife(&life{ending: byStop}, s, lives+1, true); err != nil {
			return h.result, err
		}
	}
	for _, a := range s.agents {
		if !h.result.OK() {
			break
		}
		for _, l := range a.Status().Lanes {
			h.judgeLane(a.ID(), &l)
		}
	}
	if err := s.close(); err != nil {
		return h.result, err
	}
	return h.finish()
}

// journalLife runs one life of the collector. In the last one the agents are
// drained, and everything must be there.
func (h *history) journalLife(l *life, s *site, n int, last bool) error {
	if err := s.hurry(); err != nil {
		return err
	}
	defer s.end()
	opened, report := false, (*journal.Report)(nil)
	l.orders = orders{Role: "collector", Before: filepath.Join(h.at, "before.jsonl"), After: filepath.Join(h.at, "after.jsonl")}
	// What agents were told until now must be in the journal when it has been opened.
	told := s.sent.sent(true)
	idle := make(chan struct{})
	var drained sync.WaitGroup
	var drainErr error
	l.line = func(words []string) error {
		switch words[0] {
		case "open":
			opened = true
			h.judgeJournal(told, l.orders.Before, "after the cut")
		case "serving":
			s.serving(words[1])
			s.start(n)
			if last {
				drained.Go(func() {
					defer close(idle)
					if h.result.OK() {
						drainErr = s.drain()
					}
				})
			}
		case "audit":
			report = new(journal.Report)
			return json.Unmarshal([]byte(strings.Join(words[1:], " ")), report)
		case "closed":
		default:
			return errors.New("that is not a word of a collector's")
		}
		return nil
	}
	if last {
		l.now = idle
	}
	d, err := h.live(l)
	drained.Wait()
	s.end()
	s.serving("")
	if !opened {
		h.result.Counts.Opening++
	}
	if drainErr != nil {
		h.result.wrong("%v", drainErr)
	}
	if err != nil || report == nil {
		return err
	}
	if !report.OK {
		b, _ := json.MarshalIndent(report.Findings, "  ", " ")
		h.result.wrong("the audit: %s", b)
	}
	if d.failed == "" {
		verdict := h.judgeJournal(s.sent.sent(!last), l.orders.After, "at the end of the life")
		if last && verdict != nil {
			h.result.Counts.Histories++
			h.result.Counts.Messages = verdict.Tally
		}
	}
	return nil
}

// judgeJournal compares an export with what was sent.
func (h *history) judgeJournal(sent *oracle.Sent, path, when string) *oracle.Verdict {
	b, err := os.ReadFile(path)
	if err != nil {
		h.result.wrong("%s: %v", when, err)
		return nil
	}
	v, err := sent.Judge(oracle.Export(bytes.NewReader(b)))
	if err != nil {
		h.result.wrong("%s: %v", when, err)
		return nil
	}
	if !v.OK() {
		h.result.wrong("%s: %s", when, &v)
	}
	return &v
}
