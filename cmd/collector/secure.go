package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// security is how a collector's links are secured: by its own authority, by files
// from elsewhere, or not at all.
type security struct {
	log      *slog.Logger
	registry *enroll.Registry    // nil: files, or plain TCP
	files    *pki.Source         // nil: the registry, or plain TCP
	revoked  *enroll.Revocations // nil: plain TCP

	server atomic.Pointer[collector.Server] // nil until there is one
	shared atomic.Pointer[shared]
}

// shared are settings that all connections share as long as the files are the
// same.
type shared struct {
	of     *pki.Loaded
	config *tls.Config
}

// newSecurity opens what c says, and makes the authority with the first start.
func newSecurity(c *config.Collector, log *slog.Logger) (*security, error) {
	s := &security{log: log}
	if c.Plaintext {
		return s, nil
	}
	var err error
	if c.TLS.Given() {
		if s.revoked, err = enroll.OpenRevocations(c.Dir); err != nil {
			return nil, err
		}
		s.files = pki.NewSource(pki.Files{Cert: c.TLS.Cert, Key: c.TLS.Key, CA: c.TLS.CA}, log)
		_, err := s.files.Get()
		return s, err
	}
	s.registry, err = enroll.Create(enroll.Options{Dir: c.Dir, Names: names(c), AgentLife: c.Authority.CertificateLife, Known: s.known, Logger: log})
	if err != nil {
		return nil, err
	}
	s.revoked = s.registry.Revocations
	return s, nil
}

// names are those of this machine, for its pages, and what is configured.
func names(c *config.Collector) []string {
	list := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil {
		list = append(list, host)
	}
	for _, addr := range []string{c.Listen, c.HTTP} {
		if host, _, err := net.SplitHostPort(addr); err == nil && host != "" && !net.ParseIP(host).IsUnspecified() && !config.IsLoopback(host) {
			list = append(list, host)
		}
	}
	return append(list, c.Authority.Names...)
}

// known reports whether the collector has heard of an agent.
func (s *security) known(id wire.AgentID) bool {
	srv := s.server.Load()
	return srv != nil && srv.Knows(id)
}

// apply sets how a server secures its links.
func (s *security) apply(cfg *collector.Config) (err error) {
	switch {
	case s.registry != nil:
		cfg.TLS, err = s.registry.ServerConfig()
		cfg.Enroll = s.registry.Enroll
	case s.files != nil:
		cfg.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current() }}
	default:
		cfg.InsecurePlaintext = true
		return nil
	}
	cfg.Admit = s.revoked.Admit
	return err
}

// current returns the settings of the files.
func (s *security) current() (*tls.Config, error) {
	l, err := s.files.Get()
	if err != nil {
		return nil, err
	}
	if have := s.shared.Load(); have != nil && have.of == l {
		return have.config, nil
	}
	c := &tls.Config{Certificates: []tls.Certificate{*l.Cert}, ClientCAs: l.Roots}
	s.shared.Store(&shared{l, c})
	return c, nil
}

// pages returns the settings for the pages, nil for plain HTTP.
func (s *security) pages() *tls.Config {
	if s.revoked == nil {
		return nil
	}
	give := s.current
	if s.registry != nil {
		give = func() (*tls.Config, error) {
			c, err := s.registry.ServerConfig()
			if err != nil {
				return nil, err
			}
			return c.GetConfigForClient(nil)
		}
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := give()
		if err != nil {
			return nil, err
		}
		c = c.Clone()
		c.MinVersion, c.NextProtos, c.ClientCAs = tls.VersionTLS13, []string{"http/1.1"}, nil
		return c, nil
	}}
}

// watch ends the links of agents that are revoked, and says when certificates
// expire, until ctx ends.
func (s *security) watch(ctx context.Context) error {
	if s.revoked == nil {
		<-ctx.Done()
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.remind(ctx)
	}()
	s.revoked.Watch(ctx, func() { s.server.Load().Recheck() }, func(err error) {
		s.log.Error("the revocations cannot be read, those of before stay", "error", err)
	})
	<-done
	return nil
}

// remind says once a day which certificate is about to expire.
func (s *security) remind(ctx context.Context) {
	tick := time.NewTicker(24 * time.Hour)
	defer tick.Stop()
	for {
		for what, end := range s.ends() {
			left := time.Until(end)
			log := s.log.Warn
			if left < 3*24*time.Hour {
				log = s.log.Error
			}
			if left < 14*24*time.Hour {
				log("a certificate of the collector expires soon; without it no agent can connect", "certificate", what, "not_after", end, "days", int(left/(24*time.Hour)))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ends says when which certificate expires.
func (s *security) ends() map[string]time.Time {
	switch {
	case s.registry != nil:
		server, authority := s.registry.Ends()
		return map[string]time.Time{"collector": server, "authority": authority}
	case s.files != nil:
		if l, err := s.files.Get(); err == nil {
			return map[string]time.Time{"collector": l.Cert.Leaf.NotAfter}
		}
	}
	return nil
}

// announce says at the start what links are.
func (s *security) announce(listen string) {
	if s.revoked == nil && !config.IsLocal(listen) {
		s.log.Warn("links are plain TCP, and this address can be reached from other machines: whoever is on the way can read and change messages, and speak for any agent",
			"listen", listen, "next", "leave insecure_plaintext out and enrol the agents")
	}
}

// openRegistry opens the authority of the collector in dir, for a command.
func openRegistry(c *config.Collector, log *slog.Logger) (*enroll.Registry, error) {
	if c.TLS.Given() {
		return nil, errors.New("this collector's certificates come from files (tls: in the configuration), and it enrols nobody; give agents certificates from the same place")
	}
	if err := daemon.ActAsOwner(c.Dir); err != nil {
		return nil, err
	}
	r, err := enroll.Open(enroll.Options{Dir: c.Dir, Logger: log})
	if errors.Is(err, enroll.ErrNone) {
		err = errors.New("no collector with an authority of its own has run in " + c.Dir + `: start "collector run" there first, or name its folder with --dir`)
	}
	return r, err
}
