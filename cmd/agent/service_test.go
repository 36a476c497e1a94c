package main

import (
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// What "service install" writes is a configuration that says what the flags said.
func TestServiceConfiguration(t *testing.T) {
	for _, args := range [][]string{nil, {"--id", "pump-7", "--collector", "127.0.0.1:4717", "--collector", "127.0.0.1:4718", "--log-level", "warn"}} {
		var s settings
		f := pflag.NewFlagSet("install", pflag.ContinueOnError)
		s.addID(f)
		s.addLink(f)
		s.log = daemon.AddLogFlags(f)
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		text, err := s.render()
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.ParseAgent("agent.yaml", text, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if c.Dir != filepath.FromSlash(serviceData) {
			t.Errorf("dir %s", c.Dir)
		}
		if len(args) > 0 && (c.ID != "pump-7" || len(c.Collectors) != 2 || c.Log.Level.String() != "WARN") {
			t.Errorf("%+v of\n%s", c, text)
		}
	}
}
