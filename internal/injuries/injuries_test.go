package injuries

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/queue"
)

var (
	many    = flag.Int("injuries", 120, "play so many seeds")
	first   = flag.Uint64("first", 1, "the first of them")
	one     = flag.Uint64("seed", 0, "play this seed alone, and tell what happens")
	rivalry = flag.Int("rivals", 50, "have bbolt read what every n-th seed has injured at rest; 0: never")
)

func TestMain(m *testing.M) {
	if os.Getenv(rivalEnv) != "" {
		rival()
		os.Exit(0)
	}
	leak.Main(m)
}

// memory is a folder in memory where there is one: an injury is the same there,
// and a sync costs nothing.
func memory(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "fieldpost-injuries-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func TestInjuries(t *testing.T) {
	root := memory(t)
	if *one > 0 {
		l := newLife(filepath.Join(root, "one"), *one)
		f, err := l.play(true)
		for _, line := range append(l.heard, l.log.all...) {
			t.Log(line)
		}
		t.Logf("%+v", f)
		if err != nil {
			t.Errorf("seed %d: %v", *one, err)
		}
		return
	}
	var mu sync.Mutex
	var total tally
	seeds := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range seeds {
				l := newLife(filepath.Join(root, fmt.Sprint(seed)), seed)
				slow := time.AfterFunc(time.Minute, func() { t.Errorf("seed %d has lived for a minute", seed) })
				f, err := l.play(*rivalry > 0 && seed%uint64(*rivalry) == 0)
				slow.Stop()
				if err == nil {
					err = os.RemoveAll(l.root)
				} else {
					os.RemoveAll(l.root)
				}
				mu.Lock()
				total.add(f)
				mu.Unlock()
				if err != nil {
					t.Errorf("seed %d (go test ./internal/injuries -seed %d): %s: %v", seed, seed, strings.Join(f.wounds, "; "), err)
				}
			}
		})
	}
	for seed := *first; seed < *first+uint64(*many); seed++ {
		seeds <- seed
	}
	close(seeds)
	wg.Wait()
	t.Log(total.String())
	if !t.Failed() && *many >= 300 {
		total.check(t)
	}
}

// play plays a life with its injuries.
func (l *life) play(rivals bool) (f fate, err error) {
	if err := os.MkdirAll(l.root, 0o700); err != nil {
		return f, err
	}
	defer func() {
		for _, end := range l.heal {
			end()
		}
		if l.q != nil {
			err = errors.Join(err, ignoreState(l.q.Close()))
		}
	}()
	if err := l.live(); err != nil {
		return f, err
	}
	if l.r.IntN(3) == 0 {
		return f, l.whileOpen(&f)
	}
	return f, l.atRest(&f, rivals)
}

// ignoreState leaves out what Close says of a lane that the injury still holds up.
func ignoreState(err error) error {
	if errors.Is(err, queue.ErrUncertain) || errors.Is(err, queue.ErrFull) {
		return nil
	}
	return err
}

// injure does one to three injuries.
func (l *life) injure(f *fate, open bool) error {
	l.touched = map[string]bool{}
	for k, tries := 1+l.r.IntN(2)*l.r.IntN(3), 0; k > 0 && tries < 20; tries++ {
		w := wounds[l.r.IntN(len(wounds))]
		if open && !w.open || !open && !w.rest {
			continue
		}
		what, err := w.do(l)
		if errors.Is(err, os.ErrNotExist) { // the lane has just deleted it
			continue
		}
		if err != nil {
			return fmt.Errorf("injury %s: %w", w.name, err)
		}
		if what != "" {
			l.note("injury: %s: %s", w.name, what)
			f.wounds = append(f.wounds, w.name+": "+what)
			k--
		}
	}
	return nil
}

// hurtNewest reports whether an injury has met a newest segment of a stream, and the
// memo that tells what was in it.
func (l *life) hurtNewest() bool { return l.forgetful && l.metNewest() }

// metNewest reports whether an injury has met a newest segment of a stream.
func (l *life) metNewest() bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(l.touched)), func(p string) bool { return l.tails[p] })
}

// noteTails remembers which files are their streams' newest.
func (l *life) noteTails() {
	l.tails = map[string]bool{}
	for _, list := range segments(l.dir) {
		l.tails[list[len(list)-1]] = true
	}
}

