package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// event is the content of a record: one of the ledger's events and whose it is.
type event interface {
	kind() byte
	append(dst []byte) []byte // the payload
	agent() wire.AgentID      // "" for none
	apply(a *ledger.Agent)
}

type granted struct {
	id wire.AgentID
	ledger.Granted
}

type resumed struct {
	id wire.AgentID
	ledger.Resumed
}

type announced struct {
	id      wire.AgentID
	session uint64
	list    []ledger.Announced
}

type parted struct {
	id      wire.AgentID
	session uint64
	ledger.Parting
}

// settled is an entry as it is recorded. Its fingerprint is not: whoever reads
// the record has the batch.
type settled struct {
	id       wire.AgentID
	session  uint64
	received time.Time
	stream   collector.Stream
	entry    wire.Entry
	event    ledger.Settled
}

type clean struct{}

// hole stands for records that were damaged, and which repair has given up.
type hole struct {
	skip int64
	at   time.Time
}

type closed struct {
	id wire.AgentID
	ledger.Closing
}

// forgotten is an agent that an operator has given up.
type forgotten struct {
	id wire.AgentID
	ledger.Forgotten

	// gone: nothing of the agent is kept any more, so nothing needs to be known of it
	// either. Record is that of the event with which it was given up.
	gone bool
}

func (e *granted) kind() byte   { return kindHello }
func (e *resumed) kind() byte   { return kindResume }
func (e *announced) kind() byte { return kindAnnounce }
func (e *settled) kind() byte   { return kindEntry }
func (e *parted) kind() byte    { return kindParting }
func (clean) kind() byte        { return kindClean }
func (e *closed) kind() byte    { return kindClose }
func (hole) kind() byte         { return kindHole }
func (e *forgotten) kind() byte { return kindForget }

func (e *granted) agent() wire.AgentID   { return e.id }
func (e *resumed) agent() wire.AgentID   { return e.id }
func (e *announced) agent() wire.AgentID { return e.id }
func (e *settled) agent() wire.AgentID   { return e.id }
func (e *parted) agent() wire.AgentID    { return e.id }
func (clean) agent() wire.AgentID        { return "" }
func (e *closed) agent() wire.AgentID    { return e.id }
func (hole) agent() wire.AgentID         { return "" }
func (e *forgotten) agent() wire.AgentID { return e.id }

func (e *granted) apply(a *ledger.Agent) { a.ApplyHello(e.Granted) }
func (e *resumed) apply(a *ledger.Agent) { a.ApplyResume(e.Resumed) }
func (e *settled) apply(a *ledger.Agent) { a.ApplyEntry(e.event) }
func (e *parted) apply(a *ledger.Agent)  { a.ApplyParting(e.Parting) }
func (clean) apply(*ledger.Agent)        {}
func (hole) apply(*ledger.Agent)         {}
func (e *closed) apply(a *ledger.Agent)  { a.ApplyClose(e.Closing) }

// apply is not called for an agent that is gone: whoever has the state takes it out.
func (e *forgotten) apply(a *ledger.Agent) { a.ApplyForget(e.Forgotten) }

func (e *announced) apply(a *ledger.Agent) {
	for _, n := range e.list {
		a.ApplyAnnounce(n)
	}
}

// summary of what the record settles.
func (e *settled) summary() summary {
	return summary{tagOf(e.id, e.stream), e.entry.From, e.entry.To}
}

func appendString[S ~string](dst []byte, s S) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendFlag(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func (e *granted) append(dst []byte) []byte {
	dst = appendString(dst, e.id)
	dst = appendTime(dst, e.Time)
	dst = binary.BigEndian.AppendUint64(dst, e.Session.Number)
	dst = append(dst, e.Session.Nonce[:]...)
	dst = append(dst, e.Instance.ID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Streams))
	for _, s := range []string{e.Software, e.Host.Name, e.Host.OS, e.Host.Arch, e.Address} {
		dst = appendString(dst, s)
	}
	if len(e.Behind) == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(e.Behind)))
	for _, b := range e.Behind {
		dst = appendString(dst, b.Lane)
		dst = append(dst, b.Epoch.ID[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(b.W))
		dst = binary.BigEndian.AppendUint64(dst, uint64(b.Acked))
	}
	return dst
}

