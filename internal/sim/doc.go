// Package sim runs whole agents against a whole collector in one synctest
// bubble: package agent with its real queue files, faultnet's network in memory,
// collector.Server over a store. A seed draws a schedule of sends and faults;
// after it everything is healed, everything must drain, and package oracle
// compares what was accepted with what is stored.
//
//	machine ----- line -----+
//	  disk: folder          +-- center: collector, store
//	machine ----- line -----+             disk: journal (every third schedule)
//	(perhaps a clone)
//
// What may happen: links are cut, stalled, half open, one-way, slow; processes are
// restarted and killed; steps on either side's disk fail, once or for a while;
// folders are put back and cloned; a journal is set back, a store replaced by
// another. Sticks with carry files go from the machines to the center, in every
// fourth schedule many, and their receipts back: late, twice, in any order, also
// beside a link that delivers the same. A kill is a copy: when every goroutine of
// the bubble is blocked, or, by a hook of package durable, between two steps on the
// disk, the folder is copied as it is; the old process is cut off for ever, and what
// it answers from then on counts as uncertain; a new one opens the copy. With the
// flag -power such a copy may lose what was not synced.
//
// In every third schedule the lanes have limits, ages, policies for what has no
// room, compression, priorities and perhaps an interval, and the store may refuse
// messages for good, and an operator may purge lanes. What a lane with an interval
// accepted within the last one before a kill counts as uncertain. In all schedules
// every other lane goes live first after an outage of some seconds. Of the journals
// every third keeps messages for some seconds only; a reader that follows it has
// all that was stored, as somebody who exports by a cursor would.
//
// What must hold: package oracle's verdict; nothing is missing but what a true
// declaration names, and then only where a store was set back or replaced, or what
// has a tombstone. Each stream's entries are a partition of its numbers up to W,
// and W is the agent's last number in the end; the order of a lane that goes live
// first is that of each of its streams; each message that is not stored and
// was not refused has a tombstone of its own that fits it (its number, its reason,
// its time), and each tombstone such a message; what has one is not stored; nothing
// expires early or stays long after its age. No lane forks unless something was
// copied; no quarantine; the audit finds nothing else, and counts as the entries
// do. What is never seen is no proof: the histories that must be among 2,000
// schedules are counted, by what the product says and does.
//
// What it does not do: power cuts that take names (rigs/powercut), damaged files
// (internal/injuries), a process whose memory goes back (an opening always begins a
// new incarnation, so this cannot be had from outside).
//
// A failure prints its seed and its log of events. `go test ./internal/sim -seed
// N` plays that schedule again, with the same random ids; the order in which
// goroutines run is not quite the seed's (docs/RELIABILITY.md says how often a
// schedule goes the same way), so a rare failure may take -count.
package sim
