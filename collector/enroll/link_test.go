package enroll

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// twoAgents serves a registry in which mallory and pump-7 are enrolled.
func twoAgents(t *testing.T) (r *Registry, s *server, mallory, victim *machine) {
	t.Helper()
	r = registry(t, Options{})
	s = serve(t, r)
	mallory, victim = newMachine(t), newMachine(t)
	for id, m := range map[wire.AgentID]*machine{"mallory": mallory, "pump-7": victim} {
		if err := m.enroll(t, r, id, token(t, r, TokenOptions{ID: string(id)})); err != nil {
			t.Fatal(err)
		}
	}
	return r, s, mallory, victim
}

// TestAnAgentSpeaksForItselfAlone shows a valid certificate of the wrong agent in
// every frame that carries an id: after the hello none does.
func TestAnAgentSpeaksForItselfAlone(t *testing.T) {
	r, s, mallory, victim := twoAgents(t)
	enroll := func(agent, id wire.AgentID) []byte {
		return wire.AppendJSON(nil, wire.TypeEnroll, mallory.request(t, agent, id, nil))
	}
	for _, c := range []struct {
		name, protocol string
		frames         []byte
	}{
		{"hello", wire.ProtocolLink, hello("pump-7")},
		{"renewal", wire.ProtocolEnroll, enroll("pump-7", "pump-7")},
		{"renewal of its own, with a request for another", wire.ProtocolEnroll, enroll("mallory", "pump-7")},
		{"renewal of another, with a request of its own", wire.ProtocolEnroll, enroll("pump-7", "mallory")},
	} {
		typ, p, conn, err := s.talk(t, r, mallory, c.protocol, c.frames)
		if conn != nil {
			conn.Close()
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := refusal(t, typ, p); got.Code != wire.RefuseIdentity {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	for end := time.Now().Add(10 * time.Second); s.Stats().Unidentified > 0 || s.Stats().Refused[wire.RefuseIdentity] < 4; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			break
		}
	}
	if st := s.Stats(); st.Refused[wire.RefuseIdentity] != 4 || st.Sessions != 0 || st.Enrolled != 0 {
		t.Errorf("%+v", st)
	}
	if known, _ := s.store.Agents(t.Context()); len(known) != 0 {
		t.Errorf("the store has heard of %+v", known)
	}
	if log := s.said(); !strings.Contains(log, "mallory's") || !strings.Contains(log, "code=identity") {
		t.Errorf("it is not in the log: %s", log)
	}
	for id, m := range map[wire.AgentID]*machine{"mallory": mallory, "pump-7": victim} {
		if typ, p, conn, err := s.talk(t, r, m, wire.ProtocolLink, hello(id)); err != nil || typ != wire.TypeWelcome {
			t.Errorf("%s itself: %s %q, %v", id, typ, p, err)
		} else {
			conn.Close()
		}
	}
}

// TestNobodyFencesOrSendsForAnother: while an agent is linked, another with a valid
// certificate says hello in its name, and in its own name tells the other's stream,
// announces and sends its numbers. The link stays, and the stream is what it was.
func TestNobodyFencesOrSendsForAnother(t *testing.T) {
	r, s, mallory, victim := twoAgents(t)
	history := wire.History{{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: 1}}
	state := wire.StreamState{Lane: wire.DefaultLane, Epoch: wire.Epoch{ID: wire.NewID()}, Next: 9, Boundaries: history}
	// frames tell the stream as an agent, and send its first n numbers.
	frames := func(id wire.AgentID, n uint32) []byte {
		b := wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: 1, Agent: id, Instance: wire.Instance{ID: wire.NewID()}, Streams: 1})
		b = wire.AppendHistory(b, state)
		b = wire.AppendResume(b, wire.Resume{Stream: 1, Lane: state.Lane, Epoch: state.Epoch, Next: state.Next, Boundaries: history})
		var records []byte
		for range n {
			var err error
			if records, err = wire.AppendRecord(records, &wire.Message{Time: time.Now(), Body: []byte(id)}); err != nil {
				t.Fatal(err)
			}
		}
		batch := wire.AppendBatch(nil, wire.BatchHeader{Lane: state.Lane, Epoch: state.Epoch, Incarnation: history[0].Incarnation, First: 1, Count: n}, records)
		return wire.AppendData(b, 1, &wire.Entry{From: 1, To: wire.Seq(n), Incarnation: history[0].Incarnation, Batch: batch}, 0)
	}
	acked := func(conn net.Conn) {
		t.Helper()
		for {
			typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
			if err != nil || typ == wire.TypeRefuse {
				t.Fatalf("%s %q, %v: want an ack", typ, p, err)
			}
			if typ == wire.TypeAck {
				return
			}
		}
	}
	_, _, own, err := s.talk(t, r, victim, wire.ProtocolLink, frames("pump-7", 3))
	if err != nil {
		t.Fatal(err)
	}
	acked(own)

	typ, p, _, err := s.talk(t, r, mallory, wire.ProtocolLink, frames("pump-7", 5))
	if err != nil || refusal(t, typ, p).Code != wire.RefuseIdentity {
		t.Errorf("in its name: %s %q, %v", typ, p, err)
	}
	_, _, conn, err := s.talk(t, r, mallory, wire.ProtocolLink, frames("mallory", 5))
	if err != nil {
		t.Fatal(err)
	}
	acked(conn) // of a stream of its own, that happens to be called the same

	if _, err := own.Write(wire.AppendPing(nil, 7, nil)); err != nil {
		t.Fatal(err)
	}
	for {
		typ, p, _, err := wire.ReadFrame(own, nil, wire.MaxFrame)
		if err != nil || typ == wire.TypeRefuse || typ == wire.TypeBye {
			t.Fatalf("the agent's link has ended: %s %q, %v", typ, p, err)
		}
		if typ == wire.TypePong {
			break
		}
	}
	stored := map[wire.AgentID]wire.Seq{}
	_, err = s.store.Read(t.Context(), "", func(e collector.Stored) error {
		stored[e.Agent] += e.Entry.To - e.Entry.From + 1
		return nil
	})
	if err != nil || stored["pump-7"] != 3 || stored["mallory"] != 5 || len(stored) != 2 {
		t.Errorf("stored %v, %v", stored, err)
	}
	for _, a := range s.Agents() {
		if !a.Contested.IsZero() {
			t.Errorf("agent %s is contested", a.ID)
		}
	}
}

