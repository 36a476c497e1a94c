package injuries

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// fate is what became of the messages of a life.
type fate struct {
	accepted, stored, policy  int // messages: ever accepted; in the store; dropped by a policy or refused by the store
	corrupt, missing, untold  int // with a tombstone for damage; without any
	unexplained               int // of the untold, those that the store's ledger shouts about
	intact, recovered         int // batches that were whole and not yet delivered; and of them those that were delivered
	byKey, byCursor, rivalsOf int // what bbolt had of those rivalsOf in files that were injured
	spare                     int // of the others, those that were whole only in a page that was not in use, of a file that the lane went on in
	died, hung                int // of bbolt's processes
	slowest                   time.Duration
	wounds                    []string
	quarantined               int
	refused                   int // lives in which nothing but another's files was left
}

// settled is what the store says of a number.
type settled struct {
	body   string
	reason wire.Reason
}

// ledgerOf reads all that the store has. A message that was not put, or is stored
// twice or under another number, is wrong.
func (l *life) ledgerOf() (map[place]settled, error) {
	found := map[place]settled{}
	seen := map[string]place{}
	for _, s := range l.link.store.Entries() {
		e := s.Entry
		if e.IsTombstone() {
			for n := e.From; n <= e.To && n-e.From < 1_000_000; n++ {
				found[place{e.Incarnation, n}] = settled{reason: e.Reason}
			}
			continue
		}
		p, err := wire.ParseBatch(e.Batch)
		if err != nil {
			return nil, &wrong{fmt.Sprintf("stored %d to %d: %v", e.From, e.To, err)}
		}
		for r, err := range p.Records() {
			if err != nil {
				return nil, &wrong{fmt.Sprintf("stored %d to %d: %v", e.From, e.To, err)}
			}
			if r.Seq < e.From || r.Seq > e.To {
				continue
			}
			m, err := r.Record.Message()
			if err != nil {
				return nil, &wrong{fmt.Sprintf("stored number %d: %v", r.Seq, err)}
			}
			body, here := string(m.Body), place{e.Incarnation, r.Seq}
			put, ok := l.at[body]
			switch {
			case !ok && !l.maybe[body]:
				return nil, &wrong{fmt.Sprintf("number %d is stored as %.60q, which was not accepted", r.Seq, body)}
			case ok && put != here:
				return nil, &wrong{fmt.Sprintf("%.40q is stored as number %d of %s, it was put as %d of %s", body, r.Seq, e.Incarnation, put.n, put.inc)}
			}
			if other, twice := seen[body]; twice {
				return nil, &wrong{fmt.Sprintf("%.40q is stored twice, as %d and %d", body, other.n, r.Seq)}
			}
			seen[body] = here
			found[here] = settled{body: body}
		}
	}
	return found, nil
}

// judge compares what the store has with what was accepted. whole are the places
// that had to be delivered, hurtNewest says that what a newest segment alone knew
// may be gone.
func (l *life) judge(f *fate, whole map[place]bool, hurtNewest bool) error {
	has, err := l.ledgerOf()
	if err != nil {
		return err
	}
	f.accepted, f.stored, f.policy, f.corrupt, f.missing, f.untold = len(l.accepted), 0, 0, 0, 0, 0
	untold := map[place]bool{}
	for at, body := range l.accepted {
		s, ok := has[at]
		switch {
		case ok && s.body == body:
			f.stored++
		case ok && s.body != "":
			return &wrong{fmt.Sprintf("number %d is stored as %.40q, and was accepted as %.40q", at.n, s.body, body)}
		case ok && s.reason != wire.ReasonCorrupt && s.reason != wire.ReasonMissing:
			if s.reason >= wire.ReasonStoredIn {
				return &wrong{fmt.Sprintf("number %d of %s: the store was told %s", at.n, at.inc, s.reason)}
			}
			f.policy++
		case whole[at] && (l.clean || l.injuredOpen) && l.spare[at] && ok:
			f.corrupt++ // the lane went on in the file, and wrote over a page that was not in use
		case whole[at]:
			return &wrong{fmt.Sprintf("number %d of %s is whole on the disk, and the store has %v for it", at.n, at.inc, s.reason)}
		case ok && s.reason == wire.ReasonCorrupt:
			f.corrupt++
		case ok:
			f.missing++
		case !l.clean && l.lastPut[at], hurtNewest:
			f.untold++
			untold[at] = true
		default:
			return &wrong{fmt.Sprintf("number %d of %s was accepted; the store has neither it nor a tombstone", at.n, at.inc)}
		}
	}
	f.unexplained = 0
	for _, run := range l.link.store.Ledger(agentID).Unexplained() {
		for n := run.From; n <= run.To; n++ {
			if !untold[place{run.Incarnation, n}] && l.accepted[place{run.Incarnation, n}] != "" {
				return &wrong{fmt.Sprintf("number %d of %s: the store's ledger cannot explain it", n, run.Incarnation)}
			}
			f.unexplained++
		}
	}
	return nil
}

