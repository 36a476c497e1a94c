package service

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

func look(ctx context.Context, d Daemon) (Details, error) {
	// sd_booted(3): whether systemd runs this machine.
	if info, err := os.Lstat("/run/systemd/system"); err != nil || !info.IsDir() {
		return general(d)
	}
	c := exec.CommandContext(ctx, "systemctl", "show", "--property="+unitProperties, "--", d.Name+".service")
	c.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := c.Output()
	if err != nil {
		return Details{Platform: "linux-systemd", Restarts: -1}, fmt.Errorf("systemctl show %s: %w", d.Name, err)
	}
	return parseUnit(string(out)), nil
}

// unitProperties are what is asked of systemd.
const unitProperties = "LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,MainPID,ActiveEnterTimestamp,InactiveEnterTimestamp,NeedDaemonReload,User,ExecMainStatus"

// parseUnit reads what "systemctl show" prints.
func parseUnit(out string) Details {
	d := Details{Platform: "linux-systemd", Restarts: -1}
	v := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			v[key] = value
		}
	}
	d.Installed = v["LoadState"] != "" && v["LoadState"] != "not-found"
	since := v["InactiveEnterTimestamp"]
	switch v["ActiveState"] {
	case "active":
		d.State, since = "running", v["ActiveEnterTimestamp"]
	case "activating", "reloading":
		d.State = "starting"
	case "failed":
		d.State = "failed"
	default:
		d.State = "stopped"
	}
	switch v["UnitFileState"] {
	case "enabled", "enabled-runtime", "static", "linked", "alias", "generated":
		d.Boot = Yes
	case "disabled", "masked", "masked-runtime":
		d.Boot = No
	}
	if n, err := strconv.Atoi(v["NRestarts"]); err == nil {
		d.Restarts = n
	}
	d.PID, _ = strconv.Atoi(v["MainPID"]) // 0 if it says nothing
	if r := v["Result"]; r != "success" {
		d.Result = r
		if s := v["ExecMainStatus"]; r == "exit-code" && s != "" {
			d.Result = "exit code " + s
		}
	}
	if t, err := time.Parse("Mon 2006-01-02 15:04:05 MST", since); err == nil {
		d.Since = t
	}
	d.Stale = v["NeedDaemonReload"] == "yes"
	d.User = v["User"]
	return d
}
