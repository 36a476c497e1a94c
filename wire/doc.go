// Package wire is Fieldpost's one encoding: what a batch, an entry and a frame
// look like as bytes. The same bytes lie in the agent's queue, travel on the
// link and lie in the collector's journal; no hop encodes a batch again and
// every hop verifies it.
//
//	Message --AppendRecord--> record \
//	Message --AppendRecord--> record  >--AppendBatch--> batch --AppendData--> frames
//	Message --AppendRecord--> record /                    |
//	                                                      +--> queue and journal, as it is
//
// From the inside out:
//
//   - A [Message] is what a user sends. Encoded it is a record.
//   - A batch is a run of records of one stream and one incarnation, compressed
//     or not, with a header and a CRC-32C over all of it; see [ParseBatch].
//   - An [Entry] is what a stream carries for a run of sequence numbers: a batch
//     (or part of one), or a tombstone.
//   - A frame is what the link carries; see [ReadFrame]. Hot frames are fixed
//     binary, control frames are JSON so that they can grow.
//   - A [History] says which incarnation wrote which numbers. Comparing two of
//     them finds the common point of two copies of a stream, as terms do in Raft
//     (Ongaro and Ousterhout 2014, section 5.3, the log matching property).
//
// The package has no goroutines, opens nothing, logs nothing and imports none of
// Fieldpost's packages. Every parser checks a declared size against a limit
// before it allocates, and returns an error for any input that is not exactly
// what the encoder produces; none panics. Control frames alone may have fields
// that are not known here, and compressed records any form that gives them back.
//
// docs/PROTOCOL.md has the offset tables.
package wire
