package main

import (
	"cmp"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/service"
)

// Where a service has its things.
var (
	serviceConfig = service.Config("collector")
	serviceData   = service.Data("collector")
)

func serviceCommand() *cobra.Command {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	var s settings
	return service.Command(service.Setup{
		Daemon: service.Daemon{
			Name: "fieldpost-collector", Description: "Fieldpost collector: stores what agents deliver and knows which of them are alive",
			Program: program, Args: []string{"run", "--config", serviceConfig},
			Config: serviceConfig, Data: serviceData, User: "fieldpost", MemoryMax: 2 << 30, Files: 200_000,
		},
		Root:   root,
		Define: func(c *cobra.Command) { s.addServer(c.Flags()) },
		Config: s.render,
	})
}

// render returns the configuration file that the flags of "service install"
// become.
func (s *settings) render() ([]byte, error) {
	c, err := s.load()
	if err != nil {
		return nil, err
	}
	keys := yaml.MapSlice{{Key: "dir", Value: serviceData}}
	if s.listen.Given {
		keys = append(keys, yaml.MapItem{Key: "listen", Value: c.Listen})
	}
	if s.http.Given {
		keys = append(keys, yaml.MapItem{Key: "http", Value: cmp.Or(c.HTTP, config.Off)})
	}
	var replaces []string
	for _, id := range c.Replaces.Stores {
		replaces = append(replaces, id.String())
	}
	if c.Replaces.Any {
		replaces = append(replaces, "any")
	}
	if len(replaces) > 0 {
		keys = append(keys, yaml.MapItem{Key: "replaces", Value: replaces})
	}
	if s.insecure {
		keys = append(keys, yaml.MapItem{Key: "insecure_plaintext", Value: true})
	}
	if log := s.log.Keys(); log != nil {
		keys = append(keys, yaml.MapItem{Key: "log", Value: log})
	}
	text, err := yaml.Marshal(keys)
	return append([]byte("# All settings are in OPERATIONS.md; \"collector validate FILE\" checks this one.\n"), text...), err
}
