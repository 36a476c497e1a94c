package enroll

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// A revocation ends the live link, and none of what the agent has opens another.
func TestRevoke(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	m, fleet := newMachine(t), token(t, r, TokenOptions{Uses: 5, Known: true})
	if err := m.enroll(t, r, "pump-7", token(t, r, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	_, _, conn, err := s.talk(t, r, m, wire.ProtocolLink, hello("pump-7"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { r.Watch(ctx, s.Recheck, func(err error) { t.Error(err) }) })
	defer watching.Wait()
	defer cancel()

	// By another process, as the command does it.
	cmd, err := OpenRevocations(filepath.Dir(string(r.folder)))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Revoke(t.Context(), "pump-7"); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second)) // as is promised
	for {
		typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
		if typ == wire.TypePing {
			continue
		}
		if got := refusal(t, typ, p); got.Code != wire.RefuseRevoked {
			t.Errorf("%+v", got)
		}
		break
	}
	typ, p, _, err := s.talk(t, r, m, wire.ProtocolLink, hello("pump-7"))
	if err != nil || refusal(t, typ, p).Code != wire.RefuseRevoked {
		t.Errorf("another link: %s %q, %v", typ, p, err)
	}
	wantCode(t, "renewal", m.enroll(t, r, "pump-7", nil), wire.RefuseRevoked, "revoked at")
	wantCode(t, "a token of before", newMachine(t).enroll(t, r, "pump-7", fleet), wire.RefuseToken, "revoked after the token was made")
	if err := newMachine(t).enroll(t, r, "pump-8", fleet); err != nil {
		t.Errorf("another agent: %v", err)
	}
	time.Sleep(time.Until(r.since("pump-7").Add(1100 * time.Millisecond)))
	if err := m.enroll(t, r, "pump-7", token(t, r, TokenOptions{ID: "pump-7"})); err != nil {
		t.Fatal(err)
	}
	if err := r.Admit("pump-7", m.cert); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
}

// TestTokenBehindARevocation: a token that is made in the second of a revocation,
// and after it, counts; one that was made before it does not.
func TestTokenBehindARevocation(t *testing.T) {
	r := registry(t, Options{})
	before := token(t, r, TokenOptions{ID: "pump-7"})
	if err := r.Revoke(t.Context(), "pump-7"); err != nil {
		t.Fatal(err)
	}
	after := token(t, r, TokenOptions{ID: "pump-7"})
	m := newMachine(t)
	wantCode(t, "a token from before the revocation", m.enroll(t, r, "pump-7", before), wire.RefuseToken, "revoked after")
	if err := m.enroll(t, r, "pump-7", after); err != nil {
		t.Errorf("the token from after it: %v", err)
	}
}
