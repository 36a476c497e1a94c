package queue

import (
	"fmt"

	"github.com/fieldpost/fieldpost/internal/sabotage"
	"github.com/fieldpost/fieldpost/wire"
)

// verdict is what a welcome makes of a stream (rules 1 and 2).
type verdict struct {
	epoch     wire.Epoch // the stream goes on under
	relabel   wire.Seq   // everything from here on gets a new incarnation, 0: nothing
	why       string     // of the relabelling
	forked    bool       // epoch is a new one
	adopted   bool       // epoch is the store's, another than before
	behind    bool       // the store lost what it, or a store before it, had acked
	end       wire.Seq   // the common point after all that: acked up to here, sent from the next
	unchecked bool       // the common point's fingerprint is not known on this side
}

// checkMatch refuses an answer that no store gives which keeps the rules.
func checkMatch(said wire.StreamState, m wire.Match) error {
	switch {
	case !m.Found:
		return nil
	case m.Epoch.IsZero():
		return fmt.Errorf("lane %s: the welcome names no epoch", said.Lane)
	case m.Common > m.W || m.Common > said.Last():
		return fmt.Errorf("lane %s: the welcome's common point is %d, but its W is %d and the lane's last number %d", said.Lane, m.Common, m.W, said.Last())
	}
	return nil
}

// decide is rules 1 and 2 for one stream: what the store's answer m to said means
// for a lane in state s. fingerprint returns the fingerprint of a number, false
// if the lane does not know it; fresh returns a new epoch.
//
// Two signs show that memory went back, as a snapshot of a running machine does:
// the record at the common point is another one, or the store has numbers of the
// live incarnation that the lane has not written. Then the incarnations do not
// tell the two lines apart any more, and everything that is not known to be
// common gets a new one. If the common point is then not the store's W, the lines
// have parted, and this one goes on under a new epoch.
func decide(s *state, said wire.StreamState, m wire.Match, fingerprint func(wire.Seq) (wire.Fingerprint, bool), fresh func() wire.Epoch) verdict {
	v := verdict{epoch: s.epoch}
	known := false
	if m.Found && m.Common > 0 {
		var own wire.Fingerprint
		own, known = fingerprint(m.Common)
		v.unchecked = !known || m.FPCommon == 0
		if known && m.FPCommon != 0 && own != m.FPCommon {
			v.relabel, v.why = said.Acked+1, fmt.Sprintf("number %d has fingerprint %s here and %s at the store", m.Common, own, m.FPCommon)
			if said.Acked > 0 { // only the last ack is known to be common, if that
				own, _ := fingerprint(said.Acked)
				if v.relabel > m.Common || own != m.FPAcked {
					v.relabel = s.history.Start(m.Common)
				}
			}
		}
	}
	if v.relabel == 0 && m.Beyond {
		v.relabel, v.why = m.Common+1, "the store has numbers of this opening that this folder has not"
	}
	common := m.Common
	if v.relabel > 0 {
		common = min(common, v.relabel-1)
	}
	v.end = common
	switch {
	case !m.Found: // a stream that the store has never seen keeps its epoch
	case common == m.W:
		v.adopted, v.epoch = m.Epoch != s.epoch, m.Epoch
		v.behind = s.acked() > m.W
	case sabotage.NoFork:
		v.end = min(m.W, s.next-1)
	default:
		v.forked, v.epoch = true, fresh()
	}
	return v
}
