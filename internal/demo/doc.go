// Package demo is `collector demo`: Fieldpost's promise, shown on the machine at
// hand in twenty seconds.
//
//	demo --+-- collector process <-------------+
//	       +-- agent process -- fault proxy ---+   one of each for every agent
//	       +-- agent process -- fault proxy ---+
//	       +-- oracle: what the agents noted <-> what an export shows
//
// The binary starts itself again: one process is a collector with its journal,
// the others embed package agent and send real readings of this host, and with
// --file the lines of a file. Meanwhile the demo cuts links, holds acks back and
// kills an agent and the collector with SIGKILL. At the end it lets everything
// drain and compares, message by message, what each Send promised with what the
// collector's export contains.
//
// The figures shown during the run are the product's own; the comparison at the
// end uses none of them, only package oracle.
//
// Children live no longer than the demo: each holds the reading end of a pipe and
// leaves when it closes.
package demo
