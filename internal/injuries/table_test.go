package injuries

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// tally is what many lives came to.
type tally struct {
	lives, several int
	sum            fate
	hurt           map[string]int
}

func (t *tally) add(f fate) {
	if t.hurt == nil {
		t.hurt = map[string]int{}
	}
	t.lives++
	if len(f.wounds) > 1 {
		t.several++
	}
	for _, w := range f.wounds {
		name, _, _ := strings.Cut(w, ":")
		t.hurt[name]++
	}
	s := &t.sum
	s.accepted += f.accepted
	s.stored += f.stored
	s.policy += f.policy
	s.corrupt += f.corrupt
	s.missing += f.missing
	s.untold += f.untold
	s.unexplained += f.unexplained
	s.intact += f.intact
	s.recovered += f.recovered
	s.spare += f.spare
	s.refused += f.refused
	s.byKey += f.byKey
	s.byCursor += f.byCursor
	s.rivalsOf += f.rivalsOf
	s.died += f.died
	s.hung += f.hung
	s.quarantined += f.quarantined
	s.slowest = max(s.slowest, f.slowest)
}

func (t *tally) String() string {
	s := &t.sum
	var b strings.Builder
	fmt.Fprintf(&b, "%d lives (%d with several injuries), %d messages accepted: %d stored, %d dropped by a policy or refused, %d corrupt, %d missing, %d untold (%d unexplained at the store)\n",
		t.lives, t.several, s.accepted, s.stored, s.policy, s.corrupt, s.missing, s.untold, s.unexplained)
	fmt.Fprintf(&b, "batches that were whole and not delivered yet: %d, delivered: %d (%d were whole only in a spare page, and written over); files in quarantine: %d; slowest %s\n", s.intact, s.recovered, s.spare, s.quarantined, s.slowest.Round(time.Millisecond))
	if s.rivalsOf > 0 {
		fmt.Fprintf(&b, "whole batches in injured files, read by bbolt: %d, by key %d, by its cursor %d; its process died %d times, hung %d times\n", s.rivalsOf, s.byKey, s.byCursor, s.died, s.hung)
	}
	fmt.Fprintf(&b, "lives in which nothing but another agent's or lane's files was left, which is refused: %d\n", s.refused)
	fmt.Fprintf(&b, "injuries: %v", t.hurt)
	return b.String()
}

// check looks whether the lives were what they are to be.
func (t *tally) check(tb testing.TB) {
	tb.Helper()
	for _, w := range wounds {
		if t.hurt[w.name] == 0 {
			tb.Errorf("no life had the injury %q", w.name)
		}
	}
	s := &t.sum
	for what, n := range map[string]int{"corrupt": s.corrupt, "missing": s.missing, "dropped by a policy": s.policy, "intact batches": s.intact, "quarantined": s.quarantined} {
		if n == 0 {
			tb.Errorf("no life had any %s", what)
		}
	}
	if s.recovered+s.spare != s.intact {
		tb.Errorf("%d of %d whole batches were delivered", s.recovered, s.intact)
	}
}
