// Package failedio lets each single operation on a disk fail, one after another,
// under a real agent and under a real collector, and sees whether they go on by
// themselves.
//
//	parent                                          children (this binary again)
//	------                                          ------
//	oracle <-- "try", "accepted", "refused" ------- agent ------- link -------> collector
//	   |       script: open, send, cut the link,      |                             |
//	   |       close, open, drain, power cut ...      v FUSE                        v FUSE
//	   |                                          lossy.Disk                    lossy.Disk
//	   |       the plan: "the 3rd write           every lookup, read, page-in, write, sync,
//	   |       of a segment while sending" ---->  rename ... is asked for here, and may fail
//	 judge <-- what the journal holds, its audit, the agent's status
//
// A life is always the same script, of phases that have names. A dry life counts
// the operations of each phase, by kind and by the kind of file; then each of
// them, a [Target], fails in a life of its own, in each [Mode] that makes sense:
// EIO, ENOSPC, EDQUOT, EROFS or EMFILE, once or for a while, alone or with all others, not
// done or done all the same.
//
// # What it proves
//
// No process dies or hangs. Whatever fails, once it does not any more, the same
// processes go on without being asked: each lane accepts, and all is delivered;
// only an opening may fail, with an error that says why, and the next one
// succeeds. At the end the oracle of package internal/oracle finds every accepted
// message in the journal once and in order, none that was refused, and of those
// whose outcome was unknown each at most once; nothing was dropped, forked,
// quarantined or declared lost; the journal's audit has no finding; closed agents
// and collectors leave no goroutine behind.
//
// In the middle of a life the power is cut on both sides. A sync that fails loses
// half of what it should have written, and the next one says yes, as Linux does:
// so who believes a disk after a failed sync is caught there.
//
// # What it does not
//
// The kernel keeps nothing back (lossy.MountUncached): names, attributes and reads
// are asked for each time, and pages of mapped files after each write to them. A
// page that is in memory and not written to is not read again, as on any disk.
// What an ordinal meets is not quite the same in each life, because goroutines
// race: a target that did not come is counted as such. Two faults never fall into
// one life.
package failedio