func (e *resumed) append(dst []byte) []byte {
	dst = appendString(dst, e.id)
	dst = binary.BigEndian.AppendUint64(dst, e.Session)
	dst = appendString(dst, e.Lane)
	dst = append(dst, e.Epoch.ID[:]...)
	dst = appendFlag(dst, e.Created)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Base))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.FPBase))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Next))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Boundaries)))
	for _, b := range e.Boundaries {
		dst = append(dst, b.Incarnation.ID[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(b.First))
	}
	return dst
}

func (e *announced) append(dst []byte) []byte {
	dst = appendString(dst, e.id)
	dst = binary.BigEndian.AppendUint64(dst, e.session)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(e.list)))
	for _, n := range e.list {
		dst = appendString(dst, n.Lane)
		dst = append(dst, n.Epoch.ID[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n.Next))
	}
	return dst
}

func (e *settled) append(dst []byte) []byte {
	dst = appendString(dst, e.id)
	dst = binary.BigEndian.AppendUint64(dst, e.session)
	dst = appendTime(dst, e.received)
	dst = appendString(dst, e.stream.Lane)
	dst = append(dst, e.stream.Epoch.ID[:]...)
	dst = wire.AppendEntry(dst, &e.entry)
	return append(dst, e.entry.Batch...)
}

func (e *parted) append(dst []byte) []byte {
	dst = appendString(dst, e.id)
	dst = binary.BigEndian.AppendUint64(dst, e.session)
	dst = appendTime(dst, e.Time)
	dst = appendFlag(dst, e.Goodbye)
	return appendString(dst, e.Reason)
}

func (clean) append(dst []byte) []byte { return dst }

func (e hole) append(dst []byte) []byte {
	return appendTime(binary.BigEndian.AppendUint64(dst, uint64(e.skip)), e.at)
}

func (e *closed) append(dst []byte) []byte {
	dst = appendString(dst, e.id)
	dst = appendTime(dst, e.Time)
	dst = appendString(dst, e.By)
	dst = appendString(dst, e.Reason)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(e.Ranges)))
	for _, r := range e.Ranges {
		dst = append(dst, byte(r.Claim))
		dst = appendString(dst, r.Lane)
		dst = append(dst, r.Epoch.ID[:]...)
		dst = append(dst, r.Incarnation.ID[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.From))
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.To))
	}
	return dst
}

func (e *forgotten) append(dst []byte) []byte {
	dst = appendString(dst, e.id)
	dst = appendTime(dst, e.Time)
	dst = appendString(dst, e.By)
	dst = appendString(dst, e.Reason)
	dst = binary.BigEndian.AppendUint64(dst, e.Record)
	return appendFlag(dst, e.gone)
}

// parseEvent reads a record's payload. A batch in the result points into p.
func parseEvent(kind byte, p []byte) (event, error) {
	d := decoder{b: p}
	e := d.event(kind)
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%d bytes behind its end", len(d.b))
	}
	if d.err != nil {
		return nil, fmt.Errorf("record of kind %d: %w", kind, d.err)
	}
	return e, nil
}

func (d *decoder) event(kind byte) event {
	switch {
	case kind == kindClean:
		return clean{}
	case kind == kindHole && len(d.b) == 0:
		return hole{}
	case kind == kindHole:
		return hole{skip: int64(d.u64()), at: d.time()}
	}
	id, err := wire.ParseAgentID(d.string())
	if err != nil && d.err == nil {
		d.err = err
	}
	switch kind {
	case kindHello:
		e := &granted{id: id}
		e.Time = d.time()
		e.Session = wire.Session{Number: d.u64(), Nonce: d.id()}
		e.Instance = wire.Instance{ID: d.id()}
		e.Streams = int(binary.BigEndian.Uint32(d.take(4)) & 0xffffff)
		e.Software = d.string()
		e.Host = wire.Host{Name: d.string(), OS: d.string(), Arch: d.string()}
		e.Address = d.string()
		if len(d.b) > 0 {
			for range binary.BigEndian.Uint16(d.take(2)) {
				s := d.stream()
				e.Behind = append(e.Behind, ledger.Behind{Lane: s.Lane, Epoch: s.Epoch, W: d.seq(), Acked: d.seq()})
				if d.err != nil {
					break
				}
			}
		}
		return e
	case kindResume:
		return d.resumed(id)
	case kindAnnounce:
		e := &announced{id: id, session: d.u64()}
		for range binary.BigEndian.Uint16(d.take(2)) {
			s := d.stream()
			e.list = append(e.list, ledger.Announced{Lane: s.Lane, Epoch: s.Epoch, Next: d.seq()})
			if d.err != nil {
				break
			}
		}
		return e
	case kindEntry:
		return d.settled(id)
	case kindParting:
		e := &parted{id: id, session: d.u64()}
		e.Time = d.time()
		e.Goodbye = d.flag()
		e.Reason = d.string()
		return e
	case kindClose:
		return d.closed(id)
	case kindForget:
		return &forgotten{id, ledger.Forgotten{Time: d.time(), By: d.string(), Reason: d.string(), Record: d.u64()}, d.flag()}
	}
	d.err = errors.New("unknown kind")
	return nil
}

