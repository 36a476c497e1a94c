// Package queue is one lane on disk: a durable first-in-first-out queue of
// messages, which numbers them, keeps them until a store has them, and can say
// what became of each.
//
//	Put ---+                                   lane's folder
//	Put ---+--> group --> batches --> one      0000000007-...00000000000000004711.seg   older: data only
//	Put ---+    (one writer goroutine)  commit 0000000008-...00000000000000009120.seg   newest: data and the whole state
//	                                     |     lock  memo  ballast  dead/  quarantine/
//	                  in memory, bounded +---> Next(n) --> link --> store
//	                                                                 |
//	             a segment is deleted when all in it is acked <-- Ack(w)
//
// # What lies on disk
//
// A lane is a folder of segments, each a bbolt database of bounded size, named by
// its ordinal and the first number it can hold. Batches are appended to the
// newest one and never deleted singly; a file goes as a whole once everything in
// it is acked or dropped. The newest segment also holds all that the lane knows
// about its stream (epoch, boundaries, acks per store, tombstones, the next
// number), so an older one can be lost without harm to the rest, and opening a
// lane reads one file, however much is queued. Every record has a checksum;
// record.go has the bytes.
//
// # What it promises
//
//   - Put returns nil only when the messages are on disk, all or none; unless the
//     lane is set to an interval. An error that is neither [ErrUncertain] nor
//     [ErrDropped] means that certainly none of them is.
//   - A number, once taken, stands for the same bytes for ever. After a failed
//     sync the file is sealed, and the same bytes under the same numbers go into
//     a new one (rule 5).
//   - Next, Streams and Announce show synced state only (rule 6).
//   - A number leaves the lane by an ack, or by a tombstone that travels in its
//     place: of a limit, of age, of an operator, of damage. What cannot be read
//     any more is searched for in the bytes of its file, and only then given up:
//     with a tombstone, a copy of the file in the folder quarantine, and a line in
//     the log.
//   - A full disk, a damaged file, a folder that is taken away are states: Put
//     says so, and the lane resumes by itself. It keeps 256 KiB as ballast, so
//     that also on a full disk it opens, drains, and gives the room of what is
//     delivered back.
//   - Its limits are caps: what its files take is never more than MaxBytes, and
//     FreeSpace stays free.
//   - A message expires by time that has certainly passed, whatever clocks say.
//   - Memory does not depend on the backlog.
//
// # What it does not
//
// It does not decide whether a store may be obeyed: the caller checks that before
// [Queue.Welcome]. It opens no connection; a transport drives it through Streams,
// Welcome, Next, Ack, Reject and Announce. A [Queue] has one stream; a [Lane] is one
// or several of them, for messages that go ahead of a backlog.
//
// # Where to read on
//
// put.go, policy.go and writer.go are the way in; rotate.go makes and deletes
// segments; metapage.go has why one sync a commit is enough; tree.go reads what
// bbolt wrote; ballast.go is for a full disk, age.go for time; recover.go opens a
// folder; next.go, files.go and salvage.go are the way out;
// lane.go and split.go have lanes of several streams, letters.go dead letters;
// view.go looks at a stream without touching it, for contents.go, messages.go and
// purge.go; memo.go notices that the newest file is gone, aside.go searches quarantine;
// welcome.go is the pure decision of rules 1 and 2, state.go the state that all
// of them share. Not obvious: on overlap the newer file wins, so a lookup goes
// from the newest segment down; a bbolt handle that met a fault is abandoned and
// never closed; and a transaction's outcome has three values, not two (change.go,
// segment.go).
package queue
