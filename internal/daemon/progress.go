package daemon

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Progress tells people at a terminal how far long work has come, on one line that
// is written over. Where nobody looks it writes nothing. It is used by one
// goroutine.
type Progress struct {
	w     io.Writer // nil: nobody looks
	next  time.Time
	shown int // characters on the line
}

// Progress says nothing during the first second, and then this often.
const progressEvery = time.Second

// NewProgress returns a Progress that writes to stderr if that is a terminal.
func NewProgress(stderr io.Writer) *Progress {
	p := &Progress{next: time.Now().Add(progressEvery)}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.w = stderr
	}
	return p
}

// Say shows a text, from time to time. It may be called as often as one likes.
func (p *Progress) Say(format string, a ...any) {
	if p.w == nil || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(progressEvery)
	text := fmt.Sprintf(format, a...)
	fmt.Fprintf(p.w, "\r%-*s", p.shown, text)
	p.shown = len(text)
}

// Done takes the line away. It may be called more than once.
func (p *Progress) Done() {
	if p.w != nil && p.shown > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.shown, "")
		p.shown = 0
	}
}
