package doctor

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/fieldpost/fieldpost/internal/config"
)

// colours of the statuses on a terminal.
var colours = [...]string{OK: "\x1b[32m", Warn: "\x1b[33m", Fail: "\x1b[1;31m"}

// Print writes the report for people, in colours if asked.
func (r *Report) Print(w io.Writer, coloured bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s on %s, folder %s\n", r.Program, config.Printable(r.Version), config.Printable(r.Host), config.Printable(r.Dir))
	width := 0
	for i := range r.Checks {
		width = max(width, utf8.RuneCountInString(r.Checks[i].Check))
	}
	group := ""
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.Group != group {
			group = c.Group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		word := fmt.Sprintf("%-4s", c.Status)
		if coloured {
			word = colours[c.Status] + word + "\x1b[0m"
		}
		about := ""
		if c.About != "" {
			about = config.Printable(c.About) + ": "
		}
		fmt.Fprintf(&b, "  %s  %-*s  %s%s\n", word, width, c.Check, about, config.Printable(c.Text))
		indent := strings.Repeat(" ", 2+4+2+width+2)
		if c.Next != "" && c.Next != mendFirst {
			fmt.Fprintf(&b, "%s-> %s\n", indent, config.Printable(c.Next))
		}
		for line := range strings.Lines(c.Detail) {
			fmt.Fprintf(&b, "%s   %s\n", indent, config.Printable(strings.TrimRight(line, "\r\n")))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary counts the lines: "21 ok, 2 warn, 1 fail, in 0.4 s".
func (r *Report) Summary() string {
	return fmt.Sprintf("%d ok, %d warn, %d fail, in %.1f s", r.Counts.OK, r.Counts.Warn, r.Counts.Fail, r.Seconds)
}

// Coloured reports whether w is a terminal whose user has not asked for no colours.
func Coloured(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
