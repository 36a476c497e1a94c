package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/fieldpost/fieldpost/internal/glob"
)

// Inputs are what the agent daemon reads.
type Inputs struct {
	NoStdin bool // others are named, and standard input is not
	Files   []FileInput
	Host    *HostInput // nil: none
	Exec    []ExecInput
}

// FileInput says which files are read, and how.
type FileInput struct {
	Paths, Exclude  []string // patterns, see package glob
	Topic, Lane     string
	FromEnd         bool           // files that are there at first are read from their end
	Start, Continue *regexp.Regexp // of messages of several lines; one of them or none
	MaxLine         Size           // 0: what a message can hold
	Flush           time.Duration  // 0: the default
}

// HostInput says how often the machine is looked at, and what of it.
type HostInput struct {
	Topic, Lane string
	Interval    time.Duration
	Only        []string // of HostMetrics; none: all
}

// HostMetrics are the parts of a sample of the machine.
var HostMetrics = []string{"cpu", "memory", "disk", "network", "load"}

// ExecInput says which command is run for its lines.
type ExecInput struct {
	Command     []string      // program and arguments
	Dir         string        // where it runs; "": where the daemon does
	Interval    time.Duration // between two runs; 0: it is kept running
	Timeout     time.Duration // of a run; 0: none
	Topic, Lane string
}

// Limits of inputs.
const (
	DefaultHostInterval = time.Minute
	DefaultHostTopic    = "host/metrics"
	MinMaxLine          = 64
	MaxMaxLine          = 1 << 20
)

// inputs makes the field inputs. lane makes the field of a lane's name.
func (d *decoder) inputs(c *Agent, lane func(*string) field) field {
	stdin := 0
	kinds := fields{
		"stdin": func(n ast.Node, path string) {
			if stdin++; stdin > 1 {
				d.fail(n, path, "standard input can be read by one input only")
			}
			d.mapping(n, path, fields{"lane": lane(&c.Stdin.Lane), "topic": d.topic(&c.Stdin.Topic)})
		},
		"file": func(n ast.Node, path string) {
			var f FileInput
			d.fileInput(n, path, &f, lane)
			c.Inputs.Files = append(c.Inputs.Files, f)
		},
		"host": func(n ast.Node, path string) {
			if c.Inputs.Host != nil {
				d.fail(n, path, "the machine can be looked at by one input only")
			}
			h := &HostInput{Topic: DefaultHostTopic, Interval: DefaultHostInterval}
			c.Inputs.Host = h
			d.mapping(n, path, fields{
				"topic": d.topic(&h.Topic), "lane": lane(&h.Lane), "interval": d.duration(&h.Interval, time.Second, 24*time.Hour),
				"only": d.list(d.scalar(func(s string) error { h.Only = append(h.Only, s); return oneOf(s, HostMetrics) })),
			})
		},
		"exec": func(n ast.Node, path string) {
			var x ExecInput
			before := len(d.problems)
			d.mapping(n, path, fields{
				"command": d.list(d.scalar(func(s string) error { x.Command = append(x.Command, s); return nil })),
				"dir":     d.scalar(func(s string) (err error) { x.Dir, err = notEmpty(s); return }),
				"topic":   d.topic(&x.Topic), "lane": lane(&x.Lane),
				"interval": d.duration(&x.Interval, time.Second, 30*24*time.Hour), "timeout": d.duration(&x.Timeout, 100*time.Millisecond, 30*24*time.Hour),
			})
			if len(d.problems) == before && (len(x.Command) == 0 || x.Command[0] == "") {
				d.fail(n, path, "command is missing; name a program and its arguments, as in command: [sensors, -u]")
			}
			c.Inputs.Exec = append(c.Inputs.Exec, x)
		},
	}
	all := d.list(func(n ast.Node, path string) {
		before := len(d.problems)
		list, _ := d.entries(n, path)
		d.mapping(n, path, kinds)
		if len(list) != 1 && len(d.problems) == before {
			d.fail(n, path, "want one input, have %d; begin each with \"- \": %s", len(list), strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
		}
	})
	return func(n ast.Node, path string) {
		all(n, path)
		c.Inputs.NoStdin = stdin == 0 && (len(c.Inputs.Files) > 0 || c.Inputs.Host != nil || len(c.Inputs.Exec) > 0)
	}
}

// fileInput reads the keys of an input of files.
func (d *decoder) fileInput(n ast.Node, path string, f *FileInput, lane func(*string) field) {
	before := len(d.problems)
	pattern := func(to *[]string) field {
		return d.list(d.scalar(func(s string) error { *to = append(*to, s); return glob.Check(s) }))
	}
	expression := func(to **regexp.Regexp) field {
		return d.scalar(func(s string) (err error) {
			if *to, err = regexp.Compile(s); err != nil {
				err = fmt.Errorf("%.80q is not a regular expression: %w", s, err)
			}
			return
		})
	}
	d.mapping(n, path, fields{
		"paths":   pattern(&f.Paths),
		"exclude": pattern(&f.Exclude),
		"topic":   d.topic(&f.Topic), "lane": lane(&f.Lane),
		"start": d.scalar(func(s string) error { f.FromEnd = s == "end"; return oneOf(s, []string{"beginning", "end"}) }),
		"multiline": func(n ast.Node, path string) {
			before := len(d.problems)
			d.mapping(n, path, fields{"start": expression(&f.Start), "continue": expression(&f.Continue)})
			if len(d.problems) == before && (f.Start == nil) == (f.Continue == nil) {
				d.fail(n, path, "give start, what a message's first line looks like, or continue, what the others do; not both")
			}
		},
		"max_line": d.scalar(func(s string) (err error) {
			if f.MaxLine, err = ParseSize(s); err == nil && (f.MaxLine < MinMaxLine || f.MaxLine > MaxMaxLine) {
				err = fmt.Errorf("%s is not within %s and %s", f.MaxLine, Size(MinMaxLine), Size(MaxMaxLine))
			}
			return
		}),
		"flush": d.duration(&f.Flush, 100*time.Millisecond, 24*time.Hour),
	})
	if len(d.problems) == before && len(f.Paths) == 0 {
		d.fail(n, path, "paths is missing; name files, as in paths: [/var/log/*.log]")
	}
	for i, p := range f.Paths {
		if !filepath.IsAbs(p) && len(d.problems) == before {
			abs, err := filepath.Abs(p)
			if err != nil {
				d.fail(n, path, "%q: %s; give the whole path", p, err)
				continue
			}
			f.Paths[i] = abs
		}
	}
}

func (d *decoder) topic(to *string) field {
	return d.scalar(func(s string) (err error) { *to, err = ParseTopic(s); return })
}

func oneOf(s string, words []string) error {
	if slices.Contains(words, s) {
		return nil
	}
	if near := nearest(s, words); near != "" {
		return fmt.Errorf("%.40q is not known here; did you mean %s?", s, near)
	}
	return errors.New(Printable(fmt.Sprintf("%.40q is not known here; write %s", s, strings.Join(words, ", "))))
}
