package service

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// The numbers of our events, by which a log can be filtered.
const (
	eventInfo    = 1
	eventWarning = 2
	eventError   = 3
)

// maxEvent is how many bytes of a message are kept; Windows takes 31,839 characters.
const maxEvent = 30 << 10

// eventLog is Windows' Event Log, for one source.
type eventLog interface {
	Info(id uint32, message string) error
	Warning(id uint32, message string) error
	Error(id uint32, message string) error
}

// events is a daemon's standard error as a service: what is written to it is an
// error's event, and a log that finds its Handler writes an event a record. It may
// be used concurrently. What the Event Log does not take is lost: there is nowhere
// else to say so.
type events struct{ to eventLog }

// Write makes p one event.
func (e *events) Write(p []byte) (int, error) {
	e.to.Error(eventError, message(p))
	return len(p), nil
}

// Handler returns a handler for records that o lets pass.
func (e *events) Handler(o *slog.HandlerOptions) slog.Handler {
	inner := *o
	inner.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) { // an event has its own
			return slog.Attr{}
		}
		if o.ReplaceAttr != nil {
			return o.ReplaceAttr(groups, a)
		}
		return a
	}
	line := &line{}
	return &eventHandler{slog.NewTextHandler(&line.text, &inner), line, e.to}
}

// line is the record that is being written; the handlers that have attributes of
// their own share it.
type line struct {
	mu   sync.Mutex
	text bytes.Buffer
}

type eventHandler struct {
	slog.Handler
	line *line
	to   eventLog
}

func (h *eventHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.text.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	text := message(h.line.text.Bytes())
	switch {
	case r.Level >= slog.LevelError:
		return h.to.Error(eventError, text)
	case r.Level >= slog.LevelWarn:
		return h.to.Warning(eventWarning, text)
	}
	return h.to.Info(eventInfo, text)
}

func (h *eventHandler) WithAttrs(list []slog.Attr) slog.Handler {
	return &eventHandler{h.Handler.WithAttrs(list), h.line, h.to}
}

func (h *eventHandler) WithGroup(name string) slog.Handler {
	return &eventHandler{h.Handler.WithGroup(name), h.line, h.to}
}

// message is what an event can hold of b: no zeros, which Windows ends a text with.
func message(b []byte) string {
	b = bytes.TrimSpace(b)
	if len(b) > maxEvent {
		b = append(b[:maxEvent:maxEvent], " [cut]"...)
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(b), "\x00", ""), "?")
}
