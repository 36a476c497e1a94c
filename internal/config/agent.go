package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/fieldpost/fieldpost/internal/lanes"
	"github.com/fieldpost/fieldpost/wire"
)

// Agent is the configuration of the agent daemon.
type Agent struct {
	ID         string                  // "": what the folder says, in a new one the host's name
	Dir        string                  // folder of the queue
	Collectors []string                // host:port each
	Lanes      map[string]LaneSettings // the lanes that take messages; the default one does anyway
	Routes     lanes.Routes            // which lane a message goes to that names none
	Stdin      Stdin
	Inputs     Inputs
	Heartbeat  time.Duration // 0: what the collector says
	Reconnect  Reconnect
	TLS        TLS    // files of a certificate that does not come from enrolment
	Plaintext  bool   // insecure_plaintext
	HTTP       string // host:port on the loopback for health and metrics, "": none
	Log        Log
}

// Stdin says where the lines of standard input go.
type Stdin struct {
	Lane  string // "": by the routes
	Topic string
}

// Reconnect paces the attempts to reach a collector; zero values mean defaults.
type Reconnect struct {
	Min, Max    time.Duration
	MaxAttempts int // after so many failures in a row only every 10 min; 0: no limit
}

// Limits of what may be configured.
const (
	MinHeartbeat = 100 * time.Millisecond
	MaxHeartbeat = time.Hour
)

// DefaultReconnectMin is the least delay if only the greatest one is given.
const DefaultReconnectMin = 500 * time.Millisecond

// DefaultAgent returns the configuration of an agent without a file.
func DefaultAgent() Agent {
	return Agent{Dir: "fieldpost-agent", Lanes: map[string]LaneSettings{}, Log: Log{Format: LogAuto}}
}

// ParseAgent reads an agent's configuration. file names it in errors. The error is
// a [Problems].
func ParseAgent(file string, data []byte, env Lookup) (Agent, error) {
	d := &decoder{file: file, env: env}
	c := DefaultAgent()
	var lanesUsed []func() // checks of names that may be declared further down
	lane := func(to *string) field {
		return func(n ast.Node, path string) {
			before := len(d.problems)
			d.scalar(func(s string) (err error) { *to, err = name("lane", s); return })(n, path)
			if len(d.problems) == before {
				lanesUsed = append(lanesUsed, func() {
					if _, ok := c.Lanes[*to]; !ok && *to != string(wire.DefaultLane) {
						d.fail(n, path, "lane %q is not declared; add it under lanes, as in lanes: {%s: {}}", *to, *to)
					}
				})
			}
		}
	}
	top := fields{
		"id":  d.scalar(func(s string) (err error) { c.ID, err = name("agent id", s); return }),
		"dir": d.scalar(func(s string) (err error) { c.Dir, err = notEmpty(s); return }),
		"collectors": d.list(d.scalar(func(s string) error {
			addr, err := ParseCollectorAddress(s)
			c.Collectors = append(c.Collectors, addr)
			return err
		})),
		"lanes": d.named(func(e entry, path string) {
			if err := lanes.Check(e.name, append(slices.Collect(maps.Keys(c.Lanes)), string(wire.DefaultLane))...); err != nil {
				d.fail(e.key, "lanes", "%s", err)
				return
			}
			var l LaneSettings
			c.Lanes[e.name] = l
			d.mapping(e.value, path, d.lane(&l))
			c.Lanes[e.name] = l
		}),
		"routes": d.list(func(n ast.Node, path string) {
			var r lanes.Route
			d.record(fields{
				"topic": d.scalar(func(s string) (err error) { r.Topic, err = lanes.ParseFilter(s); return }),
				"lane":  lane(&r.Lane),
			})(n, path)
			c.Routes = append(c.Routes, r)
		}),
		"inputs":    d.inputs(&c, lane),
		"heartbeat": d.heartbeat(&c.Heartbeat),
		"http":      d.scalar(func(s string) (err error) { c.HTTP, err = ParseLocalHTTPAddress(s); return }),
		"reconnect": d.section(fields{
			"min":          d.duration(&c.Reconnect.Min, 10*time.Millisecond, time.Hour),
			"max":          d.duration(&c.Reconnect.Max, 10*time.Millisecond, 24*time.Hour),
			"max_attempts": d.scalar(func(s string) (err error) { c.Reconnect.MaxAttempts, err = parseCount(s); return }),
		}),
		"tls": d.tls(&c.TLS, &c.Plaintext, fields{
			"server_name": d.scalar(func(s string) (err error) { c.TLS.ServerName, err = notEmpty(s); return }),
		}),
		"insecure_plaintext": d.boolean(&c.Plaintext),
		"log":                d.log(&c.Log),
	}
	reconnect := top["reconnect"]
	top["reconnect"] = func(n ast.Node, path string) {
		reconnect(n, path)
		switch r := &c.Reconnect; {
		case r.Max == 0:
		case r.Min > r.Max:
			d.fail(n, path, "min, %s, is above max, %s", Duration(r.Min), Duration(r.Max))
		case r.Min == 0:
			r.Min = min(DefaultReconnectMin, r.Max)
		}
	}
	d.decode(data, top, func() {
		for _, check := range append(lanesUsed, d.later...) {
			check()
		}
	})
	if len(d.problems) > 0 {
		return Agent{}, d.problems
	}
	return c, nil
}

// LoadAgent reads the file at path with the process's environment; see
// [ParseAgent]. The error is a [Problems] as well if the file cannot be read.
func LoadAgent(path string) (Agent, error) {
	data, err := read(path)
	if err != nil {
		return Agent{}, err
	}
	return ParseAgent(path, data, os.LookupEnv)
}

// ParseTopic checks a topic: UTF-8 of at most 1 KiB.
func ParseTopic(s string) (string, error) {
	if len(s) > wire.MaxTopic || !utf8.ValidString(s) {
		return "", fmt.Errorf("topic %.80q: want UTF-8 of at most %d bytes, have %d", s, wire.MaxTopic, len(s))
	}
	return s, nil
}

func name(what, s string) (string, error) { return s, wire.CheckName(what, s) }

func notEmpty(s string) (string, error) {
	if s == "" {
		return "", errors.New("is empty; give a value or leave the key out")
	}
	return s, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a whole number from 0 to %d", s, 1<<31-1)
	}
	return int(n), nil
}

func (d *decoder) heartbeat(to *time.Duration) field {
	return d.section(fields{"interval": d.duration(to, MinHeartbeat, MaxHeartbeat)})
}

// duration makes a field of a duration within limits.
func (d *decoder) duration(to *time.Duration, low, high time.Duration) field {
	return d.scalar(func(s string) error {
		v, err := ParseDuration(s)
		if err == nil && (time.Duration(v) < low || time.Duration(v) > high) {
			err = fmt.Errorf("%s is not within %s and %s", v, Duration(low), Duration(high))
		}
		*to = time.Duration(v)
		return err
	})
}
