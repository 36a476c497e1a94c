// Package journal is the collector's embedded store: a folder of append-only
// segment files, in which the data of all agents lies in the order in which it
// came, beside all that the store knows of them.
//
//	Hello, Resume, Append of many sessions        Announce, Part
//	            \   |   /                              |  ride along
//	             v  v  v                               v
//	         +-------------+  decide by the ledger, one after another, each on what
//	         |   writer    |  the ones before it have left
//	         +-------------+
//	                | one write, one fdatasync for all of them
//	                v
//	   0000000007.journal:  head | snapshot of everything | record record record ...
//	                |
//	                v
//	   synced:  7, length      then state becomes visible, and callers are answered
//
// The folder:
//
//   - store.json: the store's id and which stores it replaces
//   - lock: held by the collector that has the journal open
//   - NNNNNNNNNN.journal: segments. Each begins with a snapshot of all watermarks,
//     boundaries, fingerprints, counts and agents, so that older segments can go
//     without anything but their data going with them (rule 7), and so that a
//     journal opens by its newest segment alone
//   - synced: how far the journal is synced, for readers beside the collector
//   - removed: what retention has removed, noted before it goes
//   - damaged: files as repair found them; *.foreign, *.misplaced: segments that
//     are another store's, or stood under another one's name and have none
//
// What it promises: what was answered is on disk (with the assumptions of
// docs/DURABILITY.md); a commit is there as a whole or not at all; a failed fsync
// is never trusted afterwards, the same bytes go into a new segment whose own
// fsync decides (rule 5); readers see only what is synced (rule 6); a damaged part
// costs what it held and no more, is named, and never lowers a watermark (rule 7);
// and [Audit] finds every record that was removed, repeated or changed.
//
// Retention, by age or by size, removes the oldest segments whole; the newest
// one's snapshot keeps what was known (retention.go). [Verify] reads every byte,
// [Backup] makes a copy of a journal in use that a collector can start from.
// [Repair] makes a damaged one whole, as far as it can be read. [Explain] says of
// all numbers that are not stored why; [Journal.Accept] takes an operator's word
// for those that nobody can bring back, [Journal.Pasts] tells what happened to
// agents' folders and ids.
//
// What it does not: one process at a time writes it; single messages are not
// deleted from it; reading by time or by agent reads all of it.
//
// Every record has an index, one more than the record before it, and says what
// numbers the record before it settled, so that a lost record is noticed and
// named by its neighbour. See format.go for the offset tables.
package journal
