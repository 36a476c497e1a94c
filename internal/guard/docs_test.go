package guard

import (
	"path"
	"testing"
)

// Every package has one package comment, a guided tour in one file: where there
// are two, godoc strings them together.
func TestEveryPackageHasOneDoc(t *testing.T) {
	for folder, p := range readTree(t, root) {
		if p.name == "" {
			continue // nothing but tests of a package that is not here
		}
		if len(p.docs) != 1 {
			t.Errorf("%s: package comments in %q, want exactly one (in %s)", folder, p.docs, path.Join(folder, "doc.go"))
		}
	}
}
