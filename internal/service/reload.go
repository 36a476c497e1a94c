package service

import (
	"log/slog"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// Reloading tells systemd that the daemon reads its configuration again; what it
// returns tells that it has. Without systemd both do nothing.
func Reloading(log *slog.Logger) (done func()) {
	say := func(what string) {
		if _, err := sd.SdNotify(false, what); err != nil {
			log.Warn("systemd cannot be told how this service does", "error", err)
		}
	}
	say(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec())
	return func() { say(sd.SdNotifyReady) }
}
