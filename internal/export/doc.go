// Package export turns what a store holds into lines for other programs: one
// JSON object for each message.
//
//	collector.Stored --Lines(filter)--> {"agent":"pump-7","lane":"default","epoch":"…","seq":1,
//	  (one entry)                        "time":"…","received":"…","topic":"pump/pressure",
//	                                     "headers":[],"body":"3.2 bar"}
//
// The keys and their order are part of the interface:
//
//	agent, lane, epoch  the stream the message belongs to
//	seq                 its number in the stream, from 1
//	time                when it was made, by the agent's clock, RFC 3339 in UTC
//	received            when it reached the collector, by the collector's clock
//	topic, headers      as sent; headers is a list of {"key", "value"}, in order
//	body                the body as text, if it is valid UTF-8
//	body_base64         else the body in base64, and there is no body
//
// A body comes out byte for byte as it went in. Tombstones are not messages; the
// audit lists them. The package keeps one line in memory and no position: the
// store's cursor is the caller's.
package export
