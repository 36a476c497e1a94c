package wire

import (
	"os"
	"regexp"
	"testing"
)

// RefuseCodes and Reasons name every constant.
func TestCodesAndReasonsAreComplete(t *testing.T) {
	for file, c := range map[string]struct {
		pattern string
		have    int
	}{
		"control.go": {`(?m)^\tRefuse\w+ +RefuseCode = "`, len(RefuseCodes())},
		"entry.go":   {`(?m)^\tReason\w+ +Reason = \d`, len(Reasons())},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := len(regexp.MustCompile(c.pattern).FindAll(text, -1)); c.have != want || want == 0 {
			t.Errorf("%s: %d of %d constants are listed", file, c.have, want)
		}
	}
}
