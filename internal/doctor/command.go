package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// Setup is what a program says of its command "doctor".
type Setup struct {
	Program string // agent or collector
	Example string
	Checks  string // what is checked, for the help

	Define func(c *cobra.Command) // adds the flags of the program

	// Prepare says what is to be examined. Its error is for a wrong command line
	// alone; what is wrong with the machine is for the checks.
	Prepare func(ctx context.Context) (Contents, []Check, error)
}

// Exit codes of the command, which are those of the worst line.
var codes = map[Status]daemon.Code{Warn: 1, Fail: 2}

// Command returns the command "doctor".
func Command(s Setup) *cobra.Command {
	var asJSON bool
	var bundle string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this machine: what is wrong, and what to do next",
		Long: fmt.Sprintf(`Examines the %[1]s's folder and all that it depends on, on this machine, whether it runs
or not: %[2]s
Each line is ok, warn or fail; below it stands what to do next. It changes nothing, but
for one nameless file in the folder that measures fsync, and ends within %[3]s. What
this user may not look at is said to be so: run it as root to see all.

--bundle writes an archive for support as well: the report, the configuration, status,
queue or journal, versions, the machine, and the end of the service's log. It has no keys,
tokens, certificates or messages: of the configuration it has only values that cannot be
secrets, and what looks like one is removed everywhere. It lists what is in it; look
before you send it.

--json prints one object: schema (1), program, version, time, seconds, host, system, user,
dir, config, status, counts {ok, warn, fail} and checks [{group, check, about, status, text,
next, detail, seconds}]. A check's name is the same in every run; about is what it is about,
if it looks at several. Names of checks and keys may be added, and texts may change.

It exits 0 if all is ok, 1 if something is to be looked at (warn), 2 if something is broken
(fail) or the command line is wrong.`, s.Program, s.Checks, Limit),
		Example: s.Example,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			contents, checks, err := s.Prepare(cmd.Context())
			if err != nil {
				return daemon.WithCode(daemon.Usage, err)
			}
			contents.Report.Program, contents.Report.Version = s.Program, daemon.Version()
			contents.Report = Examine(cmd.Context(), contents.Report, checks)
			r := &contents.Report
			if asJSON {
				err = r.JSON(cmd.OutOrStdout())
			} else {
				err = r.Print(cmd.OutOrStdout(), Coloured(cmd.OutOrStdout()))
			}
			if err != nil {
				return daemon.WithCode(codes[Fail], err)
			}
			if bundle != "" {
				list, err := WriteBundle(cmd.Context(), bundle, contents)
				if err != nil {
					return daemon.WithCode(codes[Fail], err)
				}
				w := cmd.OutOrStdout()
				if asJSON {
					w = cmd.ErrOrStderr()
				}
				printEntries(w, bundle, list)
			}
			if r.Status == OK {
				return nil
			}
			return daemon.WithCode(codes[r.Status], errors.New(r.verdict()))
		},
	}
	s.Define(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&bundle, "bundle", "", "also write an archive for support, without secrets, to this `file` (.tar.gz)")
	return c
}

// verdict says in a line what is wrong.
func (r *Report) verdict() string {
	if r.Counts.Fail > 0 {
		return fmt.Sprintf("something is broken: %d fail, %d warn", r.Counts.Fail, r.Counts.Warn)
	}
	return fmt.Sprintf("something is to be looked at: %d warn", r.Counts.Warn)
}

func printEntries(w io.Writer, path string, list []Entry) {
	fmt.Fprintf(w, "\n%s has, for its owner alone to read:\n", config.Printable(path))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range list {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", e.Name, config.Approximate(uint64(e.Bytes)), e.What)
	}
	t.Flush()
}

// Serve defines how a daemon tells about itself, from now on.
func Serve(mux *http.ServeMux) {
	self := NewSelf()
	mux.Handle("GET /about", control.Handle(func(context.Context, struct{}) (About, error) { return self.About(), nil }))
}

// Ask asks the daemon that has a folder about itself.
func Ask(ctx context.Context, dir string) (a About, err error) {
	err = control.Call(ctx, dir, http.MethodGet, "/about", nil, &a)
	return a, err
}

// Configuration is the check of a configuration: err is what its parser said, good what
// to say if there is none.
func Configuration(file, good string, err error) Check {
	return Check{Group: "configuration", Name: "configuration", Run: func(context.Context) []Finding {
		if err == nil {
			return []Finding{Good("%s", good)}
		}
		var problems config.Problems
		if !errors.As(err, &problems) {
			return []Finding{Bad("correct it", "%s is wrong", file).more(err.Error())}
		}
		// What a problem quotes stays on this machine.
		p := problems[0]
		text := fmt.Sprintf("%s is wrong", file)
		if p.Line > 0 {
			text = fmt.Sprintf("%s:%d:%d: %s is wrong", file, p.Line, p.Column, p.Key)
			if p.Key == "" {
				text = fmt.Sprintf("%s:%d:%d is wrong", file, p.Line, p.Column)
			}
		}
		if n := len(problems); n > 1 {
			text += fmt.Sprintf(", and %d more", n-1)
		}
		return []Finding{Bad("correct it; the daemon does not start with it", "%s", text).more(problems.Error())}
	}}
}

func (f Finding) more(detail string) Finding {
	f.Detail = detail
	return f
}

// FolderIn returns what a configuration that is wrong says of its folder, "" if that
// cannot be told: the rest can be looked at all the same.
func FolderIn(data []byte) string {
	var c struct {
		Dir string `yaml:"dir"`
	}
	if parseYAML(data, &c) != nil || strings.Contains(c.Dir, "$") {
		return ""
	}
	return c.Dir
}

// SamePath reports whether two paths name one place, as far as their names tell.
func SamePath(a, b string) bool {
	x, err := filepath.Abs(a)
	y, yerr := filepath.Abs(b)
	return err == nil && yerr == nil && x == y
}
