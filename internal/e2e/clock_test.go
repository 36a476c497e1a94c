//go:build unix

package e2e

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// office writes certificates of one authority into a folder.
type office struct {
	*pki.Authority
	t   *testing.T
	dir string
}

func (o *office) write(name string, begin, end time.Time, issue func(crypto.PublicKey, time.Time, time.Time) (*x509.Certificate, error)) {
	o.t.Helper()
	key, err := pki.NewKey()
	var cert *x509.Certificate
	var text []byte
	if err == nil {
		cert, err = issue(key.Public(), begin, end)
	}
	if err == nil {
		text, err = pki.EncodePair(key, cert)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(o.dir, name+".tmp"), text, 0o600)
	}
	if err == nil {
		err = os.Rename(filepath.Join(o.dir, name+".tmp"), filepath.Join(o.dir, name))
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// give makes the agent's and the collector's certificate, each good from and to so
// long after now.
func (o *office) give(agent, collector [2]time.Duration) {
	now := time.Now()
	o.write("agent.pem", now.Add(agent[0]), now.Add(agent[1]), func(k crypto.PublicKey, from, to time.Time) (*x509.Certificate, error) {
		return o.IssueAgent(wire.AgentID(agentID), k, from, to)
	})
	o.write("collector.pem", now.Add(collector[0]), now.Add(collector[1]), func(k crypto.PublicKey, from, to time.Time) (*x509.Certificate, error) {
		return o.IssueServer([]string{"127.0.0.1"}, k, from, to)
	})
}

// TestAWrongClockIsNamed has certificates that are not good now, which is what a
// wrong clock makes of good ones: the agent names the cause and what to do in status
// and log, keeps accepting, and delivers once time is right, without a restart.
func TestAWrongClockIsNamed(t *testing.T) {
	const day = 24 * time.Hour
	good := [2]time.Duration{-day, 30 * day}
	for _, c := range []struct {
		name             string
		agent, collector [2]time.Duration
		cause, says      string
	}{
		{"the agent's clock is behind", [2]time.Duration{day, 30 * day}, [2]time.Duration{day, 30 * day}, "clock", "before the collector's certificate was made"},
		{"the agent's clock is ahead", [2]time.Duration{-30 * day, -day}, [2]time.Duration{-30 * day, -day}, "clock", "but the collector's certificate ended at"},
		{"its own certificate is of the future", [2]time.Duration{day, 30 * day}, good, "clock", "its own certificate was made for"},
		{"its own certificate has ended", [2]time.Duration{-30 * day, -day}, good, "certificate-expired", "is right, enrol again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.secured(0)
			a, _, err := pki.NewAuthority(time.Now().Add(-365 * day))
			if err != nil {
				t.Fatal(err)
			}
			o := &office{a, t, filepath.Dir(s.agentDir)}
			at := func(name string) string { return filepath.Join(o.dir, name) }
			if err := os.WriteFile(at("ca.pem"), pki.EncodeCerts(a.Cert), 0o600); err != nil {
				t.Fatal(err)
			}
			files := func(of string) string {
				return "tls: {ca: " + at("ca.pem") + ", cert: " + at(of+".pem") + ", key: " + at(of+".pem") + "}\n"
			}
			s.agentConfig, s.collectorConfig = files("agent"), files("collector")
			o.give(c.agent, c.collector)
			s.startCollector()
			s.agent = launch(t, s.env, nil, "agent", s.b.agent, "run", "--stay", "--id", agentID, "--dir", s.agentDir, "--collector", s.link.Addr(), "--config", s.config("agent"))
			s.past = append(s.past, s.agent)
			s.eventually("the agent answers", func() bool { _, err := s.liveStatus(); return err == nil })
			s.sendSome(20)
			var l link
			s.eventually("the cause is named", func() bool { l = s.linkStatus(); return l.Cause == c.cause })
			if l.State == "connected" || !strings.Contains(l.Error, c.says) {
				t.Errorf("status: %+v", l)
			}
			if said := s.agent.said.all(); !strings.Contains(said, "cause="+c.cause) || !strings.Contains(said, c.says) {
				t.Errorf("the log does not say so:\n%s", said)
			}
			s.sendSome(20)
			o.give(good, good)
			s.eventually("connected", func() bool { return s.linkStatus().State == "connected" })
			s.drain()
			s.stop()
			s.mustHold()
		})
	}
}
