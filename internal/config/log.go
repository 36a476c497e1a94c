package config

import (
	"fmt"
	"log/slog"
)

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format LogFormat
}

// LogFormat is how a line of the log looks.
type LogFormat string

// The formats.
const (
	LogAuto LogFormat = "auto" // for people on a terminal, else text
	LogText LogFormat = "text" // key=value
	LogJSON LogFormat = "json"
)

// ParseLevel reads debug, info, warn or error.
func ParseLevel(s string) (slog.Level, error) {
	switch s {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%.40q is not a log level; write debug, info, warn or error", s)
}

// ParseFormat reads auto, text or json.
func ParseFormat(s string) (LogFormat, error) {
	switch f := LogFormat(s); f {
	case LogAuto, LogText, LogJSON:
		return f, nil
	}
	return "", fmt.Errorf("%.40q is not a log format; write auto, text or json", s)
}

func (d *decoder) log(l *Log) field {
	return d.section(fields{
		"level":  d.scalar(func(s string) (err error) { l.Level, err = ParseLevel(s); return }),
		"format": d.scalar(func(s string) (err error) { l.Format, err = ParseFormat(s); return }),
	})
}
