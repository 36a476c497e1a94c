// Package service makes a daemon a service of the machine it is on.
//
//	agent service install --collector HOST:4717
//	   |
//	   +-- account    fieldpost, which owns the data and can log in nowhere
//	   +-- folders    /etc/fieldpost, /var/lib/fieldpost/agent (0700)
//	   +-- config     /etc/fieldpost/agent.yaml, from the flags; one that is there stays
//	   +-- unit       systemd: our own, hardened, with a watchdog; else what
//	                  kardianos/service writes (OpenRC, SysV, launchd)
//
// Each step looks first whether it is done, so that installing twice is harmless,
// and a dry run prints what would be done. Uninstalling keeps the data unless it is
// told to purge.
//
// Inside the daemon [Notify] tells systemd that it is ready, that it lives, and
// that it stops.
package service
