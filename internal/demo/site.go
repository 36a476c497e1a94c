package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/internal/faultnet"
)

// site is the demo's world: the folders, the processes and the links.
type site struct {
	dir  string
	file string
	died func(error) // a process ended by itself

	collector *process
	stations  []*station
}

// station is one agent with its link and what is known of it.
type station struct {
	id   string
	link *faultnet.Proxy
	proc *process // nil: not running
	runs int

	mu   sync.Mutex
	seen figures
	past []sample // of accepted, for the rate
}

type sample struct {
	at       time.Time
	accepted uint64
}

// newSite makes the links of n agents; nothing runs yet.
func newSite(dir, file string, n int, died func(error)) (*site, error) {
	s := &site{dir: dir, file: file, died: died}
	for i := range n {
		// The target is set when the collector runs.
		link, err := faultnet.NewProxy("127.0.0.1:0", uint64(i))
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.stations = append(s.stations, &station{id: fmt.Sprintf("agent-%d", i+1), link: link, seen: figures{State: "starting"}})
	}
	return s, nil
}

func (s *site) collectorDir() string { return filepath.Join(s.dir, "collector") }

// notes returns the oracle's log files of a station, in the order of its runs.
func (s *site) notes(st *station) (paths []string) {
	for run := range st.runs {
		paths = append(paths, filepath.Join(s.dir, fmt.Sprintf("%s.run-%d.sent", st.id, run+1)))
	}
	return paths
}

// startCollector starts the collector and leads all links to it.
func (s *site) startCollector(ctx context.Context) (err error) {
	addr := make(chan string, 1)
	s.collector, err = start(s.dir, "collector", func(line string) {
		select {
		case addr <- line:
		default:
		}
	}, s.died, "demo-collector", "--dir", s.collectorDir())
	if err != nil {
		return err
	}
	select {
	case a := <-addr:
		for _, st := range s.stations {
			st.link.SetTarget(a)
		}
		return nil
	case <-s.collector.ended:
		return fmt.Errorf("the collector did not start; its log is %s", s.collector.log)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// startAgent starts the station's agent on its folder, for the first time or
// after a kill.
func (s *site) startAgent(ctx context.Context, st *station) (err error) {
	st.runs++
	token := filepath.Join(s.dir, st.id+".token")
	if st.runs == 1 {
		if err := s.writeToken(ctx, st.id, token); err != nil {
			return err
		}
	}
	notes := s.notes(st)
	st.proc, err = start(s.dir, st.id, st.hear, s.died, "demo-agent",
		"--id", st.id, "--dir", filepath.Join(s.dir, st.id), "--collector", st.link.Addr(), "--token-file", token,
		"--notes", notes[len(notes)-1], "--run", strconv.Itoa(st.runs), "--file", s.file)
	return err
}

// writeToken makes a token for an agent, as "collector token create" does.
func (s *site) writeToken(ctx context.Context, id, path string) error {
	r, err := enroll.Open(enroll.Options{Dir: s.collectorDir()})
	if err != nil {
		return err
	}
	t, _, err := r.CreateToken(ctx, enroll.TokenOptions{ID: id})
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(t.Reveal()), 0o600)
}

func (s *site) killAgent(st *station) {
	st.proc.kill()
	st.proc = nil
	st.mu.Lock()
	defer st.mu.Unlock()
	st.seen.State = "killed"
	st.past = nil
}

func (s *site) killCollector() {
	s.collector.kill()
	s.collector = nil
}

// finish lets the agents deliver everything and then stops the collector.
func (s *site) finish(ctx context.Context) error {
	errs := make([]error, len(s.stations))
	var all sync.WaitGroup
	for i, st := range s.stations {
		all.Go(func() {
			if errs[i] = st.proc.stop(ctx); errs[i] == nil {
				st.mu.Lock()
				st.seen.State, st.past = "done", nil
				st.mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, st := range s.stations {
		st.proc = nil
	}
	errs = append(errs, s.collector.stop(ctx))
	s.collector = nil
	return errors.Join(errs...)
}

// close ends whatever still runs.
func (s *site) close() error {
	var errs []error
	for _, st := range s.stations {
		if st.proc != nil {
			st.proc.kill()
		}
		errs = append(errs, st.link.Close())
	}
	if s.collector != nil {
		s.collector.kill()
	}
	return errors.Join(errs...)
}

// hear takes a line of the agent's output.
func (st *station) hear(line string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if json.Unmarshal([]byte(line), &st.seen) != nil {
		return
	}
	st.past = append(st.past, sample{time.Now(), st.seen.Accepted})
	for len(st.past) > 2 && time.Since(st.past[0].at) > 2*time.Second {
		st.past = st.past[1:]
	}
}

// look returns the station's figures and how many messages it accepts a second.
func (st *station) look() (figures, float64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.past) < 2 {
		return st.seen, 0
	}
	a, b := st.past[0], st.past[len(st.past)-1]
	return st.seen, float64(b.accepted-a.accepted) / b.at.Sub(a.at).Seconds()
}

// makeDir returns the folder of a run, and what to do with it at the end.
func makeDir(o *Options) (dir string, remove func(), err error) {
	if o.Dir == "" {
		if dir, err = os.MkdirTemp("", "fieldpost-demo-"); err != nil {
			return "", nil, err
		}
		return dir, func() { os.RemoveAll(dir) }, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", nil, err
	}
	if list, err := os.ReadDir(o.Dir); err != nil {
		return "", nil, err
	} else if len(list) > 0 {
		return "", nil, fmt.Errorf("--dir %s: not empty; the demo wants a fresh folder", o.Dir)
	}
	dir, err = filepath.Abs(o.Dir)
	return dir, nil, err
}
