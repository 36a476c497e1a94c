// Package oracle judges Fieldpost from outside: it knows what was sent because
// the sender wrote it down, and what is stored because an export says so. It
// reads none of the product's counters, acks or journals.
//
//	sender ---Try---> log file        Send        log file <---Done--- sender
//	                     |                           |
//	                     +-----------> Sent <--------+
//	                                     |
//	            Export (JSON lines) --> Judge --> Verdict
//
// A sender notes each message before Send and the outcome after it. A killed
// process leaves messages without an outcome: they may be stored or not, but not
// twice. A message whose Send returned nil must be stored once, in the order in
// which its producer sent it. The one exception: what a store that was set back,
// or replaced, once held may be missing if a declaration names it ([Sent.Earlier],
// [Sent.Declare]).
//
// What it does not see: times, headers, and, but for that exception, sequence
// numbers. And messages that are equal in lane, topic and body are told apart only
// by their order.
package oracle
