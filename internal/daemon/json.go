package daemon

import (
	"encoding/json"
	"io"
)

// PrintJSON writes v as what a command prints with --json.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