// counts compares the lane's own figures with the store's. They are equal (rule 8), but
// for drops of which a newest file that is gone knew alone: the lane knows how many there
// were, and may have sent some after all. Without the memo it does not know that either.
func (l *life) counts(st queue.Stats) error {
	a := l.link.store.Ledger(agentID)
	in := map[wire.Reason]uint64{}
	for _, s := range a.Streams() {
		for reason, n := range s.Tombstoned {
			in[reason] += n
		}
	}
	for reason := range wire.ReasonStoredIn {
		own, n := st.Dropped[reason], in[reason]
		if own < n && !l.hurtNewest() || own > n && !l.metNewest() {
			return &wrong{fmt.Sprintf("the lane counts %d numbers as %s, the store %d", own, reason, n)}
		}
	}
	for _, s := range a.Streams() {
		if n := a.Pending(s); n > 0 && a.Current(s) {
			return &wrong{fmt.Sprintf("%d numbers are announced and not settled, though all is drained: %s", n, describe(a))}
		}
	}
	return nil
}

func describe(a *ledger.Agent) string {
	var list []string
	for _, s := range a.Streams() {
		list = append(list, fmt.Sprintf("epoch %s: W %d, next %d", s.Epoch, s.W, s.Next))
	}
	return strings.Join(list, "; ")
}

// batchesOf returns the batches that lie whole in the lane's files and hold
// something that the store does not have.
func (l *life) batchesOf() (map[place][]place, error) {
	has, err := l.ledgerOf()
	if err != nil {
		return nil, err
	}
	found := map[place][]place{}
	for _, path := range all(l.dir) {
		for _, p := range wholeIn(path) {
			var own []place
			for rec, err := range p.Records() {
				if err != nil {
					break
				}
				at := place{p.Incarnation, rec.Seq}
				m, err := rec.Record.Message()
				if _, settled := has[at]; err == nil && !settled && l.accepted[at] == string(m.Body) {
					own = append(own, at)
				}
			}
			if len(own) > 0 {
				found[place{p.Incarnation, p.First}] = own
			}
		}
	}
	return found, nil
}

// recovered counts the batches of which all was delivered, or dropped by a policy.
// spare are those that a lane has written over, whose pages were not in use.
func (l *life) recovered(batches map[place][]place) (n, spare int, err error) {
	has, err := l.ledgerOf()
	for _, own := range batches {
		lost := slices.IndexFunc(own, func(at place) bool {
			s, ok := has[at]
			return !ok || s.reason == wire.ReasonCorrupt || s.reason == wire.ReasonMissing
		})
		switch {
		case lost < 0:
			n++
		case (l.clean || l.injuredOpen) && l.spare[own[lost]]:
			spare++
		}
	}
	return n, spare, err
}

// untilNow adds what was accepted since before to whole: that is on disk after the injury.
func (l *life) untilNow(whole map[place]bool, before map[place]string) {
	for at := range maps.Keys(l.accepted) {
		if before[at] == "" {
			whole[at] = true
		}
	}
}