// atRest injures a folder that no process has open.
func (l *life) atRest(f *fate, rivals bool) error {
	l.clean = l.r.IntN(2) == 0
	if l.clean {
		err := l.q.Close()
		l.q = nil
		if err != nil {
			return err
		}
	} else if err := l.kill(); err != nil {
		return err
	}
	l.note("at rest, closed in order: %t", l.clean)
	l.noteTails()
	l.log.take()
	if err := l.injure(f, false); err != nil {
		return err
	}
	whole := l.intact()
	batches, err := l.batchesOf()
	if err != nil {
		return err
	}
	f.intact = len(batches)
	if rivals {
		if err := l.rivals(f); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := l.open(); err != nil {
		if errors.Is(err, queue.ErrForeign) && l.allForeign() {
			f.refused, f.intact = 1, 0
			return nil
		}
		if l.forgetful && strings.Contains(err.Error(), "are one stream") { // whose the exchanged files were, nobody knows any more
			f.refused, f.intact = 1, 0
			return nil
		}
		return &wrong{"it cannot be opened: " + err.Error()}
	}
	return l.afterwards(f, whole, batches, start)
}

// allForeign reports whether a stream has nothing left but what another agent or
// lane wrote, and injured files that may be anybody's: such a folder is refused.
func (l *life) allForeign() bool {
	for _, list := range segments(l.dir) {
		if !slices.ContainsFunc(list, func(p string) bool { return !l.foreigners[p] && !l.touched[p] }) {
			return true
		}
	}
	return false
}

// afterwards is what must hold after an injury.
func (l *life) afterwards(f *fate, whole map[place]bool, batches map[place][]place, start time.Time) error {
	before := maps.Clone(l.accepted)
	if err := l.goesOn(start); err != nil {
		return err
	}
	if err := l.link.connect(l.q); err != nil {
		return err
	}
	if err := l.link.drain(l.q, 1e6); err != nil {
		return err
	}
	f.slowest = time.Since(start)
	if f.slowest > within {
		return &wrong{fmt.Sprintf("it took %s to go on", f.slowest)}
	}
	l.untilNow(whole, before)
	l.last(before)
	if err := l.judge(f, whole, l.hurtNewest()); err != nil {
		return err
	}
	var err error
	if f.recovered, f.spare, err = l.recovered(batches); err != nil {
		return err
	}
	st := l.q.Stats()
	f.quarantined = st.Quarantined
	if err := l.counts(st); err != nil {
		return err
	}
	// What was done to an open lane is partly met only by an opening; and a damaged
	// file may be put aside as late as it is not needed any more.
	if err := l.quiet(f, whole, !l.injuredOpen, nil); err != nil {
		return err
	}
	st = l.q.Stats()
	return l.quiet(f, whole, true, &st)
}

// last keeps of the last commit before the injury what is not of a later one.
func (l *life) last(before map[place]string) {
	maps.DeleteFunc(l.lastPut, func(at place, _ bool) bool { return before[at] == "" })
}

// goesOn puts new messages, which must be accepted in time.
func (l *life) goesOn(start time.Time) error {
	last := maps.Clone(l.lastPut)
	for {
		err := l.put()
		if err == nil {
			break
		}
		if time.Since(start) > within {
			return &wrong{fmt.Sprintf("it does not accept: %v", err)}
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.lastPut = last
	return nil
}

// quiet opens the lane once more: all that is put is delivered. silent: nothing is
// left to complain about; st: nothing was put into quarantine since.
func (l *life) quiet(f *fate, whole map[place]bool, silent bool, st *queue.Stats) error {
	err := l.q.Close()
	l.q = nil
	if err != nil {
		return &wrong{fmt.Sprintf("close: %v", err)}
	}
	l.log.take()
	before := maps.Clone(l.accepted)
	start := time.Now()
	if err := l.open(); err != nil {
		return &wrong{fmt.Sprintf("the second opening: %v", err)}
	}
	if err := l.goesOn(start); err != nil {
		return err
	}
	if err := l.link.connect(l.q); err != nil {
		return err
	}
	if err := l.link.drain(l.q, 1e6); err != nil {
		return err
	}
	if said := l.log.take(); len(said) > 0 && !l.mayWarn(said) && silent {
		return &wrong{"the second opening complains: " + strings.Join(said, "; ")}
	}
	if now := l.q.Stats(); st != nil && now.Quarantined != st.Quarantined {
		return &wrong{fmt.Sprintf("the second opening has %d files in quarantine, the first had %d", now.Quarantined, st.Quarantined)}
	}
	l.untilNow(whole, before)
	return l.judge(f, whole, l.hurtNewest())
}

// mayWarn reports whether all that was said is of an ordinary life.
func (l *life) mayWarn(said []string) bool {
	return !slices.ContainsFunc(said, func(s string) bool {
		return !strings.Contains(s, "the store refuses a message for good") && !strings.Contains(s, "what has piled up follows as a backlog") && !strings.Contains(s, "new messages wait behind the backlog")
	})
}

// whileOpen injures the files of a lane that is being written and drained.
func (l *life) whileOpen(f *fate) error {
	if l.r.IntN(2) == 0 { // what is to be read is not in memory
		if err := l.q.Close(); err != nil {
			return err
		}
		l.lastPut = map[place]bool{}
		if err := l.open(); err != nil {
			return err
		}
	}
	if err := l.link.connect(l.q); err != nil {
		return err
	}
	l.note("while open")
	l.injuredOpen = true
	l.clean = false
	l.noteTails()
	before := maps.Clone(l.accepted)
	if err := l.injure(f, true); err != nil {
		return err
	}
	whole := l.intact()
	batches, err := l.batchesOf()
	if err != nil {
		return err
	}
	f.intact = len(batches)
	for range l.r.IntN(8) { // it goes on as well as it can
		var w *wrong
		switch l.r.IntN(4) {
		case 0:
			err = l.link.connect(l.q)
		case 1:
			err = l.link.step(l.q)
		default:
			err = l.put()
		}
		if errors.As(err, &w) {
			return err
		}
	}
	for _, end := range l.heal {
		end()
	}
	l.heal = nil
	l.untilNow(whole, before)
	return l.afterwards(f, whole, batches, time.Now())
}
