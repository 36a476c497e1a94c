// Package carry has the two files that travel where there is no link: the carry
// file, with what an agent has for its store, and the receipt that the import of
// one gives back.
//
//	agent's queue --Writer--> FILE --by hand--> Reader --> the collector's store
//	      ^                                                       |
//	      +--- ParseReceipt <--by hand-- FILE.receipt <-- Receipt-+
//
// A carry file holds what a hello tells of each stream, and then the batches byte
// for byte as they lie in the queue. It is written and read as a stream: neither
// side's memory depends on how much is in it. Every block has a checksum that
// begins with the file's id, and the end has one of the whole file, so that damage,
// a cut, and blocks of another file are noticed and named.
//
// docs/PROTOCOL.md has the offset tables. The package knows nothing of queues and
// stores; what may be taken from a file, and what a receipt allows, is decided by
// those. Checksums find accidents, not forgery.
package carry
