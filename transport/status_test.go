package transport

import (
	"os"
	"regexp"
	"testing"
)

// States and Causes name every constant.
func TestStatesAndCausesAreComplete(t *testing.T) {
	text, err := os.ReadFile("status.go")
	if err != nil {
		t.Fatal(err)
	}
	count := func(typ string) int {
		return len(regexp.MustCompile(`(?m)^\t\w+\s+`+typ+`\s+=\s+"`).FindAll(text, -1))
	}
	if s, c := count("State"), count("Cause"); s != len(States) || c != len(Causes) || s == 0 || c == 0 {
		t.Errorf("%d states of %d, %d causes of %d are listed", len(States), s, len(Causes), c)
	}
}
