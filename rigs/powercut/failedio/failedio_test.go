package failedio

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	faults   = flag.Int("faults", 120, "lives with a fault, drawn from all by the seed; 0: all of them")
	most     = flag.Int("most", 0, "of the operations of one kind on one kind of file in a phase, take only so many; 0: all")
	baseSeed = flag.Uint64("seed", uint64(time.Now().UnixNano()/1e3), "decides what is drawn, and of each life what is left to chance")
	workers  = flag.Int("workers", 12, "lives at a time; most of the time they wait")
	only     = flag.String("only", "", "take plans that match this expression")
	show     = flag.Bool("show", false, "log every life")
)

func TestMain(m *testing.M) {
	Child()
	goleak.VerifyTestMain(m)
}

// site returns a folder for mounts, or skips the test where the machine cannot
// mount anything. In CI it must.
func site(t *testing.T) string {
	t.Helper()
	_, err := os.Stat("/dev/fuse")
	if err == nil && os.Getuid() == 0 {
		return t.TempDir()
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must let operations fail, and this machine lacks /dev/fuse or root: %v, uid %d", err, os.Getuid())
	}
	t.Skip("this machine lacks /dev/fuse or root, who may mount file systems")
	return ""
}

// dry runs a life without a fault and returns its operations.
func dry(t *testing.T, site string) Counts {
	t.Helper()
	r, err := Run(site, nil, *baseSeed)
	if err != nil || !r.OK() {
		t.Fatalf("a life without a fault: %v\n%s", err, &r)
	}
	n := map[Side]int{}
	for p, c := range r.Counts {
		n[p.Side] += c
	}
	t.Logf("a life has %d operations on the agent's disk and %d on the collector's, at %d places, and takes %s",
		n[Agent], n[Collector], len(r.Counts), r.Took.Round(time.Millisecond))
	return r.Counts
}

// draw returns n plans: each kind of operation and each mode is as likely as any
// other, however often it occurs.
func draw(list []Plan, n int, rng *rand.Rand) []Plan {
	groups := map[string][]Plan{}
	for _, p := range list {
		name := fmt.Sprint(p.Side, p.Kind, p.Mode)
		groups[name] = append(groups[name], p)
	}
	var names []string
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var drawn []Plan
	for i := 0; len(drawn) < n && len(names) > 0; i++ {
		name := names[i%len(names)]
		g := groups[name]
		if len(g) == 0 {
			if i > n*len(names) {
				break
			}
			continue
		}
		k := rng.IntN(len(g))
		drawn = append(drawn, g[k])
		groups[name] = slices.Delete(g, k, k+1)
	}
	return drawn
}

// TestFailedIO lets operations fail, one a life.
func TestFailedIO(t *testing.T) {
	site := site(t)
	list := dry(t, site).Plans(*most)
	if *only != "" {
		pattern := regexp.MustCompile(*only)
		list = slices.DeleteFunc(list, func(p Plan) bool { return !pattern.MatchString(p.String()) })
	}
	all := len(list)
	rng := rand.New(rand.NewPCG(*baseSeed, 1))
	if *faults > 0 && *faults < all {
		list = draw(list, *faults, rng)
	}
	t.Logf("seed %d: %d of %d faults; replay one with -run '^TestFailedIO$' -faults 0 -only '^EXPRESSION$'", *baseSeed, len(list), all)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	run(t, site, list)
}

// A disk that answers no reads for a second and a half is not damaged: whatever was to
// be read then, a lane to be opened or a segment to be deleted, nothing goes to quarantine.
func TestADiskThatDoesNotReadForAWhile(t *testing.T) {
	site := site(t)
	drains := regexp.MustCompile(`^agent, (reopening|recovering|storing again|draining late): read .*seg: EIO for a while$`)
	list := slices.DeleteFunc(dry(t, site).Plans(6), func(p Plan) bool { return !drains.MatchString(p.String()) })
	for i := range list {
		list[i].For = 1500 * time.Millisecond
	}
	run(t, site, list)
}

// run runs lives, several at a time, and counts.
func run(t *testing.T, site string, list []Plan) (bad int) {
	t.Helper()
	begin := time.Now()
	var total summary
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := 0
	for range *workers {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for next < len(list) && bad < 20 {
				plan := list[next]
				seed := *baseSeed + uint64(next)
				next++
				mu.Unlock()
				r, err := Run(site, &plan, seed)
				mu.Lock()
				total.add(&r)
				if err != nil {
					t.Errorf("%s: the rig itself failed: %v", plan, err)
					bad++
				}
				if !r.OK() {
					t.Error(&r)
					bad++
				}
				if *show {
					t.Logf("%s: %d operations failed, %d messages refused, %d uncertain, in %s: %q", plan, r.Failed, r.Refused, r.Uncertain, r.Took.Round(time.Millisecond), r.Errors)
				}
				if total.lives%500 == 0 {
					t.Logf("%d lives after %s", total.lives, time.Since(begin).Round(time.Second))
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%s\n%.0f lives a minute", &total, float64(total.lives)/time.Since(begin).Minutes())
	return bad
}

// summary counts lives.
type summary struct {
	lives, wrong                 int
	rows                         map[string]*row
	accepted, refused, uncertain int
	survived                     int
	errors                       map[string]int
}

type row struct{ lives, struck, failed int }

var variable = regexp.MustCompile(`/tmp/[^ :]*|[0-9][0-9.:]*`)

func (s *summary) add(r *Result) {
	if s.rows == nil {
		s.rows, s.errors = map[string]*row{}, map[string]int{}
	}
	s.lives++
	if !r.OK() {
		s.wrong++
	}
	name := fmt.Sprintf("%-9s %-16s %s", r.Plan.Side, r.Plan.Kind, r.Plan.Mode)
	if s.rows[name] == nil {
		s.rows[name] = new(row)
	}
	s.rows[name].lives++
	if r.Struck {
		s.rows[name].struck++
	}
	s.rows[name].failed += r.Failed
	s.accepted += r.Messages.Accepted
	s.refused += r.Refused
	s.uncertain += r.Messages.Uncertain
	s.survived += r.Messages.Survived
	seen := map[string]bool{}
	for _, e := range r.Errors {
		if e = variable.ReplaceAllString(e, "N"); !seen[e] {
			seen[e] = true
			s.errors[e]++
		}
	}
}

// String returns all of it, a line for each kind and mode, and the errors that the
// product gave, the most frequent first.
func (s *summary) String() string {
	var b strings.Builder
	struck, failed := 0, 0
	for _, r := range s.rows {
		struck += r.struck
		failed += r.failed
	}
	fmt.Fprintf(&b, "%d lives, in %d the fault came, %d operations failed; %d lives wrong; %d messages accepted, %d refused, %d uncertain (%d of them stored)\n",
		s.lives, struck, failed, s.wrong, s.accepted, s.refused, s.uncertain, s.survived)
	var names []string
	for name := range s.rows {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r := s.rows[name]
		fmt.Fprintf(&b, "  %-48s %5d lives, came in %5d, %6d operations\n", name, r.lives, r.struck, r.failed)
	}
	var texts []string
	for text := range s.errors {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(x, y string) int {
		return cmp.Or(cmp.Compare(s.errors[y], s.errors[x]), strings.Compare(x, y))
	})
	fmt.Fprintf(&b, "what users were told, in how many lives:\n")
	for i, text := range texts {
		if i == 40 {
			fmt.Fprintf(&b, "  and %d other texts\n", len(texts)-i)
			break
		}
		fmt.Fprintf(&b, "  %4d %.300s\n", s.errors[text], text)
	}
	return b.String()
}
