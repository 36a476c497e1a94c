package service

import (
	"fmt"
	"strings"
	"time"
)

// Daemon is what is made a service.
type Daemon struct {
	Name        string   // of the service: fieldpost-agent
	Description string   // one line
	Program     string   // path of the executable
	Args        []string // of the executable
	Config      string   // path of the configuration
	Data        string   // folder that belongs to the service's account alone
	User        string   // account it runs under
	MemoryMax   int64    // bytes
	Files       int      // descriptors it may have open
}

// watchdog is how long a daemon may be silent before systemd kills it.
const watchdog = 30 * time.Second

// Unit returns the daemon's systemd unit. What it forbids is what a daemon that
// reads files, keeps a folder of its own and speaks TCP has no need of;
// "systemd-analyze security --offline=true" rates it (see docs/OPERATIONS.md).
func (d *Daemon) Unit() string {
	words := []string{quote(d.Program)}
	for _, a := range d.Args {
		words = append(words, quote(a))
	}
	// Restarts: at once, but not for ever in a tight loop; and not at all where the
	// configuration is wrong or the folder another's (78), which no restart mends. A reload
	// asks the daemon and ends when that has answered, so systemctl tells what is wrong; the
	// daemon tells systemd of it as well, for whoever sends it SIGHUP.
	return fmt.Sprintf(`[Unit]
Description=%[1]s
Documentation=file:///usr/share/doc/%[10]s/OPERATIONS.md
After=network.target
StartLimitIntervalSec=300
StartLimitBurst=60

[Service]
Type=notify
NotifyAccess=main
ExecStart=%[2]s
ExecReload=%[9]s
Restart=always
RestartSec=500ms
RestartPreventExitStatus=78
WatchdogSec=%[3]d
TimeoutStartSec=90
TimeoutStopSec=20
User=%[4]s
Group=%[4]s
UMask=0077
StateDirectory=%[5]s
StateDirectoryMode=0700
ReadWritePaths=%[6]s
MemoryMax=%[7]d
TasksMax=512
LimitNOFILE=%[8]d
OOMPolicy=stop

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateUsers=yes
PrivateIPC=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`, d.Description, strings.Join(words, " "), int(watchdog.Seconds()), d.User, strings.TrimPrefix(d.Data, "/var/lib/"), quote(d.Data), d.MemoryMax, d.Files,
		quote(d.Program)+" reload --config "+quote(d.Config), d.Name)
}

// quote writes one word of a unit's command line (systemd.service(5), "Command
// lines"): in it a percent sign and a dollar stand for something else.
func quote(s string) string {
	s = strings.NewReplacer(`%`, `%%`, `$`, `$$`).Replace(s)
	if s != "" && !strings.ContainsAny(s, " \t\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}
