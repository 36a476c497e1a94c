package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
)

// journalHandler writes lines as systemd's journal wants them: the level in front,
// as in sd-daemon(3), and no time, for the journal has its own.
type journalHandler struct {
	out  *lockedWriter
	opts *slog.HandlerOptions
	with []func(slog.Handler) slog.Handler // attributes and groups, in order
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Enabled is part of [slog.Handler].
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= h.opts.Level.Level()
}

// Handle is part of [slog.Handler].
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	var b bytes.Buffer
	b.WriteString(severity(r.Level))
	var text slog.Handler = slog.NewTextHandler(&b, &slog.HandlerOptions{Level: h.opts.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}})
	for _, with := range h.with {
		text = with(text)
	}
	if err := text.Handle(ctx, r); err != nil {
		return err
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(b.Bytes())
	return err
}

// severity is the prefix of a line of that level (sd-daemon(3), syslog(3)).
func severity(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

func (h *journalHandler) and(f func(slog.Handler) slog.Handler) slog.Handler {
	return &journalHandler{h.out, h.opts, append(h.with[:len(h.with):len(h.with)], f)}
}

// WithAttrs is part of [slog.Handler].
func (h *journalHandler) WithAttrs(list []slog.Attr) slog.Handler {
	return h.and(func(text slog.Handler) slog.Handler { return text.WithAttrs(list) })
}

// WithGroup is part of [slog.Handler].
func (h *journalHandler) WithGroup(name string) slog.Handler {
	return h.and(func(text slog.Handler) slog.Handler { return text.WithGroup(name) })
}
