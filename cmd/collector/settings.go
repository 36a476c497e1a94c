package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// settings are the flags that stand for keys of the configuration, and the file.
// Flags win over the file, the file over defaults.
type settings struct {
	file     string
	insecure bool
	log      *daemon.LogFlags

	dir, listen, http, replaces *daemon.Value
	given                       config.Collector
}

// addFile defines --config and --dir.
func (s *settings) addFile(f *pflag.FlagSet) {
	f.StringVar(&s.file, "config", "", "read the configuration from this YAML `file`")
	s.dir = daemon.NewValue("DIR", "", func(v string) error {
		if s.given.Dir = v; v == "" {
			return fmt.Errorf("name a folder")
		}
		return nil
	})
	f.Var(s.dir, "dir", "folder of the journal (default ./fieldpost-collector)")
}

// addServer defines what only the daemon needs.
func (s *settings) addServer(f *pflag.FlagSet) {
	def := config.DefaultCollector()
	s.listen = daemon.NewValue("HOST:PORT", def.Listen, func(v string) (err error) {
		s.given.Listen, err = config.ParseListenAddress(v)
		return
	})
	s.http = daemon.NewValue("HOST:PORT", def.HTTP, func(v string) (err error) {
		s.given.HTTP, err = config.ParseHTTPAddress(v)
		return
	})
	s.replaces = daemon.NewValue("STORE", "", s.given.Replaces.Add)
	f.Var(s.listen, "listen", "address for agents; port 0: any free one, no host: all of this machine's")
	f.Var(s.http, "http", "address for /healthz, /readyz and /metrics; off the loopback they are served\nwith TLS to whoever has a bearer token; off: none")
	f.BoolVar(&s.insecure, "insecure-plaintext", false, "links in plain TCP, with agents that do so as well: whoever is on the way\ncan read and change messages, and speak for any agent")
	f.Var(s.replaces, "replaces", "take over from the store with this id, as agents name it in the state\ndifferent-store, or from any; kept in the folder; may be given more than once")
	s.log = daemon.AddLogFlags(f)
}

// load reads the file, if there is one, and lays the flags over it.
func (s *settings) load() (config.Collector, error) {
	c := config.DefaultCollector()
	if s.file != "" {
		var err error
		if c, err = config.LoadCollector(s.file); err != nil {
			return c, fmt.Errorf("the configuration is wrong:\n%w", err)
		}
	}
	for v, over := range map[*daemon.Value]func(){
		s.dir: func() { c.Dir = s.given.Dir }, s.listen: func() { c.Listen = s.given.Listen },
		s.http: func() { c.HTTP = s.given.HTTP }, s.replaces: func() { c.Replaces = s.given.Replaces },
	} {
		if v != nil && v.Given {
			over()
		}
	}
	if s.insecure {
		c.Plaintext = true
		if c.TLS.Given() {
			return c, daemon.WithCode(daemon.Usage, fmt.Errorf("--insecure-plaintext, but %s has tls: leave one of them out", s.file))
		}
	}
	if err := c.Check(); err != nil {
		return c, daemon.WithCode(daemon.BadConfig, err)
	}
	if s.log != nil {
		s.log.Over(&c.Log)
	}
	return c, nil
}
