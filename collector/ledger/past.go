package ledger

import (
	"encoding/binary"

	"github.com/fieldpost/fieldpost/wire"
)

// appendPast appends the part of a snapshot that version 1 does not have: what
// operators have accepted, and the incidents.
func (a *Agent) appendPast(dst []byte) []byte {
	u := func(n uint64) { dst = binary.AppendUvarint(dst, n) }
	str := func(s string) { u(uint64(len(s))); dst = append(dst, s...) }

	u(uint64(len(a.closings)))
	for _, c := range a.closings {
		dst = appendTime(dst, c.Time)
		str(c.By)
		str(c.Reason)
		u(uint64(len(c.Ranges)))
		for _, r := range c.Ranges {
			dst = append(dst, byte(r.Claim))
			str(string(r.Lane))
			dst = append(dst, r.Epoch.ID[:]...)
			dst = append(dst, r.Incarnation.ID[:]...)
			u(uint64(r.From))
			u(uint64(r.To))
		}
	}
	u(uint64(len(a.fenced)))
	for _, i := range a.fenced {
		dst = append(dst, i.ID[:]...)
	}
	u(a.noted)
	u(uint64(len(a.incidents)))
	for i := range a.incidents {
		n := &a.incidents[i]
		dst = append(dst, byte(n.Kind))
		dst = appendTime(dst, n.First)
		dst = appendTime(dst, n.Last)
		u(n.Count)
		str(string(n.Lane))
		dst = append(dst, n.Epoch.ID[:]...)
		dst = append(dst, n.Origin.ID[:]...)
		u(uint64(n.From))
		u(uint64(n.To))
		str(n.Detail)
	}
	return dst
}

// appendForgotten appends the part of a snapshot that version 2 does not have.
func (a *Agent) appendForgotten(dst []byte) []byte {
	f := a.forgotten
	if f == nil {
		return append(dst, 0)
	}
	dst = appendTime(append(dst, 1), f.Time)
	for _, s := range []string{f.By, f.Reason} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, f.GivenUp), f.Record)
}

// past reads what appendPast wrote.
func (d *decoder) past(a *Agent) {
	for range d.count("closings", 11) {
		c := Closing{Time: d.time(), By: d.string("by"), Reason: d.string("reason")}
		for range d.count("accepted ranges", 36) {
			r := Accepted{Claim: Claim(d.byte()), Lane: wire.Lane(d.string("lane")), Epoch: wire.Epoch{ID: d.id()}, Incarnation: wire.Incarnation{ID: d.id()},
				From: wire.Seq(d.uint("first")), To: wire.Seq(d.uint("last"))}
			if d.err == nil && !r.OK() {
				d.fail("accepted range of %d to %d, claim %d", r.From, r.To, r.Claim)
			}
			c.Ranges = append(c.Ranges, r)
			if d.err != nil {
				return
			}
		}
		a.closings = append(a.closings, c)
	}
	for range d.count("fenced instances", 16) {
		a.fenced = append(a.fenced, wire.Instance{ID: d.id()})
	}
	a.noted = d.uint("incidents in all")
	for range d.count("incidents", 54) {
		n := Incident{Kind: IncidentKind(d.byte()), First: d.time(), Last: d.time(), Count: d.uint("repetitions"), Lane: wire.Lane(d.string("lane")),
			Epoch: wire.Epoch{ID: d.id()}, Origin: wire.Epoch{ID: d.id()}, From: wire.Seq(d.uint("first")), To: wire.Seq(d.uint("last")), Detail: d.string("detail")}
		if d.err == nil && incidentNames[n.Kind] == "" {
			d.fail("incident of kind %d", n.Kind)
		}
		if d.err != nil {
			return
		}
		a.incidents = append(a.incidents, n)
	}
}
