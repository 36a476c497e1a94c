package main

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/fieldpost/fieldpost/internal/config"
)

// What "service install" writes is a configuration that says what the flags said.
func TestServiceConfiguration(t *testing.T) {
	for _, args := range [][]string{nil, {"--listen", "127.0.0.1:1", "--http", "off", "--replaces", "any", "--log-format", "json"}} {
		var s settings
		f := pflag.NewFlagSet("install", pflag.ContinueOnError)
		s.addServer(f)
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		text, err := s.render()
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.ParseCollector("collector.yaml", text, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if c.Dir != serviceData {
			t.Errorf("dir %s", c.Dir)
		}
		if len(args) > 0 && (c.Listen != "127.0.0.1:1" || c.HTTP != "" || !c.Replaces.Any || c.Log.Format != config.LogJSON) {
			t.Errorf("%+v of\n%s", c, text)
		}
	}
}
