package agent_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/carry"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// office gives certificates.
type office struct {
	*pki.Authority
	t *testing.T
}

func newOffice(t *testing.T) *office {
	t.Helper()
	a, _, err := pki.NewAuthority(time.Now().Add(-5 * 365 * 24 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return &office{a, t}
}

func (o *office) roots() *x509.CertPool { return pki.Pool([]*x509.Certificate{o.Cert}) }

// agent returns a certificate for an agent that ends then.
func (o *office) agent(id wire.AgentID, end time.Time) *tls.Certificate {
	o.t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		o.t.Fatal(err)
	}
	cert, err := o.IssueAgent(id, key.Public(), end.Add(-30*24*time.Hour), end)
	if err != nil {
		o.t.Fatal(err)
	}
	pair, err := pki.NewPair([]*x509.Certificate{cert}, key)
	if err != nil {
		o.t.Fatal(err)
	}
	return pair
}

func (o *office) collector() *tls.Certificate {
	o.t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		o.t.Fatal(err)
	}
	cert, err := o.IssueServer(nil, key.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		o.t.Fatal(err)
	}
	pair, err := pki.NewPair([]*x509.Certificate{cert}, key)
	if err != nil {
		o.t.Fatal(err)
	}
	return pair
}

// certified opens an agent without a link that has a certificate.
func certified(t *testing.T, o *office, cert *tls.Certificate) *carrier {
	t.Helper()
	dir := t.TempDir()
	ca, both := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "agent.pem")
	text, err := pki.EncodePair(cert.PrivateKey.(crypto.Signer), cert.Leaf)
	if err == nil {
		err = os.WriteFile(both, text, 0o600)
	}
	if err == nil {
		err = os.WriteFile(ca, pki.EncodeCerts(o.Cert), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.Open(t.Context(), agent.Config{ID: "pump-7", Dir: filepath.Join(dir, "agent"), TLS: agent.TLS{CA: ca, Cert: both, Key: both, ServerName: pki.ServerName}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return &carrier{a, t}
}

// resign returns a carry file with other certificates, signed by another key; with a
// nil cert it is not signed.
func resign(t *testing.T, file []byte, cert, key *tls.Certificate) []byte {
	t.Helper()
	r, err := carry.NewReader(bytes.NewReader(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := *r.Manifest()
	var sign carry.Signer
	if m.Certificates = nil; cert != nil {
		m.Certificates, sign = cert.Certificate, func(b []byte) ([]byte, error) { return pki.SignMessage(key, b) }
	}
	var out bytes.Buffer
	w, err := carry.NewWriter(&out, m, sign)
	for err == nil {
		var i int
		var e wire.Entry
		if i, e, err = r.Next(); err == nil {
			err = w.Entry(i, &e)
		}
	}
	if err == io.EOF {
		_, err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestAnAgentImportsForItselfAlone: a carry file is believed if it is signed with a
// certificate of the agent that it names, and of nobody else.
func TestAnAgentImportsForItselfAlone(t *testing.T) {
	o, month := newOffice(t), time.Now().Add(24*time.Hour)
	mine := o.agent("pump-7", month)
	c := certified(t, o, mine)
	c.send("default", 20)
	file := c.carry(agent.CarryOptions{})
	other := o.agent("pump-8", month)
	foreign := newOffice(t)
	denied := errors.New("revoked")
	day := 24 * time.Hour
	for _, x := range []struct {
		name  string
		file  []byte
		o     collector.ImportOptions
		admit error
		want  string // "": it is imported
	}{
		{"its own", file, collector.ImportOptions{}, nil, ""},
		{"a dry run", file, collector.ImportOptions{DryRun: true}, nil, ""},
		{"revoked", file, collector.ImportOptions{}, denied, "revoked"},
		{"the valid certificate of another agent", resign(t, file, other, other), collector.ImportOptions{Unsigned: true}, nil, "signed by agent pump-8"},
		{"its certificate and another's key", resign(t, file, mine, other), collector.ImportOptions{Unsigned: true}, nil, "signature"},
		{"another authority's", resign(t, file, foreign.agent("pump-7", month), foreign.agent("pump-7", month)), collector.ImportOptions{Unsigned: true}, nil, "certificate signed by unknown authority"},
		{"a collector's certificate", resign(t, file, o.collector(), o.collector()), collector.ImportOptions{}, nil, "incompatible key usage"},
		{"not signed", resign(t, file, nil, nil), collector.ImportOptions{}, nil, "--unsigned"},
		{"not signed, and taken so", resign(t, file, nil, nil), collector.ImportOptions{Unsigned: true}, nil, ""},
	} {
		store := storetest.NewMemory()
		x.o.Trust = &collector.ImportTrust{Agents: o.roots(), Sign: o.collector(), Admit: func(wire.AgentID, *x509.Certificate) error { return x.admit }}
		_, err := collector.ImportFile(t.Context(), store, bytes.NewReader(x.file), x.o)
		if x.want == "" {
			if err != nil {
				t.Errorf("%s: %v", x.name, err)
			}
			continue
		}
		if !errors.Is(err, collector.ErrUnproven) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
		if known, err := store.Agents(t.Context()); err != nil || len(known) > 0 {
			t.Errorf("%s: something was taken: %+v, %v", x.name, known, err)
		}
	}
	for end, good := range map[time.Duration]bool{-10 * day: true, -360 * day: true, -370 * day: false} {
		late := o.agent("pump-7", time.Now().Add(end))
		_, err := collector.ImportFile(t.Context(), storetest.NewMemory(), bytes.NewReader(resign(t, file, late, late)), collector.ImportOptions{Trust: &collector.ImportTrust{Agents: o.roots()}})
		if good != (err == nil) || err != nil && !errors.Is(err, collector.ErrUnproven) {
			t.Errorf("a certificate that ended %s ago: %v", -end, err)
		}
	}
}

// TestOnlyItsCollectorsReceiptFrees: a receipt that is not signed, or by somebody
// else, frees nothing.
func TestOnlyItsCollectorsReceiptFrees(t *testing.T) {
	o := newOffice(t)
	c := certified(t, o, o.agent("pump-7", time.Now().Add(24*time.Hour)))
	c.send("default", 20)
	file, store := c.carry(agent.CarryOptions{}), storetest.NewMemory()
	receipt := func(sign *tls.Certificate) []byte {
		t.Helper()
		r, err := collector.ImportFile(t.Context(), store, bytes.NewReader(file), collector.ImportOptions{Trust: &collector.ImportTrust{Agents: o.roots(), Sign: sign}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Receipt
	}
	good := receipt(o.collector())
	changed := bytes.Replace(bytes.Clone(good), []byte("signature "), []byte("signature AAAA"), 1)
	for name, text := range map[string][]byte{
		"not signed":           receipt(nil),
		"the signature is off": good[:bytes.Index(good, []byte("signature "))],
		"by an agent":          receipt(o.agent("pump-8", time.Now().Add(time.Hour))),
		"by another authority": receipt(newOffice(t).collector()),
		"another signature":    changed,
	} {
		_, err := c.Settle(t.Context(), bytes.NewReader(text), agent.SettleOptions{})
		if !errors.Is(err, agent.ErrReceipt) && !errors.Is(err, agent.ErrBadFile) || c.backlog() != 20 {
			t.Errorf("%s: %v, backlog %d", name, err, c.backlog())
		}
	}
	if _, err := c.Settle(t.Context(), bytes.NewReader(good), agent.SettleOptions{}); err != nil || c.backlog() != 0 {
		t.Errorf("its collector's: %v, backlog %d", err, c.backlog())
	}
	c.send("default", 5)
	file = c.carry(agent.CarryOptions{All: true})
	if _, err := c.Settle(t.Context(), bytes.NewReader(receipt(nil)), agent.SettleOptions{Unsigned: true}); err != nil || c.backlog() != 0 {
		t.Errorf("one that may be unsigned: %v, backlog %d", err, c.backlog())
	}
}
