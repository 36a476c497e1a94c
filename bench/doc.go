// Command bench measures Fieldpost with real processes on this machine, and the
// limits beside it in the same run. It runs on Linux.
//
//	go run . [-rounds 5] [-dir DIR] [queue | wear | end | space | backlog | journal | idle]...
//
//	parent --+-- rpc over stdin and stdout --> child "lane":      a queue, or a plain log
//	         +-- ----------------------------> child "agent":     package agent, with a door for producers outside
//	         +-- ----------------------------> child "collector": package collector with its journal
//	         +-- ----------------------------> child "shelf":     a journal, to be opened, audited and exported
//	         +-- ----------------------------> child "fleet":     the links of thousands of idle agents
//
// The measures:
//
//   - queue: one lane against append + fdatasync with the same group commit, the
//     file plain and with its space set aside beforehand; 1, 64 and 256 producers.
//   - wear: bytes written and on disk, and syncs, for a message, by rate, by
//     compression, and synced at once or in intervals.
//   - end: messages into an agent without a collector, then the drain of that
//     backlog, then a steady rate; and the drain against append + fdatasync of
//     what the journal wrote, in as many steps.
//   - space: 1 GiB drains while messages are accepted; how long a put takes
//     meanwhile, and when the room is back.
//   - backlog: open, put and drain with 0, 1 and 10 million messages queued, after
//     kill -9 and with nothing of the lane in the page cache.
//   - journal: open, audit and export of a journal of 0, 1 and 10 million
//     messages, with nothing of it in the page cache.
//   - idle: what the collector needs for 15,000 idle agents, in the clear and with
//     TLS: handshakes, memory, CPU and bytes at the default heartbeat.
//
// What is compared alternates, A B A B, and what is reported is the median; so
// trust the ratios, and the absolute figures only on a quiet machine. Bytes
// written are those handed to write(2). CPU, syncs and bytes per message hold
// anywhere: the test of this package gates them.
//
// What it does not measure: the rivals (docs/BENCHMARKS.md says how they were
// run), the network.
package main
