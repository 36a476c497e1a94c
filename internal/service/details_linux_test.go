package service

import (
	"testing"
	"time"
)

func TestWhatSystemdSaysOfAUnit(t *testing.T) {
	for _, c := range []struct {
		name, out string
		want      Details
	}{
		{"nothing of it", "LoadState=not-found\nActiveState=inactive\nUnitFileState=\nNRestarts=0\nResult=success\nMainPID=0\n",
			Details{Platform: "linux-systemd", State: "stopped"}},
		{"running", "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nNRestarts=2\nResult=success\nMainPID=77\nActiveEnterTimestamp=Sun 2026-11-22 10:00:00 UTC\nUser=fieldpost\nNeedDaemonReload=no\n",
			Details{Platform: "linux-systemd", Installed: true, State: "running", Boot: Yes, Restarts: 2, PID: 77, User: "fieldpost", Since: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}},
		{"failed by its watchdog, disabled, changed", "LoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nNRestarts=5\nResult=watchdog\nNeedDaemonReload=yes\n",
			Details{Platform: "linux-systemd", Installed: true, State: "failed", Boot: No, Restarts: 5, Result: "watchdog", Stale: true}},
		{"it ended with 78", "LoadState=loaded\nActiveState=failed\nUnitFileState=enabled\nNRestarts=0\nResult=exit-code\nExecMainStatus=78\n",
			Details{Platform: "linux-systemd", Installed: true, State: "failed", Boot: Yes, Result: "exit code 78"}},
	} {
		if got := parseUnit(c.out); got != c.want {
			t.Errorf("%s: %+v\nwant %+v", c.name, got, c.want)
		}
	}
}
