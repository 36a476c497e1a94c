package service

import (
	"context"
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
