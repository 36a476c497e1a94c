package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 if the problem has no place
	Key          string // path of the key, as in heartbeat.interval; "" for the file as a whole
	Message      string // what is wrong and what to write instead
	Snippet      string // the lines around it with a mark below the column, "" if there are none
}

// String returns "file:line:column: key: message" and the snippet below it. All
// that comes from the file is escaped.
func (p Problem) String() string {
	var s strings.Builder
	s.WriteString(Printable(p.File))
	if p.Line > 0 {
		fmt.Fprintf(&s, ":%d:%d", p.Line, p.Column)
	}
	if p.Key != "" {
		s.WriteString(": " + Printable(p.Key))
	}
	s.WriteString(": " + p.Message)
	if p.Snippet != "" {
		s.WriteString("\n" + p.Snippet)
	}
	return s.String()
}

// Problems is the error for a file that is wrong: all that was found, in the
// order of the file, at least one.
type Problems []Problem

// Error returns the problems, a blank line between them.
func (p Problems) Error() string {
	list := make([]string, len(p))
	for i := range p {
		list[i] = p[i].String()
	}
	return strings.Join(list, "\n\n")
}

// snippet shows line n of lines with the one before it and a mark below column.
func snippet(lines []string, n, column int) string {
	if n < 1 || n > len(lines) {
		return ""
	}
	const widest = 120 // of a line that is shown
	width := len(strconv.Itoa(n))
	var s strings.Builder
	if n > 1 {
		fmt.Fprintf(&s, "  %*d | %s\n", width, n-1, shorten(lines[n-2], widest))
	}
	line := []rune(lines[n-1])
	mark := len([]rune(Printable(string(line[:min(max(column-1, 0), len(line))]))))
	fmt.Fprintf(&s, "> %*d | %s", width, n, shorten(lines[n-1], widest))
	if mark < widest {
		fmt.Fprintf(&s, "\n  %*s | %*s^", width, "", mark, "")
	}
	return s.String()
}

func shorten(line string, widest int) string {
	r := []rune(Printable(line))
	if len(r) > widest {
		return string(r[:widest]) + "…"
	}
	return string(r)
}

// Printable returns s with everything escaped that a terminal would obey or
// could not show: control characters, direction marks, invalid UTF-8.
func Printable(s string) string {
	clean := true
	for _, r := range s {
		clean = clean && r != unicode.ReplacementChar && unicode.IsPrint(r)
	}
	if clean {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		if r != unicode.ReplacementChar && unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}
