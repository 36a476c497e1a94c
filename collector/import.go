package collector

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
	"github.com/fieldpost/fieldpost/wire"
)

var (
	// ErrCarryFile is returned by ImportFile for what is no carry file, or one of
	// another version, or a damaged one.
	ErrCarryFile = errors.New("the carry file cannot be used")
	// ErrUnproven is returned by ImportFile for a file that is not signed, or not by the
	// agent whose messages it brings, or whose certificate does not count any more.
	ErrUnproven = errors.New("the carry file is not proven to be the agent's")
	// ErrOtherStore is returned by ImportFile for a file of an agent that belongs to
	// another store (rule 4).
	ErrOtherStore = errors.New("the carry file belongs to another store")
)

// ImportOptions says how a carry file is imported. The zero value is good.
type ImportOptions struct {
	DryRun bool // only say what would be done

	// DeclareLost has numbers that the store lacks, and that the agent did not hold
	// any more, recorded as lost-at-store, as the agent's link would do it. Else such
	// a file is refused: an older one may have them.
	DeclareLost bool

	// Trust says whose files are believed. Nil: whoever has written the file can bring
	// messages in the name of any agent. [Server.Import] sets it by its Config.
	Trust *ImportTrust

	// Unsigned takes a file that is not signed: of an agent that was never enrolled,
	// because its site has no link. A signature that is there has to be good all the
	// same.
	Unsigned bool
}

// ImportTrust says whose carry files are believed, and who signs the receipts.
type ImportTrust struct {
	Agents *x509.CertPool                                      // authorities of agents' certificates
	Admit  func(id wire.AgentID, cert *x509.Certificate) error // as in Config; nil: all are admitted
	Sign   *tls.Certificate                                    // the collector's; nil: receipts are not signed
}

// ImportReport says what an import did, or with DryRun would do.
type ImportReport struct {
	File    wire.ID          `json:"file"`
	Agent   wire.AgentID     `json:"agent"`
	Created time.Time        `json:"created"` // by the agent's clock
	Streams []ImportedStream `json:"streams"`

	// Receipt is the file for the agent, nil with DryRun.
	Receipt []byte `json:"receipt,omitempty"`
}

// ImportedStream is what an import did with one stream.
type ImportedStream struct {
	Lane       wire.Lane  `json:"lane"`
	Epoch      wire.Epoch `json:"epoch"`            // as the file has it
	W          wire.Seq   `json:"w"`                // the store has all numbers of the agent's up to it
	Last       wire.Seq   `json:"last"`             // the last number that the file tells of
	Stored     uint64     `json:"stored"`           // numbers stored
	Tombstoned uint64     `json:"tombstoned"`       // numbers recorded as dropped or declared
	Known      uint64     `json:"known"`            // numbers of the file that the store had already
	Forked     bool       `json:"forked,omitempty"` // rolled back: they went on in a new epoch
	Rejected   wire.Seq   `json:"rejected,omitempty"`
	Why        string     `json:"why,omitempty"`  // the store refuses number Rejected for good: the import of the lane ends there
	Held       bool       `json:"held,omitempty"` // not begun, because an earlier stream of its lane was refused
}

// ImportFile imports a carry file: what "agent queue export --carry" has written.
// It takes every number once, however often it or other files bring it, and also
// while the agent's link delivers the same. Memory does not depend on the file's
// size. It begins to store before it has read all; whoever wants nothing of a
// damaged file verifies it first, and what a cut import has taken is only known to
// the next one.
//
// A file that does not follow what the store has, or that is of another store, is
// refused as a whole: [ErrGap], [ErrOtherStore]; so is [ErrCarryFile], what is none,
// and [ErrUnproven].
// [ErrMemory]: the memory of the agent's machine went back; of that stream nothing
// is taken. After other errors, which are the store's and the reader's, the report
// says what was done, and importing again is right.
func ImportFile(ctx context.Context, store Store, from io.Reader, o ImportOptions) (ImportReport, error) {
	f, err := carry.NewReader(from, o.verifier(time.Now()))
	if err != nil {
		return ImportReport{}, carryError(err)
	}
	m := f.Manifest()
	im := importer{ctx: ctx, store: store, id: store.Identity(), o: o, agent: m.Agent}
	if err := im.plan(m); err != nil {
		return ImportReport{}, err
	}
	err = im.run(f)
	report := ImportReport{File: f.File(), Agent: m.Agent, Created: m.Created}
	for _, s := range im.streams {
		report.Streams = append(report.Streams, s.report)
	}
	if err == nil && !o.DryRun {
		report.Receipt, err = im.receipt(f.File())
	}
	return report, err
}

