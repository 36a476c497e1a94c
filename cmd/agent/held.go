package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/wire"
)

// held is what stands at some numbers of a stream as JSON: what "queue peek --json"
// prints, and what the daemon answers. It is a message, or has a reason in Dropped,
// or a cause in Unreadable.
type held struct {
	ID         agent.MessageID `json:"id"`
	Lane       string          `json:"lane"`
	Epoch      wire.Epoch      `json:"epoch"`
	Seq        wire.Seq        `json:"seq"`
	To         wire.Seq        `json:"to,omitempty"` // the last number, where it is no message
	Acked      bool            `json:"acked"`
	Dropped    *wire.Reason    `json:"dropped,omitempty"`
	DroppedAt  time.Time       `json:"dropped_at,omitzero"`
	Detail     string          `json:"detail,omitempty"`
	Unreadable string          `json:"unreadable,omitempty"`
	*Content
}

// Content is the message itself.
type Content struct {
	Bytes      int            `json:"bytes"` // of the body
	Time       time.Time      `json:"time"`
	Topic      string         `json:"topic"`
	Headers    []agent.Header `json:"headers"`
	Body       *string        `json:"body,omitempty"`
	BodyBase64 []byte         `json:"body_base64,omitempty"`
}

// newContent returns m as JSON shows it, with its body up to a limit; a text that is
// cut ends between two characters.
func newContent(m *agent.Message, limit int) *Content {
	c := &Content{Bytes: len(m.Body), Time: m.Time.UTC(), Topic: m.Topic, Headers: m.Headers}
	if c.Headers == nil {
		c.Headers = []agent.Header{}
	}
	body := m.Body[:min(limit, len(m.Body))]
	if len(body) < len(m.Body) && utf8.Valid(m.Body) {
		for !utf8.Valid(body) {
			body = body[:len(body)-1]
		}
	}
	if utf8.Valid(body) {
		text := string(body)
		c.Body = &text
	} else {
		c.BodyBase64 = body
	}
	return c
}

func newHeld(h *agent.Held, limit int) held {
	j := held{ID: h.ID, Lane: h.Lane, Epoch: h.Epoch, Seq: h.ID.Number, Acked: h.Acked}
	switch {
	case h.Trouble != nil:
		j.To, j.Unreadable = h.To, h.Trouble.Error()
	case h.Reason != 0:
		j.To, j.Dropped, j.DroppedAt, j.Detail = h.To, &h.Reason, h.Dropped.UTC(), h.Detail
	default:
		j.Content = newContent(&h.Message, limit)
	}
	return j
}

// heldRequest asks the daemon for what a lane holds.
type heldRequest struct {
	Lane  string          `json:"lane"`
	From  agent.MessageID `json:"from"`
	Acked bool            `json:"acked"` // also what is acked
	Body  int             `json:"body"`  // bytes of a body at most
	Most  int             `json:"most"`  // items at most, 0: no limit
}

// heldPage is some of it, and whether there may be more.
type heldPage struct {
	Items []held `json:"items"`
	More  bool   `json:"more"`

	damage error // of a folder at rest, as far as is known by the end of the page
}

// The most that a page has; one item may go beyond the bytes. Tests lower it.
var (
	pageItems     = 4096
	pageHeldBytes = 2 << 20
)

// readHeld fills a page by a function that reads. What is read stays, also where it
// ends with an error.
func readHeld(r heldRequest, read func(yield func(agent.Held) error) error) (heldPage, error) {
	p := heldPage{Items: []held{}}
	size := 0
	err := read(func(h agent.Held) error {
		if len(p.Items) == pageItems || r.Most > 0 && len(p.Items) == r.Most || size >= pageHeldBytes {
			return errPageFull
		}
		p.Items = append(p.Items, newHeld(&h, r.Body))
		size += min(len(h.Message.Body), r.Body) + 256
		return nil
	})
	if errors.Is(err, errPageFull) {
		p.More = true
		if both, ok := err.(interface{ Unwrap() []error }); ok {
			p.damage = errors.Join(slices.DeleteFunc(slices.Clone(both.Unwrap()), func(err error) bool { return err == errPageFull })...)
		}
		err = nil
	}
	return p, err
}

// addHeld defines what the daemon tells of what lanes hold.
func addHeld(mux *http.ServeMux, a *agent.Agent) {
	mux.Handle("POST /held", control.Handle(func(ctx context.Context, r heldRequest) (heldPage, error) {
		p, err := readHeld(r, func(yield func(agent.Held) error) error {
			return a.Messages(ctx, r.Lane, r.From, r.Acked, yield)
		})
		return p, refusal(err)
	}))
}

// eachHeld hands what a lane holds to yield: through the daemon that has the folder,
// or from the folder, which is not changed. It goes page by page, so the agent may
// start and end meanwhile. Its error has the exit code; what is wrong with a folder's
// files is said in it too, when all else has been handed out.
func eachHeld(ctx context.Context, dir string, r heldRequest, yield func(*held) error) error {
	for limited := r.Most > 0; ; {
		p, err := nextHeld(ctx, dir, r)
		for i := range p.Items {
			h := &p.Items[i]
			if err := yield(h); err != nil {
				return err
			}
			r.From = agent.MessageID{Stream: h.ID.Stream, Number: max(h.Seq, h.To) + 1}
		}
		r.Most -= min(r.Most, len(p.Items))
		switch {
		case err != nil || !p.More:
			return err
		case limited && r.Most == 0:
			return p.damage
		}
	}
}

func nextHeld(ctx context.Context, dir string, r heldRequest) (heldPage, error) {
	return askOrRead(dir, func() (p heldPage, err error) {
		err = control.Call(ctx, dir, http.MethodPost, "/held", r, &p)
		return p, err
	}, func() (heldPage, error) {
		return readHeld(r, func(yield func(agent.Held) error) error {
			return agent.ReadMessages(ctx, dir, r.Lane, r.From, r.Acked, yield)
		})
	})
}
