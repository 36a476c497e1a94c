// Package powercut cuts the power under an agent, and under a collector, at the
// worst moments, and counts afterwards what is left.
//
//	parent                                       child (this binary again)
//	------                                       ------
//	oracle <-- "try 7", "accepted 7" -- pipe --- agent: Send, SendBatch, SendAsync
//	   |                                            |
//	   |       lossy.Disk <------- FUSE ------------+ its folder
//	   |          | cut at the n-th write, sync, rename ...; kill; image; mount
//	   |          v
//	   |       a new child goes on where the disk is, until the next cut;
//	   |       the last one drains
//	 judge <-- collector, with a store in memory
//
// That is a history of [Agent]: several lives of an agent's folder, each ended by a
// power cut, a SIGKILL, or a clean stop with a power cut behind it. In a history of
// [Journal] the child is the collector with its journal, and the agents, on an
// honest disk, are the parent's. The [Medium] is the lossy file system itself, or
// ext4 on a loop device on a file of it: there the disk is lossy, and the file
// system is the kernel's.
//
// # What it proves
//
// The oracle of package internal/oracle is outside of the product: it has what
// Send answered before the cut, and compares that with what the store holds. A
// history of Agent is good if after the drain every accepted message is stored
// once, in its producer's order, and nothing else but messages whose outcome nobody
// knows, and the agent has forked nothing, dropped nothing and found nothing
// damaged. A history of Journal is good if after each cut everything that agents
// were told is stored is in the journal, once, and at the end everything is, the
// audit has no finding, and no agent had to declare a number lost.
//
// The tests run histories by seed, and controls: disks that lie about their
// flushes, and twins of the product that are sabotaged. The controls must be
// caught; a rig that catches nothing proves nothing.
//
// # What it does not
//
// A seed fixes the plan of a history and what chance decides, not how the kernel
// schedules the child: replaying a seed repeats the plan, and mostly the failure.
// Run it several times. What the model of the disk leaves out is in package lossy.
package powercut
