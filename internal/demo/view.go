package demo

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/term"
)

// view prints what happens. On a terminal the agents' figures stay at the bottom
// and are redrawn; elsewhere they come as a line about every two seconds.
type view struct {
	out   io.Writer
	live  bool
	size  func() (columns, rows int) // of the terminal
	begin time.Time
	drawn int       // lines of figures at the bottom
	line  time.Time // when the last plain line of figures was printed
}

func newView(out io.Writer) *view {
	f, ok := out.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && runtime.GOOS != "windows"
	size := func() (columns, rows int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns == 0 || rows == 0 {
			return 80, 24
		}
		return columns, rows
	}
	return &view{out: out, live: live, size: size, begin: time.Now()}
}

// Printf prints a line above the figures.
func (v *view) Printf(format string, args ...any) {
	v.clear()
	fmt.Fprintf(v.out, format+"\n", args...)
}

// say prints what the demo does now, with the time.
func (v *view) say(what string) {
	v.Printf("%s", v.paint("1", fmt.Sprintf("%5.1fs  %s", time.Since(v.begin).Seconds(), what)))
}

// clear removes the figures at the bottom.
func (v *view) clear() {
	if v.drawn > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.drawn)
		v.drawn = 0
	}
}

// tableWidth is how wide the live table is.
const tableWidth = 76

// figures shows the agents' figures.
func (v *view) figures(stations []*station) {
	if !v.live {
		v.plain(stations)
		return
	}
	// What has scrolled away cannot be redrawn, nor can lines that wrap. The top
	// row stays free: some terminals keep a copy of a screen that is cleared whole.
	columns, rows := v.size()
	fit := rows - 5 // beside that, an empty line, the head, the rest, and the cursor's line
	if columns < tableWidth || fit < 1 {
		v.plain(stations)
		return
	}
	rest := 0
	if n := len(stations); n > fit {
		stations, rest = stations[:fit], n-fit
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n         %-10s %-12s %10s %10s %9s %8s\n", "", "state", "accepted", "delivered", "backlog", "rate")
	for _, st := range stations {
		f, rate := st.look()
		fmt.Fprintf(&b, "         %-10s %s %10d %10d %9d %6.0f/s\n", st.id, v.paint(colour(f.State), fmt.Sprintf("%-12s", f.State)),
			f.Accepted, f.Delivered, f.Backlog, rate)
	}
	if rest > 0 {
		fmt.Fprintf(&b, "         and %d more, which this terminal has no room for\n", rest)
	}
	v.clear()
	io.WriteString(v.out, b.String())
	v.drawn = strings.Count(b.String(), "\n")
}

func (v *view) plain(stations []*station) {
	if time.Since(v.line) < 2*time.Second {
		return
	}
	v.clear() // the terminal may have become too small for the table
	v.line = time.Now()
	var parts []string
	for _, st := range stations {
		f, rate := st.look()
		parts = append(parts, fmt.Sprintf("%s %s accepted %d delivered %d backlog %d %.0f/s", st.id, f.State, f.Accepted, f.Delivered, f.Backlog, rate))
	}
	fmt.Fprintf(v.out, "%5.1fs    %s\n", time.Since(v.begin).Seconds(), strings.Join(parts, " | "))
}

// colour returns the colour of an agent's state.
func colour(state string) string {
	switch state {
	case "connected", "done":
		return "32"
	case "killed":
		return "31"
	}
	return "33"
}

// paint colours s on a terminal.
func (v *view) paint(colour, s string) string {
	if !v.live || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