func (d *decoder) resumed(id wire.AgentID) event {
	e := &resumed{id: id}
	e.Session = d.u64()
	s := d.stream()
	e.Lane, e.Epoch = s.Lane, s.Epoch
	e.Created = d.flag()
	e.Base = d.seq()
	e.FPBase = wire.Fingerprint(d.u64())
	e.Next = d.seq()
	n := int(binary.BigEndian.Uint32(d.take(4)))
	if n > len(d.b)/24 {
		d.fail("%d boundaries declared, %d bytes left", n, len(d.b))
		n = 0
	}
	for range n {
		e.Boundaries = append(e.Boundaries, wire.Boundary{Incarnation: wire.Incarnation{ID: d.id()}, First: d.seq()})
	}
	if d.err == nil {
		d.err = e.Boundaries.Check()
	}
	if d.err == nil && e.Next <= e.Base {
		d.fail("base %d, next %d", e.Base, e.Next)
	}
	return e
}

func (d *decoder) closed(id wire.AgentID) event {
	e := &closed{id: id}
	e.Time, e.By, e.Reason = d.time(), d.string(), d.string()
	for range binary.BigEndian.Uint16(d.take(2)) {
		r := ledger.Accepted{Claim: ledger.Claim(d.take(1)[0])}
		lane, err := wire.ParseLane(d.string())
		if err != nil {
			d.fail("%w", err)
		}
		r.Lane, r.Epoch, r.Incarnation, r.From, r.To = lane, wire.Epoch{ID: d.id()}, wire.Incarnation{ID: d.id()}, d.seq(), d.seq()
		if d.err != nil {
			break
		}
		if !r.OK() {
			d.fail("accepted range of %d to %d, claim %d", r.From, r.To, r.Claim)
			break
		}
		e.Ranges = append(e.Ranges, r)
	}
	return e
}

func (d *decoder) settled(id wire.AgentID) event {
	e := d.entry(id)
	if d.err == nil {
		if _, err := e.entry.Check(); err != nil {
			d.fail("%w", err)
		}
	}
	return e
}

// entry reads an entry without a look at what its batch says.
func (d *decoder) entry(id wire.AgentID) *settled {
	e := &settled{id: id, session: d.u64(), received: d.time()}
	e.stream = d.stream()
	if d.err != nil {
		return e
	}
	entry, size, rest, err := wire.ParseEntry(d.b)
	if err == nil && size != len(rest) {
		err = fmt.Errorf("%d bytes of batch, %d declared", len(rest), size)
	}
	if err != nil {
		d.fail("%w", err)
		return e
	}
	if size > 0 {
		entry.Batch = rest
	}
	d.b = nil
	e.entry = entry
	return e
}

// summaryOf returns what a record settles, by its head alone.
func summaryOf(r *record) summary {
	if r.kind != kindEntry {
		return summary{}
	}
	d := decoder{b: r.payload}
	e := d.entry(wire.AgentID(d.string()))
	if d.err != nil {
		return summary{}
	}
	return e.summary()
}

// complete computes what the record does not hold. Session 0 is an import.
func (e *settled) complete() {
	e.event = ledger.Entry(e.received, e.stream.Lane, e.stream.Epoch, &e.entry)
	e.event.Carried = e.session == 0
}
