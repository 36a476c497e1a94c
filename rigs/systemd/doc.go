// Package systemd runs agent and collector as services under a real systemd.
//
//	this machine                      a machine made of it
//	  /            --overlay on tmpfs--> /            written to, and forgotten
//	  bin/agent    ------------------->  /usr/bin/fieldpost-agent
//	  go test      --systemd-nspawn--->  PID 1: systemd, a network of its own
//	               --nsenter---------->  systemctl, fieldpost-agent, journalctl
//
// It needs root and systemd-nspawn (Debian: systemd-container). Where they are
// missing the tests are skipped by name, and fail under CI=true.
package systemd
