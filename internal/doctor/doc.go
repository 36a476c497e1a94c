// Package doctor examines a machine on which an agent or a collector runs, or should:
// one line a check, each ok, warn or fail with the next step.
//
//	checks --Run: all at once, each with its own time--> Report --Print--> people
//	   |                                                    |---JSON----> programs
//	   +- names -> route -> port -> tls                     +---Bundle--> support, without secrets
//	   +- clock, disk, fsync, permissions, service, limits
//	   +- what a program knows itself: queue, link, journal
//
// A check is a function that returns findings. It may need others: if one of those
// fails, it is not made and says so, so that a name that does not resolve does not
// show as five faults. A check that does not come back in time is left alone (a dead
// network file system answers nobody) and counts as failed.
//
// The package promises: nothing on the machine is changed, but for one nameless file
// in the data folder, which measures fsync and is gone before the answer; no session
// of an agent is disturbed, because the check of the link ends before the collector
// grants one; and a run ends within its limit whatever hangs. What cannot be looked
// at for lack of rights is said to be so, not passed over.
//
// What it does not do: repair.
package doctor
