package service

import (
	"context"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// Notify tells systemd that the daemon is ready, then, for as long as ctx is not
// done, that it lives, and at last that it stops. alive is asked at a third of the
// watchdog's time; while it does not answer nothing is said, so that a daemon that
// hangs is killed and started again. Without systemd it only waits for ctx. It
// returns when ctx is done.
func Notify(ctx context.Context, log *slog.Logger, alive func()) {
	say := func(what string) {
		if _, err := sd.SdNotify(false, what); err != nil {
			log.Warn("systemd cannot be told how this service does", "error", err)
		}
	}
	say(sd.SdNotifyReady)
	defer say(sd.SdNotifyStopping)
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	for {
		alive()
		say(sd.SdNotifyWatchdog)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
