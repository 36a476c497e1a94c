package lanes

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

// Check reports whether name can be a new lane's beside others, which may have it
// among them. A lane is a folder, and folders move between systems: names that
// differ only in case are one folder on some of them, and a dot at the end is
// dropped on others. (Names such as CON or NUL are good: the folder's name begins
// with "lane-".)
func Check(name string, others ...string) error {
	if err := wire.CheckName("lane", name); err != nil {
		return err
	}
	if strings.HasSuffix(name, ".") {
		return fmt.Errorf("lane %s: its name ends with a dot, which some file systems drop; name it %s", name, cmpName(strings.TrimRight(name, ".")))
	}
	for _, other := range others {
		if name != other && strings.EqualFold(name, other) {
			return fmt.Errorf("lane %s: there is a lane %s, and names that differ only in case are one folder on some file systems; use one spelling", name, other)
		}
	}
	return nil
}

// CheckAll checks each of names beside the others, and returns all that is wrong.
func CheckAll(names []string) error {
	var errs []error
	for i, name := range names {
		errs = append(errs, Check(name, names[:i]...))
	}
	return errors.Join(errs...)
}

// cmpName is what to propose for a name of which nothing is left.
func cmpName(s string) string {
	if s == "" {
		return "otherwise"
	}
	return s
}
