package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"testing"

	"github.com/fieldpost/fieldpost/internal/config"
)

// Under systemd each line begins with its level, and has no time.
func TestLinesForTheJournal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	log := Logger(w, config.Log{Format: config.LogAuto})
	log.Debug("no")
	log.With("lane", "alarms").WithGroup("disk").Error("it is full", "error", errors.New("no space"))
	log.Warn("a", "n", 1)
	log.Info("b")
	Logger(w, config.Log{Format: config.LogAuto, Level: slog.LevelDebug}).Debug("c")
	w.Close()
	got, err := io.ReadAll(r)
	want := `<3>msg="it is full" lane=alarms disk.error="no space"
<4>msg=a n=1
<6>msg=b
<7>msg=c
`
	if err != nil || string(got) != want {
		t.Errorf("%v, got\n%s", err, got)
	}
}
