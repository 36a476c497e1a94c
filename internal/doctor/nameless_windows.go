package doctor

import "os"

// nameless makes a file in dir, which removeNameless removes: Windows keeps the name
// of an open file.
func nameless(dir string) (*os.File, error) { return os.CreateTemp(dir, ".doctor-*") }

func removeNameless(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}
