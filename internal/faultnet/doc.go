// Package faultnet is a network that breaks on purpose.
//
//	Line   in memory, for testing/synctest     dial --+--[ up ]--+-- accept
//	                                                  |          |
//	Proxy  real TCP, between two processes            +-[ down ]-+
//
// Both carry every connection through the same two pipes, and both have the same
// switchboard, [Faults]: cut the connections now or after so many bytes, hold the
// bytes of a direction back, let them vanish, delay them, slow them down, hand them over in
// pieces of random size, refuse new connections.
//
// What it promises: bytes that arrive are the right ones and in order, as with
// TCP. A connection that has lost bytes never carries another one; [Faults.Heal]
// resets it. What it does not: replay. A seed fixes the random sizes, but the
// order in which goroutines run is not the seed's.
package faultnet
