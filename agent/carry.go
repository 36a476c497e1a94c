package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fieldpost/fieldpost/internal/carry"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// What carrying can return, besides the errors of Send.
var (
	// ErrNothing: there is nothing to carry: every message is acked.
	ErrNothing = errors.New("nothing to carry: the store has acked everything")

	// ErrReceipt: the receipt is not for this agent's folder as it is, or not of a
	// store that it obeys. Nothing was changed.
	ErrReceipt = errors.New("the receipt is not for this folder")

	// ErrBadFile: it is no receipt, or it is damaged.
	ErrBadFile = errors.New("the file cannot be used")
)

// CarryOptions says what goes into a carry file. The zero value is good.
type CarryOptions struct {
	Lane string // only this lane; "": all

	// All takes everything that the folder still holds, not only what no store has
	// acked: for a store that was set back, or that takes another one's place.
	All bool
}

// Carried says what a carry file holds.
type Carried struct {
	File    string `json:"file"` // its id
	Streams int    `json:"streams"`
	Numbers uint64 `json:"numbers"` // messages, and numbers that were dropped
	Bytes   int64  `json:"bytes"`
}

// Carry writes what no store has acked to w, as a file that "collector import"
// takes: for a site without a link. Nothing is freed by it; the receipt of the
// import does that (see Settle), or a link. It may be called at any time, beside a
// link and more than once: the import takes every message once. What is accepted
// after the call has begun is not in it. An agent that has a certificate signs it;
// without one the collector's operator has to say that he believes the file.
//
// After an error what was written is not to be used; a file without its end is
// refused. The errors are ErrNothing, ErrUnknownLane, ErrClosed, ctx's and w's,
// and that of a disk that cannot be read now.
func (a *Agent) Carry(ctx context.Context, w io.Writer, o CarryOptions) (Carried, error) {
	if !a.accepting.Load() {
		return Carried{}, ErrClosed
	}
	names := a.set.Load().names
	if o.Lane != "" {
		if _, err := a.existing(o.Lane); err != nil {
			return Carried{}, err
		}
		names = []wire.Lane{wire.Lane(o.Lane)}
	}
	var list []*queue.Carried
	m := carry.Manifest{Agent: a.id, Created: time.Now().UTC(), Software: a.cfg.Software}
	for _, name := range names {
		q, err := a.ready(name)
		if err != nil {
			return Carried{}, err
		}
		streams, err := q.Carry(ctx, o.All)
		if err != nil {
			return Carried{}, fmt.Errorf("lane %s: %w", name, err)
		}
		for _, s := range streams {
			list, m.Streams = append(list, s), append(m.Streams, carriedStream(s))
		}
	}
	if len(list) == 0 {
		return Carried{}, ErrNothing
	}
	var sign carry.Signer
	if cert, err := a.signer(); err != nil {
		return Carried{}, err
	} else if cert != nil {
		m.Certificates, sign = cert.Certificate, func(m []byte) ([]byte, error) { return pki.SignMessage(cert, m) }
	}
	f, err := carry.NewWriter(w, m, sign)
	if err != nil {
		return Carried{}, err
	}
	for i, s := range list {
		err := s.Entries(ctx, func(e *wire.Entry) error { return f.Entry(i, e) })
		if err != nil {
			return Carried{}, err
		}
	}
	sum, err := f.Close()
	return Carried{File: sum.File.String(), Streams: len(list), Numbers: sum.Numbers, Bytes: sum.Bytes}, err
}

func carriedStream(c *queue.Carried) carry.Stream {
	s := carry.Stream{
		Lane: c.State.Lane, Epoch: c.State.Epoch, Next: c.State.Next, Start: c.Start, Oldest: c.Oldest, Before: c.Before,
		Store: c.Store, Doubt: c.Doubt, Boundaries: c.State.Boundaries,
	}
	for _, k := range c.Acks {
		s.Acked = append(s.Acked, carry.Ack(k))
	}
	return s
}

// proofs returns the credentials with which files are signed and verified, nil if
// links are plain TCP.
func (a *Agent) proofs() *credentials {
	if a.creds != nil || a.cfg.InsecurePlaintext {
		return a.creds
	}
	return newCredentials(a.id, a.cfg.Dir, a.cfg.TLS, a.cfg.Logger)
}

// signer returns the certificate that this agent signs with, nil if it has none yet.
func (a *Agent) signer() (*tls.Certificate, error) {
	c := a.proofs()
	if c == nil {
		return nil, nil
	}
	l, err := c.load()
	if errors.Is(err, transport.ErrNotEnrolled) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return l.Cert, nil
}

