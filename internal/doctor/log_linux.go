package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// serviceLog returns the last lines that a service has written to systemd's journal.
func serviceLog(ctx context.Context, unit string, lines int) ([]byte, error) {
	if _, err := exec.LookPath("journalctl"); err != nil {
		return nil, errors.New("this machine has no journalctl")
	}
	c := exec.CommandContext(ctx, "journalctl", "--unit", unit, "--lines", strconv.Itoa(lines), "--output", "short-iso", "--no-pager", "--quiet")
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("journalctl: %w: %.200s", err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}
