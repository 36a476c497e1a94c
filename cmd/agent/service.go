package main

import (
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/service"
)

// Where a service has its things.
var (
	serviceConfig = service.Config("agent")
	serviceData   = service.Data("agent")
)

func serviceCommand() *cobra.Command {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	var s settings
	return service.Command(service.Setup{
		Daemon: service.Daemon{
			Name: "fieldpost-agent", Description: "Fieldpost agent: keeps messages on disk until a collector has stored them",
			Program: program, Args: []string{"run", "--stay", "--config", serviceConfig},
			Config: serviceConfig, Data: serviceData, User: "fieldpost", MemoryMax: 512 << 20, Files: 8192,
		},
		Root: root,
		Define: func(c *cobra.Command) {
			s.addID(c.Flags())
			s.addLink(c.Flags())
			s.log = daemon.AddLogFlags(c.Flags())
		},
		Config: s.render,
	})
}

// render returns the configuration file that the flags of "service install"
// become.
func (s *settings) render() ([]byte, error) {
	if _, err := s.load(); err != nil {
		return nil, err
	}
	keys := yaml.MapSlice{}
	if s.given.id != "" {
		keys = append(keys, yaml.MapItem{Key: "id", Value: s.given.id})
	}
	keys = append(keys, yaml.MapItem{Key: "dir", Value: serviceData})
	if len(s.addresses) > 0 {
		keys = append(keys, yaml.MapItem{Key: "collectors", Value: s.addresses})
	}
	if s.insecure {
		keys = append(keys, yaml.MapItem{Key: "insecure_plaintext", Value: true})
	}
	if log := s.log.Keys(); log != nil {
		keys = append(keys, yaml.MapItem{Key: "log", Value: log})
	}
	text, err := yaml.Marshal(keys)
	return append([]byte("# All settings are in OPERATIONS.md; \"agent validate FILE\" checks this one.\n"), text...), err
}