// believe verifies that a receipt is a collector's of this agent, if the agent has
// what it takes to know.
func (a *Agent) believe(p *carry.Proof, o SettleOptions) error {
	c := a.proofs()
	if c == nil {
		return nil
	}
	l, err := c.load()
	switch {
	case errors.Is(err, transport.ErrNotEnrolled):
		return nil // it knows no collector; one that is unsigned would be as good
	case err != nil:
		return err
	case !p.Signed() && o.Unsigned:
		return nil
	case !p.Signed():
		return fmt.Errorf("%w: it is not signed, so anybody can have written it; if you know where it comes from, say that it may be unsigned", ErrReceipt)
	}
	chain, err := pki.ParseDER(p.Certificates)
	var leaf *x509.Certificate
	if err == nil {
		leaf, err = pki.VerifyServer(chain, l.Roots, c.names(a.terms.Load().cfg.Collectors))
	}
	if err == nil {
		err = pki.VerifyMessage(leaf, p.Message, p.Signature)
	}
	if err != nil {
		return fmt.Errorf("%w: it is not signed by a collector that this agent trusts: %w", ErrReceipt, err)
	}
	return nil
}

// SettleOptions says what [Agent.Settle] takes. The zero value is good.
type SettleOptions struct {
	Unsigned bool // also a receipt that is not signed, though this agent could verify one
}

// Settled says what a receipt has settled of one stream.
type Settled struct {
	Lane     string     `json:"lane"`
	Epoch    wire.Epoch `json:"epoch"`              // of the stream at its export
	From     wire.Seq   `json:"from,omitempty"`     // the numbers that are acked by it,
	To       wire.Seq   `json:"to,omitempty"`       // 0: none, they were acked before
	Rejected wire.Seq   `json:"rejected,omitempty"` // a number that the store refuses for good: a dead letter now
	Error    string     `json:"error,omitempty"`    // why nothing was done for this stream
}

// Settle takes the receipt of a carry file's import. What the store has is acked,
// durably, and deleted as by a link's ack. A receipt may come late, twice and
// behind a newer one; it never takes an ack back. The streams of a receipt are
// settled one by one: the error is for those that were not, and the result names
// them.
//
// An agent that has a certificate wants a receipt that is signed by a collector which
// it would link to.
//
// The errors are ErrBadFile; ErrReceipt for another agent, another history (the
// folder was put back since the export, or is a copy), a store that the lane does
// not obey or a signature that is missing or not good; those of r; and those of Send.
func (a *Agent) Settle(ctx context.Context, r io.Reader, o SettleOptions) ([]Settled, error) {
	if !a.accepting.Load() {
		return nil, ErrClosed
	}
	receipt, proof, err := carry.ParseReceipt(r)
	switch {
	case errors.Is(err, carry.ErrForeign), errors.Is(err, carry.ErrVersion), errors.Is(err, carry.ErrDamaged):
		return nil, fmt.Errorf("%w: %w", ErrBadFile, err)
	case err != nil:
		return nil, err
	case receipt.Agent != a.id:
		return nil, fmt.Errorf("%w: it is for agent %s, this is %s", ErrReceipt, receipt.Agent, a.id)
	}
	if err := a.believe(&proof, o); err != nil {
		return nil, err
	}
	var errs []error
	list := make([]Settled, len(receipt.Streams))
	for i := range receipt.Streams {
		s := &receipt.Streams[i]
		if list[i], err = a.settle(ctx, &receipt, s); err != nil {
			errs = append(errs, err)
		}
	}
	return list, errors.Join(errs...)
}

func (a *Agent) settle(ctx context.Context, r *carry.Receipt, s *carry.Settled) (Settled, error) {
	out := Settled{Lane: string(s.Lane), Epoch: s.Epoch}
	q, err := a.ready(s.Lane)
	if errors.Is(err, ErrFull) { // it is here, and cannot be opened now
		out.Error = err.Error()
		return out, err
	}
	if q == nil {
		err := fmt.Errorf("%w: it speaks of lane %s, which is not here", ErrReceipt, s.Lane)
		out.Error = err.Error()
		return out, err
	}
	from, to, err := q.Settle(ctx, queue.Receipt{Store: r.Store, Replaced: r.Replaced, W: s.W, Incarnation: s.Incarnation, Fingerprint: s.Fingerprint, Rejected: (*queue.Refusal)(s.Rejected)})
	if to >= from {
		out.From, out.To = from, to
	}
	switch {
	case errors.Is(err, queue.ErrHistory), errors.Is(err, queue.ErrStore), errors.Is(err, queue.ErrSetBack):
		err = fmt.Errorf("%w: %w", ErrReceipt, err)
	case err == nil && s.Rejected != nil:
		out.Rejected = s.Rejected.Number
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out, err
}
