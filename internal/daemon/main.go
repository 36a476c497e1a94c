package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fieldpost/fieldpost/internal/config"
)

// prefix is what a package puts before a program's name.
const prefix = "fieldpost-"

// Main runs root with the process's arguments and returns the exit code. The
// command's context ends with the first SIGINT or SIGTERM; the second one kills
// the process.
func Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	if name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"); strings.HasPrefix(name, prefix) {
		root.Use = name // so that help and completion name the program as it is installed
	}
	return int(Run(ctx, root, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Run runs root with args and returns how it ended; its error is printed to
// stderr. An error that comes before the command's own code has run is the
// command line's.
func Run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) Code {
	ran := false
	observe(root, &ran)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(suggest)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return OK
	}
	if !ran {
		text := err.Error()
		if strings.Contains(text, " arg(s), ") { // which the library counts without saying what they are
			text += "; write: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
		}
		fmt.Fprintf(stderr, "%s: %s\nRun '%s --help' for how to use it.\n", root.Name(), text, cmd.CommandPath())
		return Usage
	}
	// A library's errors begin with its own name, which may be the program's.
	text, name := err.Error(), strings.TrimPrefix(root.Name(), prefix)+": "
	for strings.HasPrefix(text, name) {
		text = text[len(name):]
	}
	fmt.Fprintf(stderr, "%s: %s\n", root.Name(), text)
	return CodeOf(err)
}

// suggest names the flag that was meant, if one is near.
func suggest(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return err
}

// observe makes every command below c note that its own code has been reached.
func observe(c *cobra.Command, ran *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*ran = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		observe(sub, ran)
	}
}
