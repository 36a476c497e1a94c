package doctor

import (
	"slices"
	"strings"
)

// eventLines makes lines, the oldest first, of what "wevtutil qe /rd:true /f:Text"
// prints of a service's events, the newest first: the time, and what the daemon wrote.
func eventLines(text string) []byte {
	var lines []string
	date := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch key, value, _ := strings.Cut(line, ":"); {
		case key == "Date":
			date = strings.TrimSpace(value)
		case strings.Contains(line, "msg="):
			lines = append(lines, date+" "+line)
		}
	}
	slices.Reverse(lines)
	return []byte(strings.Join(lines, "\n") + "\n")
}
