package doctor

import (
	"testing"

	"golang.org/x/sys/windows"
)

func TestListsOfRights(t *testing.T) {
	for _, c := range []struct {
		name, list  string
		read, write bool
	}{
		{"the owner's, the system's, administrators'", "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", false, false},
		{"users may look", "D:P(A;OICI;FA;;;OW)(A;OICI;FR;;;BU)", true, false},
		{"users may change", "D:P(A;OICI;FA;;;OW)(A;OICI;0x1301bf;;;AU)", true, true},
		{"everybody may do anything", "D:P(A;OICI;FA;;;WD)", true, true},
		{"guests are kept out", "D:P(D;OICI;FA;;;BG)(A;OICI;FA;;;OW)", false, false},
	} {
		sd, err := windows.SecurityDescriptorFromString(c.list)
		if err != nil {
			t.Fatal(err)
		}
		dacl, _, err := sd.DACL()
		if err != nil {
			t.Fatal(err)
		}
		if read, write, err := allowed(dacl); read != c.read || write != c.write || err != nil {
			t.Errorf("%s: read %v, write %v, %v", c.name, read, write, err)
		}
	}
	if read, write, err := allowed(nil); !read || !write || err != nil {
		t.Error("no list at all")
	}
	if _, _, err := others(t.TempDir()); err != nil {
		t.Error(err)
	}
}
