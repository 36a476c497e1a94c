package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// settings are the flags that stand for keys of the configuration, and the file.
// Flags win over the file, the file over defaults.
type settings struct {
	file     string
	insecure bool
	log      *daemon.LogFlags

	id, dir, lane, topic *daemon.Value
	given                struct{ id, dir, lane, topic, http string }
	collectors, http     *daemon.Value
	addresses            []string
}

// addFile defines --config and --dir.
func (s *settings) addFile(f *pflag.FlagSet) {
	f.StringVar(&s.file, "config", "", "read the configuration from this YAML `file`")
	s.dir = daemon.NewValue("DIR", "", func(v string) error {
		if s.given.dir = v; v == "" {
			return fmt.Errorf("name a folder")
		}
		return nil
	})
	f.Var(s.dir, "dir", "folder of the queue (default ./fieldpost-agent)")
}

// addID defines --id.
func (s *settings) addID(f *pflag.FlagSet) {
	s.id = daemon.NewValue("ID", "", func(v string) error { s.given.id = v; return wire.CheckName("agent id", v) })
	f.Var(s.id, "id", "the agent's name, for good in a new folder (default the host's name)")
}

// addMessage defines --lane and --topic.
func (s *settings) addMessage(f *pflag.FlagSet) {
	s.lane = daemon.NewValue("LANE", "", func(v string) error { s.given.lane = v; return wire.CheckName("lane", v) })
	s.topic = daemon.NewValue("TOPIC", "", func(v string) (err error) { s.given.topic, err = config.ParseTopic(v); return })
	f.Var(s.lane, "lane", "put the messages into this lane (default by the routes, else \"default\")")
	f.Var(s.topic, "topic", "topic of the messages (default none)")
}

// addLink defines --collector and --insecure-plaintext.
func (s *settings) addLink(f *pflag.FlagSet) {
	s.addCollector(f)
	s.addInsecure(f)
}

// addCollector defines --collector.
func (s *settings) addCollector(f *pflag.FlagSet) {
	s.collectors = daemon.NewValue("HOST:PORT", "", func(v string) error { s.addresses = append(s.addresses, v); return nil })
	f.Var(s.collectors, "collector", "deliver to this collector; may be given more than once, they are tried in turn\n(default the one where the agent was enrolled)")
}

// addHTTP defines --http.
func (s *settings) addHTTP(f *pflag.FlagSet) {
	s.http = daemon.NewValue("HOST:PORT", config.Off, func(v string) (err error) {
		s.given.http, err = config.ParseLocalHTTPAddress(v)
		return
	})
	f.Var(s.http, "http", "address of this machine for /healthz, /readyz and /metrics; off: none")
}

func (s *settings) addInsecure(f *pflag.FlagSet) {
	f.BoolVar(&s.insecure, "insecure-plaintext", false, "link in plain TCP, if the collector does so as well:\nwhoever is on the way can read and change messages")
}

// load reads the file, if there is one, and lays the flags over it.
func (s *settings) load() (config.Agent, error) {
	c := config.DefaultAgent()
	if s.file != "" {
		var err error
		if c, err = config.LoadAgent(s.file); err != nil {
			return c, fmt.Errorf("the configuration is wrong:\n%w", err)
		}
	}
	given := func(v *daemon.Value) bool { return v != nil && v.Given } // not every command has every flag
	if given(s.id) {
		c.ID = s.given.id
	}
	if given(s.dir) {
		c.Dir = s.given.dir
	}
	if given(s.topic) {
		c.Stdin.Topic = s.given.topic
	}
	if given(s.lane) {
		c.Stdin.Lane = s.given.lane
	}
	if given(s.http) {
		c.HTTP = s.given.http
	}
	if given(s.collectors) {
		c.Collectors = s.addresses
	}
	for _, addr := range s.addresses {
		if _, err := config.ParseCollectorAddress(addr); err != nil {
			return c, daemon.WithCode(daemon.Usage, fmt.Errorf("--collector: %w", err))
		}
	}
	if s.insecure {
		c.Plaintext = true
		if c.TLS.Given() {
			return c, daemon.WithCode(daemon.Usage, fmt.Errorf("--insecure-plaintext, but %s has tls: leave one of them out", s.file))
		}
	}
	// A lane on the command line needs no declaration: it cannot be a slip of
	// another name that the file declares and nobody would see.
	if c.Stdin.Lane != "" {
		if _, ok := c.Lanes[c.Stdin.Lane]; !ok {
			c.Lanes[c.Stdin.Lane] = config.LaneSettings{}
		}
	}
	if s.log != nil {
		s.log.Over(&c.Log)
	}
	return c, nil
}

// library returns the configuration of the library.
func library(c config.Agent, log *slog.Logger) agent.Config {
	lanes := map[string]agent.LaneConfig{}
	for name, l := range c.Lanes {
		lanes[name] = lane(l)
	}
	var routes []agent.Route
	for _, r := range c.Routes {
		routes = append(routes, agent.Route{Topic: string(r.Topic), Lane: r.Lane})
	}
	return agent.Config{
		ID: c.ID, Dir: c.Dir, Collectors: c.Collectors, Lanes: lanes, Routes: routes, Heartbeat: c.Heartbeat,
		Reconnect: agent.Reconnect{Min: c.Reconnect.Min, Max: c.Reconnect.Max, MaxAttempts: c.Reconnect.MaxAttempts},
		TLS:       agent.TLS{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key, ServerName: c.TLS.ServerName}, InsecurePlaintext: c.Plaintext,
		Logger: log, Software: "fieldpost agent " + daemon.Version(),
	}
}

// lane returns the settings of a lane as the library names them.
func lane(l config.LaneSettings) agent.LaneConfig {
	c := agent.LaneConfig{
		Priority: l.Priority, Share: l.Share, MaxBytes: int64(l.MaxBytes), MaxMessages: l.MaxMessages, MaxAge: l.MaxAge, FreeSpace: int64(l.FreeSpace),
		SyncInterval: l.Interval, LiveFirst: l.LiveFirst, Compression: l.Compression, SegmentSize: int64(l.SegmentSize),
	}
	if l.Overflow != "" {
		_ = c.Overflow.UnmarshalText([]byte(l.Overflow)) // it is one of config.Overflows
	}
	return c
}

// stdinLane returns the lane for standard input: the one that is named, else by
// the routes.
func stdinLane(c config.Agent) string {
	if c.Stdin.Lane != "" {
		return c.Stdin.Lane
	}
	return c.Routes.Lane(c.Stdin.Topic)
}
