//go:build !windows

package service

// Config returns the path of a service's configuration; name is agent or collector.
func Config(name string) string { return "/etc/fieldpost/" + name + ".yaml" }

// Data returns the path of a service's folder; name is agent or collector.
func Data(name string) string { return "/var/lib/fieldpost/" + name }

// account names the account that the daemon runs under.
func (d *Daemon) account() string { return d.User }
