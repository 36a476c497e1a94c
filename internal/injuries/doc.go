// Package injuries damages the folders of real lanes, thousands of times, and
// judges from outside what becomes of them.
//
//	life: Put, deliver, reject, drop, reopen, kill  -->  lane's folder  <-- injury: a flipped bit, a zeroed
//	        |                                               |               page, a file cut, missing, exchanged,
//	        v                                               v               another's, a failing disk, ...
//	what was put, what the files still hold whole   opened again, drained into a store
//	        +----------------> judge <----------------------+
//
// A seed draws a life (policy, codec, streams that go ahead of a backlog, dead
// letters, tombstones, kills) and one or several injuries, at rest or in the
// middle of it; places are chosen by the kind of page, so that a branch page or
// the list of free pages is met as often as the many pages of batches. What is
// still whole is found by a search of the injured files for batches with a good
// checksum, by this package and not by the queue.
//
// Files of two streams that were exchanged are told apart by the memos beside them; without
// those the lane refuses to open, and says what is to be moved.
//
// Wrong is: a lane that cannot be opened, or does not take and deliver new
// messages within five seconds; a message that was not put, or under another number;
// one that is stored twice; a tombstone for damage in the place of a message
// whose batch is whole; a message that was lost and has none; a number that the store
// cannot explain; a second opening that finds something to complain about.
// A message of the lane's last commit, if nothing followed it and the lane was not
// closed in order, may be gone without a word, as after a power cut; so may what
// only a newest segment knew that is damaged together with the memo beside it: where
// the store had heard of it, its ledger must say so. The lane's counts of drops are the
// store's.
//
// Beside the queue, in a process of its own that may die or hang, bbolt reads the
// same files: by the keys that are known to be in them, and by a cursor.
//
// `go test ./internal/injuries -seed N` plays one seed again; `make injuries`
// plays many and prints the table of docs/RELIABILITY.md.
package injuries
