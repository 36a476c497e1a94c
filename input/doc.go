// Package input is what the inputs of the agent daemon have in common: what an
// input is, and how what it reads gets into the agent's lanes exactly once.
//
//	file, tail of a log ...             lane a: messages + checkpoint n
//	  |                                   ^
//	  +--> chunk n = bytes from..to --> Source --(routes)--> lane b: messages + checkpoint n
//	       the next one only when every lane has this one
//
// A [Feed] is one agent's. It gives a [Source] for each thing that is read and has
// positions, as a file. An input reads a piece of it, a [Chunk], and hands it in with
// [Source.Send]: the Source splits it by lane, and each lane stores its part in one
// transaction with a checkpoint that says all of the chunk: its number, where it
// begins and ends, and which bytes are for which lane. So after a crash the highest
// number that any lane has says which chunk was the last to be begun, and each
// lane whether it has its part: [Source.Resume] reads only the bytes that are
// missing again, and hands them in.
//
// # What that promises
//
// Each byte of a source that is read again unchanged gets into a lane once, in
// order within the lane, over crashes at any moment, lanes that are full or fail,
// changed routes and lanes that were taken out of the configuration: a chunk that
// was begun is finished as it was begun, only the part of a lane that is gone goes
// by the routes of now. A full lane makes the input wait.
//
// # What it does not
//
// A lane with a sync interval may lose its last messages in a crash, by explicit
// wish, and its checkpoint with them. An agent's folder that is restored from an
// older copy has the checkpoints of then, and reads again what came after it. What
// is read from a pipe, a command or the machine itself has no positions and cannot
// be read again: there a crash loses what was not yet accepted.
package input
