package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/doctor"
)

// message is what "agent send" asks a daemon to send.
type message struct {
	Lane    string         `json:"lane,omitempty"` // "": by the daemon's routes
	Topic   string         `json:"topic,omitempty"`
	Time    time.Time      `json:"time"`
	Headers []agent.Header `json:"headers,omitempty"`
	Body    []byte         `json:"body"`
}

func (m *message) agent() agent.Message {
	return agent.Message{Lane: m.Lane, Topic: m.Topic, Time: m.Time, Headers: m.Headers, Body: m.Body}
}

// handler answers the commands that reach the daemon.
func handler(a *agent.Agent, in *inputs, re *reloader) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /status", control.Handle(func(context.Context, struct{}) (fullStatus, error) {
		return fullStatus{a.Status(), in.status()}, nil
	}))
	mux.Handle("POST /send", control.Handle(func(ctx context.Context, m message) (struct{}, error) {
		return struct{}{}, refusal(a.Send(ctx, m.agent()))
	}))
	mux.Handle("POST /reload", control.Handle(func(ctx context.Context, _ struct{}) (reloaded, error) {
		done, err := re.reload(ctx)
		return done, refusal(err)
	}))
	addLetters(mux, a)
	addHeld(mux, a)
	addContents(mux, a)
	addPurge(mux, a)
	addRepair(mux, a)
	addCarry(mux, a)
	doctor.Serve(mux)
	return mux
}

// askWithin is how long a command waits for a daemon that only has to look.
const askWithin = 5 * time.Second

// askStatus asks the daemon that has dir for its status.
func askStatus(ctx context.Context, dir string) (fullStatus, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askWithin, fmt.Errorf("nothing within %s: %w", askWithin, context.DeadlineExceeded))
	defer cancel()
	var s fullStatus
	err := control.Call(ctx, dir, http.MethodGet, "/status", nil, &s)
	return s, err
}

// running reports whether a daemon has dir.
func running(ctx context.Context, dir string) bool {
	_, err := askStatus(ctx, dir)
	return !errors.Is(err, control.ErrNotRunning)
}
