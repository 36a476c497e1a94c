package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// line is a message as JSON.
type line struct {
	Agent      wire.AgentID  `json:"agent"`
	Lane       wire.Lane     `json:"lane"`
	Epoch      wire.Epoch    `json:"epoch"`
	Seq        wire.Seq      `json:"seq"`
	Time       time.Time     `json:"time"`
	Received   time.Time     `json:"received"`
	Topic      string        `json:"topic"`
	Headers    []wire.Header `json:"headers"`
	Body       *string       `json:"body,omitempty"`
	BodyBase64 []byte        `json:"body_base64,omitempty"`
}

// Lines returns a function for [collector.Store.Read] that calls emit with a line
// for each message of the entry that passes f, in order. The line ends with a
// newline and is good until emit returns. An error of emit is returned as it is;
// any other means that the store holds a batch that is damaged.
func Lines(f Filter, emit func(line []byte) error) func(collector.Stored) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	return func(s collector.Stored) error {
		return Messages(f, s, func(seq wire.Seq, m wire.Message) error {
			buf.Reset()
			l := line{
				Agent: s.Agent, Lane: s.Stream.Lane, Epoch: s.Stream.Epoch, Seq: seq,
				Time: m.Time.UTC(), Received: s.Received.UTC(), Topic: m.Topic, Headers: m.Headers,
			}
			if l.Headers == nil {
				l.Headers = []wire.Header{}
			}
			if utf8.Valid(m.Body) {
				text := string(m.Body)
				l.Body = &text
			} else {
				l.BodyBase64 = m.Body
			}
			if err := enc.Encode(&l); err != nil {
				return fmt.Errorf("export %s %s %s: %w", s.Agent, s.Stream.Lane, seq, err)
			}
			return emit(buf.Bytes())
		})
	}
}

// Messages calls fn with the messages of one stored entry that pass f, and their
// numbers. The body of m is good until fn returns. Errors as for [Lines].
func Messages(f Filter, s collector.Stored, fn func(seq wire.Seq, m wire.Message) error) error {
	if s.Entry.IsTombstone() || !f.entry(s) {
		return nil
	}
	b, err := wire.ParseBatch(s.Entry.Batch)
	if err != nil {
		return fmt.Errorf("entry of %s, lane %s, %s to %s: %w", s.Agent, s.Stream.Lane, s.Entry.From, s.Entry.To, err)
	}
	for r, err := range b.Records() {
		if err != nil {
			return fmt.Errorf("entry of %s, lane %s: %w", s.Agent, s.Stream.Lane, err)
		}
		if r.Seq < s.Entry.From || r.Seq > s.Entry.To {
			continue
		}
		m, err := r.Record.Message()
		if err != nil {
			return fmt.Errorf("message %s of %s, lane %s: %w", r.Seq, s.Agent, s.Stream.Lane, err)
		}
		if !f.topic(m.Topic) {
			continue
		}
		if err := fn(r.Seq, m); err != nil {
			return err
		}
	}
	return nil
}
