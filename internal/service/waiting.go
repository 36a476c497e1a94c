package service

import (
	"context"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// NotifyWaiting tells systemd that the daemon is up and waits for something, which
// "systemctl status" shows, and until ctx is done that it lives. [Notify] follows once
// it waits no longer. It returns when ctx is done.
func NotifyWaiting(ctx context.Context, log *slog.Logger, status string) {
	say := func(what string) {
		if _, err := sd.SdNotify(false, what); err != nil {
			log.Warn("systemd cannot be told how this service does", "error", err)
		}
	}
	say(sd.SdNotifyReady + "\nSTATUS=" + status)
	defer say("STATUS=")
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	for {
		say(sd.SdNotifyWatchdog)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
