// Package e2e proves Fieldpost's promises on the real binaries: it builds agent
// and collector, runs them as processes over TCP through faultnet's proxy, kills
// and stops them, cuts and stalls their links, restores their folders from
// copies, and lets package oracle compare what the agent's callers were told
// with what the collector exports.
//
// Each guarantee has a sabotaged twin: the same scenario with binaries in which
// that one guarantee is switched off must be seen to fail.
//
//	go test ./internal/e2e                what make test runs: 30 kills each
//	go test ./internal/e2e -rounds 300    more of them
package e2e
