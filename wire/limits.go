package wire

// Limits of the protocol. Both sides hold to them; a peer that goes beyond one
// is answered with an error before anything is allocated for it.
const (
	MaxName    = 64   // bytes in an agent id or a lane
	MaxTopic   = 1024 // bytes in a topic
	MaxHeaders = 64   // headers of a message
	MaxHeader  = 4096 // bytes in a header's key or value
	MaxReason  = 256  // bytes in a tombstone's or a refusal's detail

	MaxRecord = 1 << 20 // bytes of one encoded message: time, topic, headers and body
	MaxBatch  = 4 << 20 // bytes of a batch's records before compression

	MaxFrame        = 1 << 20  // bytes of a frame's payload
	MaxHello        = 4 << 10  // bytes of a hello's payload
	MaxText         = 128      // bytes in each of a hello's texts for people; longer ones are cut
	MaxPage         = 64 << 10 // bytes of a history page's payload
	MaxPageBounds   = 1024     // boundaries in one history or resume page
	MaxHelloBounds  = 16384    // boundaries of one stream in a hello or resume; the newest are sent
	MaxStreams      = 1024     // streams in one hello
	DefaultFragment = 16 << 10 // bytes of a batch in one data frame
	DefaultWindow   = 4 << 20  // bytes of a lane that may be on their way unacked

	maxStored = MaxBatch + MaxBatch/8 // bytes of a batch's records as stored
)

// minBatchSize is the size of a batch with the shortest lane and one empty message.
const minBatchSize = batchHeader + 1 + minRecord + batchTrailer

// MaxBatchSize is the most bytes a whole encoded batch may have.
const MaxBatchSize = batchHeader + MaxName + maxStored + batchTrailer
