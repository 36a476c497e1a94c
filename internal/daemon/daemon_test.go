package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestCodeOf(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name string
		err  error
		want Code
	}{
		{"nil", nil, OK},
		{"nil with a code", WithCode(TryLater, nil), OK},
		{"no code", cause, No},
		{"a code", WithCode(Unknown, cause), Unknown},
		{"wrapped", fmt.Errorf("x: %w", WithCode(TryLater, cause)), TryLater},
		{"the outer wins", WithCode(BadConfig, WithCode(TryLater, cause)), BadConfig},
		{"problems", fmt.Errorf("x: %w", config.Problems{{File: "f"}}), BadConfig},
		{"problems with a code", WithCode(Usage, config.Problems{{File: "f"}}), Usage},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if !errors.Is(WithCode(No, cause), cause) {
		t.Error("the cause is lost")
	}
}

func program(t *testing.T, run func(*cobra.Command) error) *cobra.Command {
	root := &cobra.Command{Use: "program"}
	do := &cobra.Command{Use: "do", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, _ []string) error { return run(c) }}
	log := AddLogFlags(do.Flags())
	do.PreRun = func(*cobra.Command, []string) {
		cfg := config.Log{Format: config.LogJSON}
		log.Over(&cfg)
		t.Logf("%+v", cfg)
	}
	root.AddCommand(do, VersionCommand("program", 1))
	return root
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args   string
		err    error
		code   Code
		stderr string
	}{
		{"do", nil, OK, ""},
		{"do", errors.New("it failed"), No, "program: it failed\n"},
		{"do", WithCode(TryLater, errors.New("full")), TryLater, "program: full\n"},
		{"do --bogus", nil, Usage, "unknown flag: --bogus"},
		{"do --log-level loud", nil, Usage, "write debug, info, warn or error"},
		{"do --log-level warn --log-format text", nil, OK, ""},
		{"do a b", nil, Usage, "Run 'program do --help'"},
		{"bogus", nil, Usage, `unknown command "bogus"`},
		{"", nil, OK, ""},
		{"do --help", nil, OK, ""},
		{"version", nil, OK, ""},
	} {
		var out, stderr bytes.Buffer
		root := program(t, func(*cobra.Command) error { return c.err })
		code := Run(context.Background(), root, strings.Fields(c.args), strings.NewReader(""), &out, &stderr)
		if code != c.code || !strings.Contains(stderr.String(), c.stderr) || (c.stderr == "") != (stderr.Len() == 0) {
			t.Errorf("%q: code %d, stderr %q; want %d, %q", c.args, code, &stderr, c.code, c.stderr)
		}
		if c.args == "version" && !strings.HasPrefix(out.String(), "fieldpost program ") {
			t.Errorf("version prints %q", &out)
		}
	}
}

func TestLogger(t *testing.T) {
	for format, want := range map[config.LogFormat]string{
		config.LogJSON: `"msg":"hello"`, config.LogText: "msg=hello", config.LogAuto: "msg=hello",
	} {
		var out bytes.Buffer
		log := Logger(&out, config.Log{Level: slog.LevelWarn, Format: format})
		log.Info("silent")
		log.Warn("hello", "wait", 1500*time.Millisecond)
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) || !strings.Contains(got, "1.5s") {
			t.Errorf("%s: %q", format, got)
		}
	}
}
