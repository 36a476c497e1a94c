package exec

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// What of a command's standard error gets into the log.
const (
	errorLines = 20 // in a minute
	errorBytes = 500
)

// errorLog writes lines into the log, so many a minute and so long.
type errorLog struct {
	log *slog.Logger

	mu      sync.Mutex
	line    []byte // that has begun, cut
	recent  string // the last line
	since   time.Time
	written int
	omitted int
}

// Write takes what the command says. It never fails.
func (e *errorLog) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		piece := b
		if i >= 0 {
			piece = b[:i]
		}
		e.line = append(e.line, piece[:min(len(piece), errorBytes-len(e.line))]...)
		if i < 0 {
			break
		}
		e.end()
		b = b[i+1:]
	}
	return n, nil
}

// end writes the line that is complete.
func (e *errorLog) end() {
	line := string(bytes.TrimRight(e.line, "\r"))
	e.line = e.line[:0]
	if line == "" {
		return
	}
	e.recent = line
	if now := time.Now(); now.Sub(e.since) > time.Minute {
		e.report()
		e.since, e.written = now, 0
	}
	if e.written++; e.written > errorLines {
		e.omitted++
		return
	}
	e.log.Warn("the command says", "line", line)
}

func (e *errorLog) report() {
	if e.omitted > 0 {
		e.log.Warn("the command has said more than is written here", "lines_omitted", e.omitted)
		e.omitted = 0
	}
}

// flush writes what is left at the command's end.
func (e *errorLog) flush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end()
	e.report()
}

// last returns the last line for an error.
func (e *errorLog) last() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recent == "" {
		return ""
	}
	return fmt.Sprintf(": %.200q", e.recent)
}
