package daemon

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/fieldpost/fieldpost/internal/config"
)

// Logger is [LeveledLogger] with a level that does not change.
func Logger(w io.Writer, cfg config.Log) *slog.Logger { return LeveledLogger(w, cfg.Format, cfg.Level) }

// LeveledLogger returns a logger that writes to w, or with w's own handler if it has
// one. The format auto means colours and short times if w is a terminal, lines with
// systemd's levels if w is its journal, else text.
func LeveledLogger(w io.Writer, format config.LogFormat, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if own, ok := w.(interface {
		Handler(*slog.HandlerOptions) slog.Handler
	}); ok {
		return slog.New(own.Handler(opts))
	}
	f, ok := w.(*os.File)
	switch {
	case format == config.LogJSON:
		opts.ReplaceAttr = withUnits
		return slog.New(slog.NewJSONHandler(w, opts))
	case format != config.LogText && ok && term.IsTerminal(int(f.Fd())):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != ""}))
	case format != config.LogText && ok && isJournal(f):
		return slog.New(&journalHandler{out: &lockedWriter{w: w}, opts: opts})
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// withUnits writes durations as text has them, 1.5s; JSON alone gives a number of
// nanoseconds that does not say so.
func withUnits(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// LogFlags are the flags --log-level and --log-format.
type LogFlags struct {
	level  *Value
	format *Value
	log    config.Log
}

// AddLogFlags defines the flags.
func AddLogFlags(f *pflag.FlagSet) *LogFlags {
	l := &LogFlags{}
	l.level = NewValue("LEVEL", "", func(s string) (err error) { l.log.Level, err = config.ParseLevel(s); return })
	l.format = NewValue("FORMAT", "", func(s string) (err error) { l.log.Format, err = config.ParseFormat(s); return })
	f.Var(l.level, "log-level", "debug, info, warn or error (default info)")
	f.Var(l.format, "log-format", "auto, text or json (default auto: for people on a terminal, else text)")
	return l
}

// Keys returns the part "log" of a configuration that the flags stand for, nil if
// none was given.
func (l *LogFlags) Keys() map[string]string {
	keys := map[string]string{}
	if l.level.Given {
		keys["level"] = strings.ToLower(l.log.Level.String())
	}
	if l.format.Given {
		keys["format"] = string(l.log.Format)
	}
	if len(keys) == 0 {
		return nil
	}
	return keys
}

// Over lays the flags that were given over cfg.
func (l *LogFlags) Over(cfg *config.Log) {
	if l.level.Given {
		cfg.Level = l.log.Level
	}
	if l.format.Given {
		cfg.Format = l.log.Format
	}
}
