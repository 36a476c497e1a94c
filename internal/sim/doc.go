// Package sim runs whole agents against a whole collector in one synctest
// bubble: package agent with its real queue files, faultnet's network in memory,
// collector.Server over a store. A seed draws a schedule of sends and faults;
// after it everything is healed, everything must drain, and package oracle
// compares what was accepted with what is stored.
//
// A kill is a copy: when every goroutine of the bubble is blocked, the folder is
// copied as it is, the old process is cut off for ever, and a new one opens the
// copy. A message whose Send had not returned by then is uncertain.
//
// A failure prints its seed and its log of events. `go test ./internal/sim -seed
// N` plays that schedule again; the order in which goroutines run is not the
// seed's, so a rare failure may take -count.
package sim