// carryError gives an error of a carry file's reader this package's meaning.
func carryError(err error) error {
	if errors.Is(err, carry.ErrSignature) {
		return fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	if errors.Is(err, carry.ErrForeign) || errors.Is(err, carry.ErrVersion) || errors.Is(err, carry.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrCarryFile, err)
	}
	return err
}

// receipt returns the receipt's file.
func (im *importer) receipt(file wire.ID) ([]byte, error) {
	r := carry.Receipt{File: file, Agent: im.agent, Store: im.id.ID, Replaces: im.id.Replaces, ReplacesAny: im.id.ReplacesAny, Time: time.Now().UTC()}
	for _, s := range im.streams {
		if err := im.look(s); err != nil {
			return nil, err
		}
		p := carry.Settled{Lane: s.Lane, Epoch: s.Epoch, W: s.common, Fingerprint: s.match.FPCommon,
			Stored: s.report.Stored, Tombstoned: s.report.Tombstoned, Known: s.report.Known}
		if s.common > 0 {
			p.Incarnation = s.Boundaries.At(s.common)
		}
		if s.reject != nil && s.reject.Number == s.common+1 {
			p.Rejected = s.reject
		}
		r.Streams = append(r.Streams, p)
	}
	if t := im.o.Trust; t != nil && t.Sign != nil {
		return r.Marshal(t.Sign.Certificate, func(m []byte) ([]byte, error) { return pki.SignMessage(t.Sign, m) })
	}
	return r.Marshal(nil, nil)
}

// verifier returns what decides whether a file is believed, nil if all are.
func (o *ImportOptions) verifier(now time.Time) carry.Verifier {
	if o.Trust == nil {
		return nil
	}
	return func(m *carry.Manifest) (func(message, signature []byte) error, error) {
		if len(m.Certificates) == 0 {
			if o.Unsigned {
				return nil, nil
			}
			return nil, fmt.Errorf("%w: it is not signed, so anybody can have written it in the name of agent %s; agents that are enrolled sign what they export: export again, or if you know where it comes from, import it with --unsigned", ErrUnproven, m.Agent)
		}
		leaf, err := o.Trust.signer(m, now)
		if err != nil {
			return nil, fmt.Errorf("%w: it says it is of agent %s: %w", ErrUnproven, m.Agent, err)
		}
		return func(message, signature []byte) error { return pki.VerifyMessage(leaf, message, signature) }, nil
	}
}

// signer returns the certificate of the agent that a file is of.
func (t *ImportTrust) signer(m *carry.Manifest, now time.Time) (*x509.Certificate, error) {
	chain, err := pki.ParseDER(m.Certificates)
	if err != nil {
		return nil, err
	}
	id, leaf, err := pki.VerifyAgent(chain, t.Agents, now)
	switch {
	case err != nil:
		return nil, err
	case id != m.Agent:
		return nil, fmt.Errorf("it is signed by agent %s, who cannot speak for another", id)
	case t.Admit != nil:
		return leaf, t.Admit(id, leaf)
	}
	return leaf, nil
}

// TrustOf returns whose files a collector with these settings believes: those of the
// agents that may link to it; the parameters are as in [Config]. Without TLS it is
// nil: then everybody is believed.
func TrustOf(c *tls.Config, admit func(id wire.AgentID, cert *x509.Certificate) error) (*ImportTrust, error) {
	if c == nil {
		return nil, nil
	}
	if c.GetConfigForClient != nil {
		got, err := c.GetConfigForClient(&tls.ClientHelloInfo{})
		if err != nil {
			return nil, fmt.Errorf("import: the collector's certificate: %w", err)
		}
		if got != nil {
			c = got
		}
	}
	t := &ImportTrust{Agents: c.ClientCAs, Admit: admit}
	if len(c.Certificates) > 0 {
		t.Sign = &c.Certificates[0]
	}
	return t, nil
}

// Import is [ImportFile] into the server's store. An agent that never had a link
// shows among [Server.Agents] from then on.
func (s *Server) Import(ctx context.Context, from io.Reader, o ImportOptions) (ImportReport, error) {
	var err error
	if o.Trust, err = TrustOf(s.cfg.TLS, s.cfg.Admit); err != nil {
		return ImportReport{}, err
	}
	report, err := ImportFile(ctx, s.cfg.Store, from, o)
	if report.Agent == "" || o.DryRun {
		return report, err
	}
	known, kerr := s.cfg.Store.Agents(ctx)
	if kerr != nil {
		return report, errors.Join(err, kerr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range known {
		if k := &known[i]; k.Agent == report.Agent && s.agents[k.Agent] == nil {
			s.agents[k.Agent] = newAgent(k, s.pace(), time.Now())
		}
	}
	return report, err
}
