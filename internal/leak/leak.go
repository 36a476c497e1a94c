// Package leak fails a package's tests if they leave goroutines behind:
//
//	func TestMain(m *testing.M) { leak.Main(m) }
//
// It is goleak with more patience. goleak gives a goroutine less than half a
// second to end. On a busy machine that is short for one which is just ending, and
// net/http alone keeps a connection for half a second whose request it has refused
// before its end. What ends within [patience] is no leak.
package leak

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end once the tests have.
const patience = 20 * time.Second

// Main runs the tests of m, looks for goroutines that are left if they succeed,
// and ends the process.
func Main(m interface{ Run() int }, options ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Find returns an error that shows the goroutines which are left, if they do not
// end by themselves.
func Find(options ...goleak.Option) error { return find(patience, options...) }

func find(patience time.Duration, options ...goleak.Option) error {
	for end := time.Now().Add(patience); ; { // a look waits by itself
		err := goleak.Find(options...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
