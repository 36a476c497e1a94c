package main

import (
	"bytes"
	"strconv"
	"strings"
)

// family is a metric as Prometheus knows it, with all its samples.
type family struct {
	name   string
	kind   string // gauge, counter or histogram
	help   string
	labels []string
	value  func(*snapshot, *samples)
}

// samples writes the samples of a family.
type samples struct {
	*bytes.Buffer
	of *family
}

// add writes a sample with the values of the family's labels.
func (s *samples) add(v float64, labels ...string) { s.line("", "", v, labels) }

// line writes a sample; suffix and le are a histogram's.
func (s *samples) line(suffix, le string, v float64, labels []string) {
	s.WriteString(s.of.name + suffix)
	open := byte('{')
	pair := func(name, value string) {
		s.WriteByte(open)
		open = ','
		s.WriteString(name + `="` + escapeLabel.Replace(value) + `"`)
	}
	for i, value := range labels {
		pair(s.of.labels[i], value)
	}
	if le != "" {
		pair("le", le)
	}
	if open == ',' {
		s.WriteByte('}')
	}
	s.WriteString(" " + number(v) + "\n")
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// exposition returns the families as text (Prometheus' exposition format 0.0.4).
func exposition(list []family, s *snapshot) []byte {
	var b bytes.Buffer
	for i := range list {
		f := &list[i]
		b.WriteString("# HELP " + f.name + " " + f.help + "\n# TYPE " + f.name + " " + f.kind + "\n")
		f.value(s, &samples{&b, f})
	}
	return b.Bytes()
}
