package failedio

import (
	"slices"
	"syscall"
	"testing"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

// asked is what a disk asks in these tests, in this order.
var asked = []lossy.Op{
	{Kind: lossy.OpCreate, Path: "/fieldpost/lane-default/0000000001-0001.seg"},
	{Kind: lossy.OpWrite, Path: "/fieldpost/lane-default/0000000001-0001.seg"},
	{Kind: lossy.OpWrite, Path: "/fieldpost/lane-bulk/0000000002-0009.seg"},
	{Kind: lossy.OpSync, Path: "/fieldpost/lane-default/0000000001-0001.seg"},
	{Kind: lossy.OpWrite, Path: "/fieldpost/lane-default/0000000001-0001.seg"},
	{Kind: lossy.OpUnlink, Path: "/fieldpost/lane-default/0000000001-0001.seg"},
	{Kind: lossy.OpStat, Path: "/fieldpost/lane-default"},
}

func TestTheOperationThatIsMeantFails(t *testing.T) {
	const segment = "lane/N-N.seg"
	second := Target{place{Agent, Sending, lossy.OpWrite, segment}, 2}
	for name, c := range map[string]struct {
		plan Plan
		want []int // indexes of those that fail
	}{
		"once":                  {Plan{second, Mode{Errno: syscall.EIO}}, []int{2}},
		"for a while":           {Plan{second, Mode{Errno: syscall.EIO, Lasting: true}}, []int{2, 4}},
		"a full disk":           {Plan{Target{place{Agent, Sending, lossy.OpCreate, segment}, 1}, Mode{Errno: syscall.ENOSPC, Lasting: true}}, []int{0, 1, 2, 4}},
		"a read-only disk":      {Plan{second, Mode{Errno: syscall.EROFS, Lasting: true}}, []int{2, 3, 4, 5}},
		"the disk is gone":      {Plan{second, Mode{Errno: syscall.EIO, Lasting: true, All: true}}, []int{2, 3, 4, 5, 6}},
		"a later one":           {Plan{Target{second.place, 4}, Mode{Errno: syscall.EIO}}, nil},
		"of the other side":     {Plan{Target{place{Collector, Sending, lossy.OpWrite, segment}, 2}, Mode{Errno: syscall.EIO}}, nil},
		"of another phase":      {Plan{Target{place{Agent, Storing, lossy.OpWrite, segment}, 2}, Mode{Errno: syscall.EIO}}, nil},
		"of another kind":       {Plan{Target{place{Agent, Sending, lossy.OpUnlink, segment}, 1}, Mode{Errno: syscall.EIO}}, []int{5}},
		"of another class":      {Plan{Target{place{Agent, Sending, lossy.OpStat, "lane"}, 1}, Mode{Errno: syscall.EIO}}, []int{6}},
		"done in spite of that": {Plan{second, Mode{Errno: syscall.EIO, Done: true}}, []int{2}},
	} {
		i := newInjector(Agent, &c.plan)
		i.begin(Sending)
		var got []int
		for n, op := range asked {
			if f := i.ask(op); f.Errno != 0 {
				if f.Errno != c.plan.Errno || f.Done != c.plan.Done {
					t.Errorf("%s: %v", name, f)
				}
				got = append(got, n)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v fail, want %v", name, got, c.want)
		}
		if closed(i.struck) != (len(c.want) > 0) {
			t.Errorf("%s: struck %t", name, closed(i.struck))
		}
	}
}

func TestAFaultThatIsLiftedIsOver(t *testing.T) {
	plan := Plan{Target{place{Agent, Sending, lossy.OpWrite, "lane/N-N.seg"}, 1}, Mode{Errno: syscall.EIO, Lasting: true}}
	i := newInjector(Agent, &plan)
	i.begin(Sending)
	i.lift() // nothing has come: it still will
	for n := range 2 {
		if i.ask(asked[1]).Errno != syscall.EIO {
			t.Errorf("write %d has not failed", n+1)
		}
	}
	i.begin(Quiet)
	if i.ask(asked[1]).Errno != syscall.EIO {
		t.Error("a fault that lasts ends with its phase")
	}
	i.lift()
	if i.ask(asked[1]).Errno != 0 {
		t.Error("a write has failed after the fault was lifted")
	}
}

// TestPlansCoverEachOperation: each ordinal and each mode once; of many, the first
// and the last.
func TestPlansCoverEachOperation(t *testing.T) {
	writes, stats := place{Agent, Sending, lossy.OpWrite, "x"}, place{Collector, Opening, lossy.OpStat, "y"}
	c := Counts{writes: 9, stats: 1}
	if n, want := len(c.Plans(0)), 9*len(modes(lossy.OpWrite))+len(modes(lossy.OpStat)); n != want {
		t.Errorf("%d plans, want %d", n, want)
	}
	var ordinals []int
	for _, p := range c.Plans(3) {
		if p.place == writes && !slices.Contains(ordinals, p.N) {
			ordinals = append(ordinals, p.N)
		}
	}
	if !slices.Equal(ordinals, []int{1, 5, 9}) {
		t.Errorf("writes %v of 9", ordinals)
	}
	if n := len(c.Plans(1)); n != len(modes(lossy.OpWrite))+len(modes(lossy.OpStat)) {
		t.Errorf("one of each: %d plans", n)
	}
}

func TestClassesHaveNoNumbers(t *testing.T) {
	for path, want := range map[string]string{
		"/": "the folder", "/fieldpost": "the folder", "/fieldpost/lane-bulk": "lane", "/fieldpost/agent.json": "agent.json",
		"/fieldpost/lane-default/new-0000000003-00017.seg.tmp": "lane/new-N-N.seg.tmp", "/fieldpost/0000000003.journal": "N.journal",
	} {
		if got := class(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}
