// Package ledger holds the rules of the store's side as plain memory: what one
// agent has stored, dropped and announced, which session of it is live, and what
// follows from that for the next hello, resume or append. Every embedded store
// keeps one [Agent] per agent id and only adds the disk.
//
//	hello  --> Match, Hello   --> Granted  --\
//	resume --> Resume         --> Resumed  ---\   the store makes the event
//	ping   --> Announce       --> Announced --->  durable, then applies it
//	data   --> Append         --> Settled  ---/   with the Apply method
//	end    -->                    Parted   --/
//
// The methods on the left decide and change nothing. They return an event. The
// Apply methods change the state by an event and never fail, so that a store can
// rebuild the state by applying its events again, and gets the same bytes from
// [Agent.AppendSnapshot].
//
// What it promises, if the store applies only what is durable and in order: a
// number of a stream settles once (rule 9), only the live session changes
// anything (rule 15), a watermark never falls, and every number that was
// announced is settled, pending or [Agent.Unexplained] (rule 11).
//
// Beside that it keeps what an operator has accepted ([Agent.Close]) and the
// newest incidents of the agent's past ([Agent.Incidents]): forks, relabellings,
// two processes with one id, a store that was behind.
//
// What it does not: it has no lock, no clock, no disk, and knows only the few
// fingerprints that later hellos usually ask for; a [Lookup] finds the others.
package ledger
