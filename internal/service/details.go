package service

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Details are what the service system knows of a daemon.
type Details struct {
	Platform  string    // name of the service system; "": this machine has none
	Installed bool      // it knows the daemon
	State     string    // running, stopped, failed, starting
	Boot      Answer    // whether it starts with the machine
	Restarts  int       // that the service system has made by itself, below 0: not known
	Result    string    // how the last run ended, "" if well or not known
	Since     time.Time // of the state, zero if not known
	PID       int       // of the running daemon, 0 if not known
	Stale     bool      // the unit's file was changed, and the service system has not read it
	User      string    // account that it runs under, "" if not known
}

// Answer is yes or no, if it is known.
type Answer int

// The answers.
const (
	NotKnown Answer = iota
	No
	Yes
)

// Running reports whether the daemon runs.
func (d *Details) Running() bool { return d.State == "running" }

// Look asks the service system about a daemon. It changes nothing. An error means
// that the service system did not answer.
func Look(ctx context.Context, d Daemon) (Details, error) { return look(ctx, d) }

// general is Look by what all service systems have.
func general(d Daemon) (Details, error) {
	m, err := New(d)
	if err != nil {
		return Details{Restarts: -1}, nil // there is none
	}
	out := Details{Platform: m.Platform(), State: m.Status(), Restarts: -1}
	out.Installed = out.State != "not installed"
	return out, nil
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