// Who has no certificate of the authority, or speaks nothing that we do, is not
// let in, and nothing of it reaches the store.
func TestStrangers(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	other := registry(t, Options{})
	foreign := newMachine(t)
	if err := foreign.enroll(t, other, "pump-7", token(t, other, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	nameless := newMachine(t)
	cert, err := r.authority.IssueServer(nil, nameless.key.Public(), time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	nameless.cert = cert // the collector's own kind
	for name, m := range map[string]*machine{"no certificate": newMachine(t), "another authority's": foreign, "a collector's": nameless} {
		if typ, p, _, err := s.talk(t, r, m, wire.ProtocolLink, hello("pump-7")); err == nil {
			t.Errorf("%s: got %s %q", name, typ, p)
		}
	}
	for _, protocol := range []string{"h2", ""} {
		c := &tls.Config{RootCAs: pki.Pool([]*x509.Certificate{r.authority.Cert}), ServerName: pki.ServerName}
		if protocol != "" {
			c.NextProtos = []string{protocol}
		}
		if conn, err := tls.Dial("tcp", s.addr, c); err == nil {
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.ReadAll(conn); err == nil {
				t.Errorf("a client that speaks %q was let in", protocol)
			}
			conn.Close()
		}
	}
	// In the clear: an agent is told, a scanner is not.
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write(hello("pump-7"))
	typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
	if err != nil {
		t.Fatal(err)
	}
	if got := refusal(t, typ, p); got.Code != wire.RefuseTLS {
		t.Errorf("%+v", got)
	}
	if known, _ := s.store.Agents(t.Context()); len(known) != 0 {
		t.Errorf("the store has heard of %+v", known)
	}
	if st := s.Stats(); st.Sessions != 0 || st.TLSFailed < 3 {
		t.Errorf("%+v", st)
	}
}

// TLS 1.2 is not spoken, and there are no session tickets.
func TestVersionAndTickets(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	c := &tls.Config{RootCAs: pki.Pool([]*x509.Certificate{r.authority.Cert}), ServerName: pki.ServerName, NextProtos: []string{wire.ProtocolEnroll}, MaxVersion: tls.VersionTLS12}
	if conn, err := tls.Dial("tcp", s.addr, c); err == nil {
		conn.Close()
		t.Error("TLS 1.2 is spoken")
	}
	m := newMachine(t)
	if err := m.enroll(t, r, "a", token(t, r, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	pair, _ := pki.NewPair([]*x509.Certificate{m.cert}, m.key)
	c = &tls.Config{RootCAs: c.RootCAs, ServerName: pki.ServerName, NextProtos: []string{wire.ProtocolLink}, Certificates: []tls.Certificate{*pair}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for range 2 {
		conn, err := tls.Dial("tcp", s.addr, c)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(hello("a"))
		if typ, _, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame); err != nil || typ != wire.TypeWelcome {
			t.Errorf("%s, %v", typ, err)
		}
		if conn.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		conn.Close()
	}
}
