// Package transport drains an agent's lanes over one link to a collector. It
// dials, shakes hands, sends, takes acks, notices when the link is dead, and
// comes back; for as long as its context lives.
//
//	             Client.Run, and while a link lives:
//
//	Source --+                  +-> outbox -> writer ==+
//	Source --+--> pump ---------+             (pings)  |   one TCP link
//	Source --+     ^                                   +== collector
//	               +-- acks, rejects <------- reader ==+
//
// The pump runs on Run's goroutine. It alone calls the sources, so a slow disk
// never keeps the writer from sending pings, nor the reader from taking acks; and
// a slow link never keeps acks from the sources. Lanes take turns after every
// fragment of a batch (turns.go): higher priorities first, equals in turn, and a
// lower lane keeps a share. Each lane has its own window of bytes without an
// answer. Where priorities differ, pings between the data measure how much is on
// its way, and little of it may be (flow.go): the kernel, the routers and the
// collector's kernel let nothing overtake.
//
// What it promises:
//
//   - It sends only what a [Source] shows, and calls Ack and Reject only with
//     what the collector said for something that was sent on this very link.
//   - A store that the lanes have not obeyed before, and that does not say that it
//     replaces theirs, is sent nothing but a goodbye (rule 4).
//   - A message of the highest priority is stored within about a second and a
//     round trip, however slow the line and however much lower lanes have to send.
//   - A link that carries nothing, or only one way, is noticed within two
//     heartbeat intervals and one second, whatever the disk and the store do.
//   - Whatever a peer sends, it ends in a clear error and another attempt.
//
// What it does not: it keeps nothing on disk, and nothing in memory that would be
// missed after a crash. A message counts as delivered when its source says so.
package transport
