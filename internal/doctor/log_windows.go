package doctor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// serviceLog returns the last lines that a service has written to the Event Log.
func serviceLog(ctx context.Context, unit string, lines int) ([]byte, error) {
	program := filepath.Join(os.Getenv("SystemRoot"), "System32", "wevtutil.exe")
	c := exec.CommandContext(ctx, program, "qe", "Application", "/q:*[System[Provider[@Name='"+unit+"']]]", "/c:"+strconv.Itoa(lines), "/rd:true", "/f:Text")
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("wevtutil: %w: %.200s", err, strings.TrimSpace(said.String()))
	}
	return eventLines(out.String()), nil
}
