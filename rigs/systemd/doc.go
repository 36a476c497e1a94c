// Package systemd runs agent and collector as services under a real systemd.
//
//	this machine                      a machine made of it
//	  /            --overlay on tmpfs--> /            written to, and forgotten
//	  bin/agent    ------------------->  /usr/bin/fieldpost-agent
//	  go test      --systemd-nspawn--->  PID 1: systemd, a network of its own
//	               --nsenter---------->  systemctl, fieldpost-agent, journalctl
//
// TestServices installs them by "service install". TestDebianPackages and
// TestRPMPackages install packages that install/dist has made, upgrade them, see that
// a version which cannot read the data is refused, and remove them; a build with the tag
// fieldpost_laterformat is that later version. TestInstallScript runs install.sh.
//
// It needs root and systemd-nspawn (Debian: systemd-container). Where they are
// missing, or rpm is, the tests are skipped by name, and fail under CI=true.
package systemd
