package enroll

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// A token is counted, whoever asks at once; the same machine may ask again.
func TestTokensAreCounted(t *testing.T) {
	r := registry(t, Options{Known: func(id wire.AgentID) bool { return id == "known" }})
	secret := token(t, r, TokenOptions{Uses: 3})
	var mu sync.Mutex
	var all sync.WaitGroup
	good := 0
	for i := range 12 {
		m := newMachine(t)
		id := wire.AgentID(fmt.Sprintf("m-%d", i))
		all.Go(func() {
			err := m.enroll(t, r, id, secret)
			again := m.enroll(t, r, id, secret)
			mu.Lock()
			defer mu.Unlock()
			if (err == nil) != (again == nil) {
				t.Errorf("%s: first %v, then %v", id, err, again)
			}
			if err == nil {
				good++
			}
		})
	}
	all.Wait()
	if good != 3 {
		t.Errorf("%d machines with a token for 3", good)
	}
	m := newMachine(t)
	for _, c := range []struct {
		id   wire.AgentID
		o    TokenOptions
		says string // "" it works
	}{
		{"pump-7", TokenOptions{ID: "pump-7"}, ""}, {"pump-7", TokenOptions{ID: "pump-*"}, ""}, {"pump-7", TokenOptions{ID: "*-?"}, ""},
		{"pump-77", TokenOptions{ID: "pump-?"}, "is for"}, {"PUMP-7", TokenOptions{ID: "pump-*"}, "is for"}, {"x", TokenOptions{ID: "pump-7"}, "is for"},
		{"known", TokenOptions{}, "there is an agent known already"}, {"known", TokenOptions{ID: "k*"}, "there is an agent"},
		{"known", TokenOptions{ID: "known"}, ""}, {"known", TokenOptions{Known: true}, ""},
	} {
		err := m.enroll(t, r, c.id, token(t, r, c.o))
		if c.says != "" {
			wantCode(t, c.o.ID, err, wire.RefuseToken, c.says)
		} else if err != nil {
			t.Errorf("%+v for %s: %v", c.o, c.id, err)
		}
	}
	wantCode(t, "guessed", m.enroll(t, r, "x", make([]byte, wire.TokenSecret)), wire.RefuseToken, "not known here")
	wantCode(t, "nothing", newMachine(t).enroll(t, r, "x", nil), wire.RefuseToken, "neither")
	for _, o := range []TokenOptions{{TTL: time.Second}, {TTL: 25 * time.Hour}, {Uses: -1}, {Uses: MaxUses + 1}, {ID: "["}, {ID: strings.Repeat("x", 201)}} {
		if _, _, err := r.CreateToken(t.Context(), o); err == nil {
			t.Errorf("%+v has no error", o)
		}
	}
	b, err := os.ReadFile(r.folder.path(tokensFile))
	if err != nil || strings.Contains(string(b), fmt.Sprintf("%x", secret)) || strings.Contains(string(b), (pki.Token{Secret: [20]byte(secret)}).Reveal()[4:30]) {
		t.Errorf("the secret is kept: %s, %v", b, err)
	}
}

// No certificate goes out before the use of its token is on disk.
func TestATokenIsSpentBeforeTheCertificate(t *testing.T) {
	r := registry(t, Options{})
	secret := token(t, r, TokenOptions{})
	for _, step := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.Rename} {
		end := durable.Watch(string(r.folder), func(s durable.Step, _ string) error {
			if s == step {
				return errors.New("the disk fails")
			}
			return nil
		})
		m := newMachine(t)
		if err := m.enroll(t, r, "a", secret); err == nil {
			t.Errorf("%s fails, and a certificate is given", step)
		}
		end()
	}
	if err := newMachine(t).enroll(t, r, "a", secret); err != nil {
		t.Errorf("it was spent for nothing: %v", err)
	}
}
