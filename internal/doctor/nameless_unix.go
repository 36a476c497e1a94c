//go:build !windows

package doctor

import "os"

// nameless makes a file in dir that has no name any more when it returns: whatever
// happens, nothing is left.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func removeNameless(f *os.File) { f.Close() }
