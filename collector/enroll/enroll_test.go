package enroll

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

func TestRenewal(t *testing.T) {
	r := registry(t, Options{AgentLife: time.Hour})
	now := time.Now()
	m := newMachine(t)
	give := func(a *pki.Authority, id wire.AgentID, from, to time.Time) *x509.Certificate {
		c, err := a.IssueAgent(id, m.key.Public(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	day := 24 * time.Hour
	r.authority.Cert.NotBefore = now.Add(-1000 * day) // so that there may be old ones
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		code wire.RefuseCode // "" it works
	}{
		{"good", give(r.authority, "a", now.Add(-day), now.Add(day)), ""},
		{"expired yesterday", give(r.authority, "a", now.Add(-31*day), now.Add(-day)), ""},
		{"expired 364 days ago", give(r.authority, "a", now.Add(-400*day), now.Add(-364*day)), ""},
		{"expired 366 days ago", give(r.authority, "a", now.Add(-400*day), now.Add(-366*day)), wire.RefuseToken},
		{"not yet good", give(r.authority, "a", now.Add(day), now.Add(2*day)), wire.RefuseToken},
		{"another agent's", give(r.authority, "b", now.Add(-day), now.Add(day)), wire.RefuseIdentity},
		{"another authority's", give(registry(t, Options{}).authority, "a", now.Add(-day), now.Add(day)), wire.RefuseToken},
	} {
		m.cert = c.cert
		err := m.enroll(t, r, "a", nil)
		if c.code != "" {
			wantCode(t, c.name, err, c.code, "")
		} else if err != nil || m.cert.NotAfter.Sub(now) > time.Hour+time.Minute {
			t.Errorf("%s: %v, until %s", c.name, err, m.cert.NotAfter)
		}
	}
}

// The authority is made once, and is the same after a restart.
func TestAuthorityStays(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrNone) {
		t.Errorf("Open of nothing: %v", err)
	}
	a, b := registry(t, Options{Dir: dir}), registry(t, Options{Dir: dir})
	if a.authority.Pin() != b.authority.Pin() {
		t.Error("there are two authorities")
	}
	os.Remove(filepath.Join(dir, folderName, keyFile))
	if _, err := Create(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "restore the folder") {
		t.Errorf("without its key: %v", err)
	}
	if _, err := Create(Options{Dir: filepath.Join(dir, "missing")}); err == nil {
		t.Error("a folder for a collector was made")
	}
}
