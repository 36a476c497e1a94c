package service

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// book is an Event Log that keeps what it is told.
type book struct{ list []string }

func (b *book) add(kind string, id uint32, message string) error {
	b.list = append(b.list, fmt.Sprint(kind, " ", id, ": ", message))
	return nil
}
func (b *book) Info(id uint32, m string) error    { return b.add("info", id, m) }
func (b *book) Warning(id uint32, m string) error { return b.add("warning", id, m) }
func (b *book) Error(id uint32, m string) error   { return b.add("error", id, m) }

// A daemon's log becomes events, each with its level and without what an event has
// of its own; so does what a command says as it fails.
func TestEvents(t *testing.T) {
	var b book
	e := &events{&b}
	log := daemon.Logger(e, config.Log{Level: slog.LevelInfo})
	log.Debug("not asked for")
	log.Info("connected", "address", "centre:4717")
	log.With("lane", "bulk").Warn("full")
	log.WithGroup("disk").Error("a zero\x00byte", "time", 3)
	fmt.Fprintf(e, "agent: no collector\n")
	want := []string{
		`info 1: msg=connected address=centre:4717`,
		`warning 2: msg=full lane=bulk`,
		`error 3: msg="a zero\x00byte" disk.time=3`,
		`error 3: agent: no collector`,
	}
	if !slices.Equal(b.list, want) {
		t.Errorf("events:\n%s", strings.Join(b.list, "\n"))
	}
}

// An event holds no zero, which would end it, and no more than Windows takes.
func TestMessagesFitAnEvent(t *testing.T) {
	if got := message([]byte(" a\x00b\xff\n")); got != "ab?" {
		t.Errorf("got %q", got)
	}
	if got := message(make([]byte, 0)); got != "" {
		t.Errorf("got %q", got)
	}
	long := message([]byte(strings.Repeat("x", 100<<10)))
	if len(long) > 31839 || !strings.HasSuffix(long, "[cut]") {
		t.Errorf("%d bytes", len(long))
	}
}
