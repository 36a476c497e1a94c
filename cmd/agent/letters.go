package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// letter is a dead letter as JSON: what "dead export" prints, and what the daemon
// answers.
type letter struct {
	ID         agent.LetterID `json:"id"`
	Lane       string         `json:"lane"`
	Epoch      wire.Epoch     `json:"epoch"`
	Seq        wire.Seq       `json:"seq"`
	Refused    time.Time      `json:"refused"`
	Why        string         `json:"why"`
	Bytes      int            `json:"bytes"` // of the body
	Time       time.Time      `json:"time"`
	Topic      string         `json:"topic"`
	Headers    []agent.Header `json:"headers"`
	Body       *string        `json:"body,omitempty"`
	BodyBase64 []byte         `json:"body_base64,omitempty"`
}

// newLetter returns l as JSON shows it; without its body if brief.
func newLetter(l *agent.DeadLetter, brief bool) letter {
	m := &l.Message
	j := letter{
		ID: l.ID, Lane: l.Lane, Epoch: l.Epoch, Seq: l.Number, Refused: l.Refused.UTC(), Why: l.Why, Bytes: len(m.Body),
		Time: m.Time.UTC(), Topic: m.Topic, Headers: m.Headers,
	}
	if j.Headers == nil {
		j.Headers = []agent.Header{}
	}
	switch {
	case brief:
	case utf8.Valid(m.Body):
		text := string(m.Body)
		j.Body = &text
	default:
		j.BodyBase64 = m.Body
	}
	return j
}

// pageRequest asks the daemon for dead letters of a lane.
type pageRequest struct {
	Lane  string         `json:"lane"`
	From  agent.LetterID `json:"from"`
	Brief bool           `json:"brief"` // without bodies
}

// page is some of them, and whether there may be more.
type page struct {
	Letters []letter `json:"letters"`
	More    bool     `json:"more"`
}

// The most that a page has; one letter may go beyond the bytes.
const (
	pageLetters = 500
	pageBytes   = 4 << 20
)

// lettersRequest asks the daemon to retry or discard dead letters.
type lettersRequest struct {
	Lane string           `json:"lane"`
	IDs  []agent.LetterID `json:"ids"`
}

// errPageFull ends the reading of a page.
var errPageFull = errors.New("page full")

// readPage reads the next dead letters of a.
func readPage(ctx context.Context, a *agent.Agent, r pageRequest) (page, error) {
	p := page{Letters: []letter{}}
	size := 0
	err := a.DeadLetters(ctx, r.Lane, r.From, func(l agent.DeadLetter) error {
		if len(p.Letters) == pageLetters || size >= pageBytes {
			return errPageFull
		}
		p.Letters = append(p.Letters, newLetter(&l, r.Brief))
		size += len(l.Message.Body)
		return nil
	})
	if errors.Is(err, errPageFull) {
		p.More, err = true, nil
	}
	return p, err
}

// addLetters defines what the daemon does with dead letters.
func addLetters(mux *http.ServeMux, a *agent.Agent) {
	mux.Handle("POST /letters", control.Handle(func(ctx context.Context, r pageRequest) (page, error) {
		p, err := readPage(ctx, a, r)
		return p, refusal(err)
	}))
	mux.Handle("POST /letters/retry", control.Handle(func(ctx context.Context, r lettersRequest) (struct{}, error) {
		return struct{}{}, refusal(a.RetryDeadLetters(ctx, r.Lane, r.IDs...))
	}))
	mux.Handle("POST /letters/discard", control.Handle(func(ctx context.Context, r lettersRequest) (struct{}, error) {
		return struct{}{}, refusal(a.DiscardDeadLetters(ctx, r.Lane, r.IDs...))
	}))
}

// eachLetter hands the dead letters of a lane to yield: through the daemon that
// has the folder, or from the folder, which is not changed. Its error has the exit
// code.
func eachLetter(ctx context.Context, dir, lane string, brief bool, yield func(*letter) error) error {
	from := agent.LetterID{}
	for {
		var p page
		err := control.Call(ctx, dir, http.MethodPost, "/letters", pageRequest{lane, from, brief}, &p)
		if errors.Is(err, control.ErrNotRunning) && from == (agent.LetterID{}) {
			break
		}
		if errors.Is(err, control.ErrNoAnswer) {
			return daemon.WithCode(daemon.Unreachable, err)
		}
		if err != nil {
			return refused(err)
		}
		for i := range p.Letters {
			if err := yield(&p.Letters[i]); err != nil {
				return err
			}
			from = p.Letters[i].ID
			from.Ordinal++
		}
		if !p.More {
			return nil
		}
	}
	err := agent.ReadDeadLetters(ctx, dir, lane, from, func(l agent.DeadLetter) error {
		j := newLetter(&l, brief)
		return yield(&j)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; name an agent's folder with --dir", err)
	}
	return withCode(err)
}

// changeLetters retries or discards dead letters of a lane: through the daemon
// that has the folder, or in the folder. Its error has the exit code.
func changeLetters(ctx context.Context, c config.Agent, what, lane string, ids []agent.LetterID) error {
	err := control.Call(ctx, c.Dir, http.MethodPost, "/letters/"+what, lettersRequest{lane, ids}, nil)
	if !errors.Is(err, control.ErrNotRunning) {
		return refused(err)
	}
	a, err := openAtRest(ctx, c, lane)
	if err != nil {
		return err
	}
	if what == "retry" {
		err = a.RetryDeadLetters(ctx, lane, ids...)
	} else {
		err = a.DiscardDeadLetters(ctx, lane, ids...)
	}
	return withCode(errors.Join(err, a.Close()))
}
