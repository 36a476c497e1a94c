// Package table holds tables in documents against what they are made from: a test of
// the code that knows writes the part between two marks, and fails if the document has
// another one.
//
//	<!-- begin NAME: made by TEST -->
//	| ... |
//	<!-- end NAME -->
//
// "go test ... -tables" writes the parts anew. The package is for tests; its functions
// must not be called concurrently for one document.
package table

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
)

var update = flag.Bool("tables", false, "write the tables in docs/ that this package's tests hold")

// Hold checks that the part of the file at path with a name is text, and with -tables
// makes it so. The error says what to do; the file must have the marks.
func Hold(path, name, text string) error {
	have, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- begin %s", name), fmt.Sprintf("<!-- end %s -->", name)
	i := bytes.Index(have, []byte(begin))
	if i >= 0 {
		i += bytes.IndexByte(have[i:], '\n') + 1
	}
	j := bytes.Index(have, []byte(end))
	if i < 0 || j < i {
		return fmt.Errorf("%s has no marks %q and %q", path, begin+" -->", end)
	}
	text = strings.TrimRight(text, "\n") + "\n"
	if string(have[i:j]) == text {
		return nil
	}
	if !*update {
		return fmt.Errorf("%s: the part %s is not what the code says; run this package's tests with -tables, and read what has changed", path, name)
	}
	return os.WriteFile(path, bytes.Join([][]byte{have[:i], []byte(text), have[j:]}, nil), 0o644)
}

// Row writes cells as a row of a Markdown table.
func Row(cells ...string) string {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(c, "|", `\|`), "\n", " ")
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}
