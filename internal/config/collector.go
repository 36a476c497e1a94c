package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/fieldpost/fieldpost/wire"
)

// Collector is the configuration of the collector daemon.
type Collector struct {
	Listen       string        // host:port for agents
	HTTP         string        // host:port for health and metrics, "": none
	Dir          string        // folder of the journal
	Replaces     Replaces      // which other stores this one stands in for
	Heartbeat    time.Duration // 0: the collector's default
	Retention    Retention     // what the journal keeps
	Limits       Limits        // how many agents it knows
	TLS          TLS           // files of a certificate from elsewhere; none: the collector has its own authority
	Authority    Authority     // of the collector's own
	Plaintext    bool          // insecure_plaintext
	AgentMetrics bool          // samples for each agent
	Log          Log
}

// Authority says what a collector's own authority does.
type Authority struct {
	Names           []string      // host names and addresses for the collector's certificate
	CertificateLife time.Duration // of agents' certificates, 0: 30 days
}

// How long an agent's certificate may live.
const (
	minCertificateLife = 10 * time.Second
	maxCertificateLife = 398 * 24 * time.Hour
)

// Check says what does not go together, in the file and on the command line.
func (c *Collector) Check() error {
	if c.HTTP != "" && !IsLocal(c.HTTP) && c.Plaintext {
		return fmt.Errorf("http on %s: metrics are shown to other machines with TLS and a bearer token only; leave insecure_plaintext out, or use 127.0.0.1:PORT", c.HTTP)
	}
	return nil
}

// Retention says what of the journal is kept; the zero value keeps everything.
type Retention struct {
	Age  time.Duration // how long messages are kept, 0: for ever
	Size Size          // how large the journal may become, 0: without a limit
}

// Limits bound what a store remembers; 0 is the journal's default.
type Limits struct {
	Agents  int // that are known
	Streams int // of one agent
}

const (
	minRetentionAge  = time.Minute
	minRetentionSize = 16 << 20
)

// Replaces names the stores that a collector's store stands in for: an agent of
// such a store sends here what it still has, and declares the rest.
type Replaces struct {
	Stores []wire.StoreID
	Any    bool // every other store
}

// Off is what is written for an address that is not wanted.
const Off = "off"

// DefaultCollector returns the configuration of a collector without a file.
func DefaultCollector() Collector {
	return Collector{Listen: "127.0.0.1:4717", HTTP: "127.0.0.1:4718", Dir: "fieldpost-collector", Log: Log{Format: LogAuto}}
}

// ParseCollector reads a collector's configuration. file names it in errors.
// The error is a [Problems].
func ParseCollector(file string, data []byte, env Lookup) (Collector, error) {
	d := &decoder{file: file, env: env}
	c := DefaultCollector()
	one := d.scalar(c.Replaces.Add)
	many := d.list(one)
	d.decode(data, fields{
		"listen": d.scalar(func(s string) (err error) { c.Listen, err = ParseListenAddress(s); return }),
		"http":   d.scalar(func(s string) (err error) { c.HTTP, err = ParseHTTPAddress(s); return }),
		"dir":    d.scalar(func(s string) (err error) { c.Dir, err = notEmpty(s); return }),
		"replaces": func(n ast.Node, path string) {
			if _, ok := scalarText(n); ok {
				one(n, path)
				return
			}
			many(n, path)
		},
		"heartbeat": d.heartbeat(&c.Heartbeat),
		"retention": d.section(fields{
			"age":  d.scalar(func(s string) (err error) { c.Retention.Age, err = retentionAge(s); return }),
			"size": d.scalar(func(s string) (err error) { c.Retention.Size, err = retentionSize(s); return }),
		}),
		"limits": d.section(fields{
			"agents":  d.scalar(func(s string) (err error) { c.Limits.Agents, err = limit(s); return }),
			"streams": d.scalar(func(s string) (err error) { c.Limits.Streams, err = limit(s); return }),
		}),
		"tls": d.tls(&c.TLS, &c.Plaintext, fields{
			"names": d.list(d.scalar(func(s string) error {
				c.Authority.Names = append(c.Authority.Names, s)
				return checkName(s)
			})),
			"certificate_life": d.duration(&c.Authority.CertificateLife, minCertificateLife, maxCertificateLife),
		}),
		"insecure_plaintext": d.boolean(&c.Plaintext),
		"agent_metrics":      d.boolean(&c.AgentMetrics),
		"log":                d.log(&c.Log),
	}, func() {
		for _, check := range d.later {
			check()
		}
	})
	if len(d.problems) > 0 {
		return Collector{}, d.problems
	}
	return c, nil
}

// checkName checks a name for a certificate: a host's, or an address.
func checkName(s string) error {
	if net.ParseIP(s) != nil {
		return nil
	}
	bad := func(r rune) bool {
		return r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if s == "" || len(s) > 253 || strings.ContainsFunc(s, bad) {
		return fmt.Errorf("%.80q is no host name and no address; write it without port, as in collector.example.com", s)
	}
	return nil
}

func limit(s string) (int, error) {
	n, err := parseCount(s)
	if err == nil && n < 1 {
		err = fmt.Errorf("%q allows nothing; write a number of at least 1, or leave it out for the default", s)
	}
	return n, err
}

func retentionAge(s string) (time.Duration, error) {
	d, err := ParseDuration(s)
	if err == nil && time.Duration(d) < minRetentionAge {
		err = fmt.Errorf("%s is too short; write at least %s, or leave it out to keep messages for ever", d, Duration(minRetentionAge))
	}
	return time.Duration(d), err
}

func retentionSize(s string) (Size, error) {
	z, err := ParseSize(s)
	if err == nil && z < minRetentionSize {
		err = fmt.Errorf("%s is too small; write at least %s, or leave it out to have no limit", z, Size(minRetentionSize))
	}
	return z, err
}

// LoadCollector reads the file at path with the process's environment; see
// [ParseCollector]. The error is a [Problems] as well if the file cannot be
// read.
func LoadCollector(path string) (Collector, error) {
	data, err := read(path)
	if err != nil {
		return Collector{}, err
	}
	return ParseCollector(path, data, os.LookupEnv)
}

// ParseHTTPAddress checks the address for HTTP: as [ParseListenAddress] does, or off, which
// gives "".
func ParseHTTPAddress(s string) (string, error) {
	if s == Off {
		return "", nil
	}
	return ParseListenAddress(s)
}

// Add takes one more store id, or any.
func (r *Replaces) Add(s string) error {
	if s == "any" {
		r.Any = true
		return nil
	}
	id, err := wire.ParseID(s)
	if err != nil {
		return fmt.Errorf("%.80q is not a store; write the store id that the agents name, 32 hex digits, or any", s)
	}
	r.Stores = append(r.Stores, wire.StoreID{ID: id})
	return nil
}

// read returns what the file at path holds, of a file that is too long only so
// much that the decoder notices.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		next := "name the configuration with --config"
		if errors.Is(err, fs.ErrPermission) {
			next = "run this as a user who may read it"
		}
		var why *fs.PathError
		if errors.As(err, &why) {
			err = why.Err // the path stands before it
		}
		return nil, Problems{{File: path, Message: fmt.Sprintf("cannot be read: %v; %s", err, next)}}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, Problems{{File: path, Message: "cannot be read: " + err.Error()}}
	}
	return data, nil
}
